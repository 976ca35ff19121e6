// What the lanes of the batch kernel promise: both ways of laying out the work give the same numbers, and the matrices
// of the caller are not read beyond their ends.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "check.hpp"
#include "hpcpdf/trilaterate.hpp"
#include "numbers.hpp"

namespace tri = hpcpdf::trilaterate;

#if defined(HPCPDF_X86_LEVELS)
bool both_ways_agree_avx2();
bool both_ways_agree_avx512();
#endif

namespace {

// A copy of numbers that ends where memory ends.
template <class X>
class Guarded {
 public:
  explicit Guarded(const std::vector<X>& values) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), bytes = values.size() * sizeof(X);
    size_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(base_ != MAP_FAILED);
    data = base_ + size_ - page - bytes;
    std::memcpy(data, values.data(), bytes);
    CHECK(mprotect(base_ + size_ - page, page, PROT_NONE) == 0);
  }
  Guarded(Guarded&& other) noexcept : data(other.data), base_(other.base_), size_(other.size_) {
    other.base_ = nullptr;
  }
  ~Guarded() {
    if (base_ != nullptr) munmap(base_, size_);
  }
  char* data;

 private:
  char* base_;
  std::size_t size_;
};

template <class X>
void reads_no_further(const std::string& level, bool wide) {
  const std::vector<double> satellites = {0, 0, 1, 0.94, 0, -0.33, -0.47, 0.82, -0.33, -0.47, -0.82, -0.33};
  Numbers random(4711);
  std::vector<std::vector<X>> d, a;
  std::vector<Guarded<X>> guarded_d, guarded_a;
  std::vector<int> sizes;
  for (int k = 0; k < 45; ++k) sizes.push_back(1 + k * 7 % 41);
  for (const int n : sizes) {
    d.emplace_back(n * n);
    a.emplace_back(n * 4);
    for (X& value : d.back()) value = static_cast<X>(random(0.4, 0.9));
    for (X& value : a.back()) value = static_cast<X>(random(0.6, 1.2));
    guarded_d.emplace_back(d.back());
    guarded_a.emplace_back(a.back());
  }
  const auto solve = [&](bool guarded) {
    std::vector<tri::Problem> problems(sizes.size());
    std::vector<std::vector<double>> x(sizes.size());
    std::vector<void*> targets(sizes.size());
    std::vector<tri::Outcome> outcomes(sizes.size());
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      const std::ptrdiff_t n = sizes[k], size = sizeof(X);
      const char* p = guarded ? guarded_d[k].data : reinterpret_cast<const char*>(d[k].data());
      const char* q = guarded ? guarded_a[k].data : reinterpret_cast<const char*>(a[k].data());
      problems[k].n = sizes[k];
      problems[k].distances = {p, n * size, size, size == 8};
      problems[k].satellites = {q, 4 * size, size, size == 8};
      x[k].resize(3 * n);
      targets[k] = x[k].data();
    }
    tri::Options options;
    options.wide = wide;
    options.level = level;
    options.max_evaluations = 5;
    CHECK(tri::solve(problems.data(), problems.size(), satellites.data(), 4, options, targets.data(), outcomes.data(),
                     nullptr, nullptr));
    return x;
  };
  CHECK(solve(true) == solve(false));
}

}  // namespace

int main() {
#if defined(HPCPDF_X86_LEVELS)
  // The last of the levels is the highest that this processor has.
  const std::string highest = tri::instruction_levels().back();
  if (highest == "avx2" || highest == "avx512") CHECK(both_ways_agree_avx2());
  if (highest == "avx512") CHECK(both_ways_agree_avx512());
#endif
  for (const std::string& level : tri::instruction_levels()) {
    for (const bool wide : {false, true}) {
      reads_no_further<float>(level, wide);
      reads_no_further<double>(level, wide);
    }
  }
  return check::failures;
}

// The inner loops of the lattice engine: the same bits at every instruction level, and what plain sums give.
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "lattice/lattice_kernels.hpp"
#include "numbers.hpp"

using hpcpdf::InstructionLevel;
using hpcpdf::wide;
using Vector = std::vector<double>;
using Indices = std::vector<std::int32_t>;

namespace {

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Everything that the loops of one level give, for the same numbers.
struct Outcome {
  Indices counts;
  std::vector<float> curve;
  Vector numbers;

  explicit Outcome(InstructionLevel level) {
    const auto& loops = hpcpdf::lattice_kernels(level);
    Numbers number(17);
    for (const std::size_t n : {std::size_t{1}, wide - 1, wide, 3 * wide + 5}) {
      std::vector<float> x(n + wide), y(n + wide), z(n + wide);
      for (auto* axis : {&x, &y, &z}) {
        for (std::size_t j = 0; j < n; ++j) (*axis)[j] = static_cast<float>(number(-3.0, 3.0));
      }
      const float a[3] = {0.3f, -0.2f, 0.9f};
      std::vector<std::uint16_t> table(2000);
      for (std::size_t c = 0; c < table.size(); ++c) table[c] = static_cast<std::uint16_t>(c % 31);
      counts.resize(31, 0);
      loops.count_pairs(x.data(), y.data(), z.data(), n, a, 7.3f, table.data(), n % 2 ? 1 : -1, counts.data());
    }
    constexpr std::size_t n_shells = 9;
    for (const std::size_t length : {wide, 4 * wide, 7 * wide}) {
      std::vector<float> shells(n_shells * length), data(length), bare(length), envelope(length), rho(length);
      for (auto* values : {&shells, &data, &bare, &envelope, &rho}) {
        for (float& value : *values) value = static_cast<float>(number(-1.0, 1.0));
      }
      const Indices which{4, 0, 8, 3, 3};
      const std::vector<float> factor{1.0f, -3.0f, 17.0f, 0.5f, -2.0f};
      std::vector<float> out(length);
      loops.add_shells(shells.data(), length, which.data(), factor.data(), which.size(), bare.data(), out.data());
      curve.insert(curve.end(), out.begin(), out.end());
      hpcpdf::Moments m;
      loops.moments(data.data(), bare.data(), envelope.data(), rho.data(), length, &m);
      numbers.insert(numbers.end(), {m.along[0], m.along[1], m.squared[0], m.squared[1], m.squared[2]});
      numbers.push_back(loops.misfit(data.data(), bare.data(), envelope.data(), rho.data(), length, 0.7f, -0.1f));

      Vector columns(n_shells * length), v(length), result(n_shells), rows(n_shells * 6), table(6 * length);
      for (auto* values : {&columns, &v, &rows, &table}) {
        for (double& value : *values) value = number(-1.0, 1.0);
      }
      loops.products(columns.data(), n_shells, length, v.data(), result.data());
      numbers.insert(numbers.end(), result.begin(), result.end());
      Vector product(n_shells * length);
      loops.multiply(rows.data(), n_shells, 6, table.data(), length, product.data());
      numbers.insert(numbers.end(), product.begin(), product.end());
      Vector left(v), right(columns.begin(), columns.begin() + static_cast<std::ptrdiff_t>(length));
      loops.add_scaled(0.3, right.data(), length, left.data());
      loops.rotate(0.6, -0.8, length, left.data(), right.data());
      numbers.insert(numbers.end(), left.begin(), left.end());
      numbers.insert(numbers.end(), right.begin(), right.end());
      std::vector<const double*> starts;
      for (std::size_t i = 0; i < 8; ++i) starts.push_back(&columns[i * length]);
      loops.weighted_sum(starts.data(), rows.data(), 8, v.data(), length, left.data());
      numbers.insert(numbers.end(), left.begin(), left.end());
    }
  }
};

void levels_give_the_same_bits() {
  const Outcome expected(InstructionLevel::baseline);
  for (const auto level : {InstructionLevel::avx2, InstructionLevel::avx512}) {
    if (!hpcpdf::is_supported(level)) {
      CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::lattice_kernels(level); }));
      continue;
    }
    const Outcome found(level);
    CHECK(found.counts == expected.counts);
    CHECK(same_bits(found.curve, expected.curve));
    CHECK(same_bits(found.numbers, expected.numbers));
  }
}

// The loops against sums in a plain order.
void loops_do_what_they_say() {
  const auto& loops = hpcpdf::lattice_kernels();
  Numbers number(23);
  constexpr std::size_t n = 6, length = 5 * wide;
  Vector columns(n * length), v(length), out(n);
  for (double& value : columns) value = number(-1.0, 1.0);
  for (double& value : v) value = number(-1.0, 1.0);
  loops.products(columns.data(), n, length, v.data(), out.data());
  for (std::size_t c = 0; c < n; ++c) {
    double sum = 0.0;
    for (std::size_t p = 0; p < length; ++p) sum += columns[c * length + p] * v[p];
    CHECK(check::near(out[c], sum, 1e-13 * static_cast<double>(length)));
  }
  std::vector<float> data(length), bare(length), envelope(length), rho(length);
  for (auto* values : {&data, &bare, &envelope, &rho}) {
    for (float& value : *values) value = static_cast<float>(number(-1.0, 1.0));
  }
  hpcpdf::Moments m;
  loops.moments(data.data(), bare.data(), envelope.data(), rho.data(), length, &m);
  double along[2] = {0.0, 0.0}, squared[3] = {0.0, 0.0, 0.0}, left = 0.0;
  for (std::size_t p = 0; p < length; ++p) {
    const double h = static_cast<double>(envelope[p]) * static_cast<double>(bare[p]), q = static_cast<double>(rho[p]);
    const double g = static_cast<double>(data[p]);
    along[0] += g * h;
    along[1] += g * h * q;
    squared[0] += h * h;
    squared[1] += h * h * q;
    squared[2] += h * h * q * q;
    const double e = g - h * (0.7 - 0.1 * q);
    left += e * e;
  }
  for (int k = 0; k < 2; ++k) CHECK(check::near(m.along[k], along[k], 1e-5 * static_cast<double>(length)));
  for (int k = 0; k < 3; ++k) CHECK(check::near(m.squared[k], squared[k], 1e-5 * static_cast<double>(length)));
  const double found = loops.misfit(data.data(), bare.data(), envelope.data(), rho.data(), length, 0.7f, -0.1f);
  CHECK(check::near(found, left, 1e-5 * static_cast<double>(length)));
}

}  // namespace

int main() {
  levels_give_the_same_bits();
  loops_do_what_they_say();
  return check::failures;
}

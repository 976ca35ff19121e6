// The inner loops of the lattice engine: the same bits at every instruction level, and what plain sums give.
#include <algorithm>
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
// Changes with three shells, in all ways that a pair can be.
struct Pairs {
  static constexpr std::size_t n_shells = 3, stride = 4;
  std::size_t n;
  Indices shell;
  Vector sign, along, squared, cost, value, along_shell, with_model, size_shell, more, less;
  std::vector<float> gram, with_shell;

  explicit Pairs(std::size_t n_changes) : n(n_changes), value(n_changes) {
    Numbers number(31);
    for (std::size_t j = 0; j < n; ++j) {
      shell.push_back(static_cast<std::int32_t>(j % (n_shells + 1)));
      sign.push_back(j % 2 ? 1.0 : -1.0);
      along.push_back(number(-0.4, 0.4));
      squared.push_back(number(-0.2, 0.2));
      cost.push_back(number(0.8, 1.2));
      gram.push_back(static_cast<float>(number(-0.1, 0.1)));
    }
    for (std::size_t k = 0; k < n * stride; ++k) with_shell.push_back(static_cast<float>(number(-0.1, 0.1)));
    for (auto* values : {&along_shell, &with_model, &size_shell, &more, &less}) {
      for (std::size_t c = 0; c <= n_shells; ++c) values->push_back(number(0.1, 0.3));
    }
    for (std::size_t j = 3; j < n; ++j) value[j] = expected(j);
  }

  hpcpdf::PairTerms terms() const {
    return {shell.data(),
            sign.data(),
            along.data(),
            squared.data(),
            gram.data(),
            with_shell.data(),
            stride,
            cost.data(),
            along_shell.data(),
            with_model.data(),
            size_shell.data(),
            more.data(),
            less.data(),
            0.2,
            1.1,
            1.3};
  }

  double expected(std::size_t j) const {
    const auto c = static_cast<std::size_t>(shell[j]);
    const double a = 0.2 + along[j] + sign[j] * along_shell[c];
    const double with = with_model[c] + static_cast<double>(with_shell[j * stride + c]);
    const double s = 1.1 + squared[j] + 2.0 * static_cast<double>(gram[j]) + size_shell[c] + 2.0 * sign[j] * with;
    if (!(a > 0.0)) return 1e300;
    return std::max(1.0 - a * a / (s * 1.3), 1e-15) * cost[j] * (sign[j] > 0.0 ? more[c] : less[c]);
  }
};

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

      std::vector<float> square(6 * length);
      loops.multiply_floats(shells.data(), 6, length / wide, shells.data(), wide, wide, square.data(), length);
      for (std::size_t i = 0; i < 6; ++i) curve.insert(curve.end(), &square[i * length], &square[i * length + wide]);
      curve.push_back(loops.dot_sum(data.data(), bare.data(), rho.data(), length));
      const Pairs pairs(length);
      numbers.insert(numbers.end(), pairs.value.begin(), pairs.value.end());
      Vector value(length);
      loops.pair_values(pairs.terms(), 3, length, 1e300, value.data());
      numbers.insert(numbers.end(), value.begin(), value.end());
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
  const Pairs pairs(37);
  Vector value(37);
  loops.pair_values(pairs.terms(), 3, 37, 1e300, value.data());
  for (std::size_t j = 3; j < 37; ++j) CHECK(check::near(value[j], pairs.value[j], 1e-12 * pairs.value[j]));
  double sum = 0.0;
  for (std::size_t p = 0; p < length; ++p) {
    sum += (static_cast<double>(data[p]) + static_cast<double>(bare[p])) * static_cast<double>(rho[p]);
  }
  CHECK(check::near(static_cast<double>(loops.dot_sum(data.data(), bare.data(), rho.data(), length)), sum, 1e-4));
  // Five rows of three times three lines of `wide`, out of a table with longer lines.
  std::vector<float> product(5 * 2 * wide);
  loops.multiply_floats(data.data(), 5, 3, bare.data(), wide + 4, wide, product.data(), 2 * wide);
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t l = 0; l < wide; ++l) {
      double expected = 0.0;
      for (std::size_t k = 0; k < 3; ++k) {
        expected += static_cast<double>(data[3 * i + k]) * static_cast<double>(bare[k * (wide + 4) + l]);
      }
      CHECK(check::near(static_cast<double>(product[i * 2 * wide + l]), expected, 1e-5));
    }
  }
  const double found = loops.misfit(data.data(), bare.data(), envelope.data(), rho.data(), length, 0.7f, -0.1f);
  CHECK(check::near(found, left, 1e-5 * static_cast<double>(length)));
}

}  // namespace

int main() {
  levels_give_the_same_bits();
  loops_do_what_they_say();
  return check::failures;
}

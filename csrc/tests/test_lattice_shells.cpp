#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "lattice/lattice_kernels.hpp"
#include "lattice/shell_columns.hpp"
#include "lattice/shell_waves.hpp"
#include "numbers.hpp"

using hpcpdf::QGrid;
using hpcpdf::ShellWaves;

namespace {

using Vector = std::vector<double>;

const QGrid grid{0.0975, 250};
constexpr std::size_t k_first = 9;
constexpr double d_min = 0.5, d_max = 30.0;

Vector even_points(double first, double step, std::size_t n) {
  Vector r(n);
  for (std::size_t p = 0; p < n; ++p) r[p] = first + step * static_cast<double>(p);
  return r;
}

// The defining sum, in long double; waves of distances and of points are made once and shared.
class Sum {
 public:
  explicit Sum(const Vector& r) {
    for (const double x : r) waves_.push_back(sines(x));
  }

  Vector operator()(double distance, double damping) const {
    Vector out(waves_.size(), 0.0);
    if (distance < d_min || distance > d_max) return out;
    auto wave = sines(distance);
    for (std::size_t k = k_first; k < grid.n; ++k) {
      wave[k] *= std::exp(-static_cast<long double>(damping) * static_cast<long double>(k * k));
    }
    for (std::size_t p = 0; p < out.size(); ++p) {
      long double sum = 0.0L;
      for (std::size_t k = k_first; k < grid.n; ++k) sum += wave[k] * waves_[p][k];
      out[p] = static_cast<double>(sum / static_cast<long double>(distance));
    }
    return out;
  }

 private:
  static std::vector<long double> sines(double x) {
    std::vector<long double> out(grid.n, 0.0L);
    for (std::size_t k = k_first; k < grid.n; ++k) {
      const long double q = static_cast<long double>(k) * static_cast<long double>(grid.step);
      out[k] = std::sin(q * static_cast<long double>(x));
    }
    return out;
  }

  std::vector<std::vector<long double>> waves_;
};

struct Shells {
  Vector distance, damping;
};

Shells shells(std::size_t n, double delta2, double qbroad) {
  Numbers number(7);
  Shells out;
  for (std::size_t c = 0; c < n; ++c) {
    const double d = number(1.8, 31.0);
    out.distance.push_back(d);
    const double ratio = std::max(1.0 - delta2 / (d * d) + qbroad * d * qbroad * d, 0.0);
    out.damping.push_back(0.007 * ratio * grid.step * grid.step);
  }
  return out;
}

void columns_equal_the_sum(const Vector& r, const Shells& given) {
  const ShellWaves waves(grid, k_first, d_min, d_max, r.data(), r.size());
  const std::size_t n = given.distance.size(), points = waves.points();
  Numbers number(3);
  Vector weight(points, 0.0), found(n * points);
  for (std::size_t p = 0; p < r.size(); ++p) weight[p] = number(0.5, 2.0);
  const Sum sum(r);
  std::vector<Vector> expected;
  for (std::size_t c = 0; c < n; ++c) expected.push_back(sum(given.distance[c], given.damping[c]));
  // Twice: the second time with what was kept.
  for (int time = 0; time < 2; ++time) {
    waves.columns(given.distance.data(), given.damping.data(), n, weight.data(), found.data());
    double error = 0.0, largest = 0.0;
    for (std::size_t c = 0; c < n; ++c) {
      for (std::size_t p = 0; p < r.size(); ++p) {
        const double value = weight[p] * expected[c][p];
        largest = std::max(largest, std::fabs(value));
        error = std::max(error, std::fabs(found[c * points + p] - value));
      }
      for (std::size_t p = r.size(); p < points; ++p) CHECK(found[c * points + p] == 0.0);
    }
    CHECK(error < 3e-9 * largest);
  }
}

// Against differences of the sum of columns as distances and dampings change along each parameter.
void slopes_equal_differences(const Vector& r) {
  const ShellWaves waves(grid, k_first, d_min, d_max, r.data(), r.size());
  const auto given = shells(40, 1.5, 0.0);
  const std::size_t n = given.distance.size(), points = waves.points();
  Numbers number(5);
  Vector weight(points, 1.0), factor(n), stretch(2 * n), rate(2 * n), slopes(2 * points);
  for (std::size_t c = 0; c < n; ++c) {
    // Not where a small change would take a shell out of sight.
    factor[c] = given.distance[c] > d_max - 0.1 ? 0.0 : number();
    stretch[c] = number(-1.0, 1.0);
    rate[n + c] = given.damping[c] * number(-1.0, 1.0);
  }
  waves.slopes(given.distance.data(), given.damping.data(), factor.data(), n, stretch.data(), rate.data(), 2,
               weight.data(), slopes.data());
  const Sum sum(r);
  for (std::size_t j = 0; j < 2; ++j) {
    constexpr double h = 1e-6;
    double error = 0.0, largest = 0.0;
    Vector difference(r.size(), 0.0);
    for (std::size_t c = 0; c < n; ++c) {
      if (factor[c] == 0.0) continue;
      for (const double change : {-h, h}) {
        const Vector value =
            sum(given.distance[c] * std::exp(change * stretch[j * n + c]), given.damping[c] + change * rate[j * n + c]);
        for (std::size_t p = 0; p < r.size(); ++p) difference[p] += factor[c] * value[p] / (2.0 * change);
      }
    }
    for (std::size_t p = 0; p < r.size(); ++p) {
      largest = std::max(largest, std::fabs(difference[p]));
      error = std::max(error, std::fabs(difference[p] - slopes[j * points + p]));
    }
    CHECK(error < 1e-6 * largest);
  }
}

void levels_give_the_same_bits() {
  Numbers number(11);
  constexpr std::size_t points = 5 * hpcpdf::wide, n = 12;
  Vector numbers(n * (points + 3)), factor(n), weight(points);
  for (double& value : numbers) value = number(-1.0, 1.0);
  for (double& value : factor) value = number(-1.0, 1.0);
  for (double& value : weight) value = number();
  std::vector<const double*> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back(&numbers[i * points + i % 3]);
  Vector expected(points), found(points);
  hpcpdf::lattice_kernels(hpcpdf::InstructionLevel::baseline)
      .weighted_sum(rows.data(), factor.data(), n, weight.data(), points, expected.data());
  for (const auto level : {hpcpdf::InstructionLevel::avx2, hpcpdf::InstructionLevel::avx512}) {
    if (!hpcpdf::is_supported(level)) continue;
    hpcpdf::lattice_kernels(level).weighted_sum(rows.data(), factor.data(), n, weight.data(), points, found.data());
    CHECK(found == expected);
    // Groups of four rows and what is left of them.
    for (const std::size_t some : {std::size_t{0}, std::size_t{3}, n - 1, n}) {
      Vector left = weight, right = weight;
      hpcpdf::lattice_kernels(hpcpdf::InstructionLevel::baseline)
          .subtract_rows(rows.data(), factor.data(), some, points, left.data());
      hpcpdf::lattice_kernels(level).subtract_rows(rows.data(), factor.data(), some, points, right.data());
      CHECK(left == right);
      for (std::size_t p = 0; p < points; ++p) {
        double expected_here = weight[p];
        for (std::size_t i = 0; i < some; ++i) expected_here -= factor[i] * rows[i][p];
        CHECK(check::near(right[p], expected_here, 1e-13));
      }
    }
  }
}

}  // namespace

int main() {
  const Vector even = even_points(1.5, 0.1, 186), from_zero = even_points(0.0, 0.13, 90);
  Vector uneven = even;
  uneven[70] += 0.01;
  for (const Vector& r : {even, from_zero, uneven, even_points(3.0, 0.1, 1)}) {
    columns_equal_the_sum(r, shells(300, 0.0, 0.0));
    columns_equal_the_sum(r, shells(300, 0.4, 0.0));
    columns_equal_the_sum(r, shells(300, 3.0, 0.01));
    columns_equal_the_sum(r, shells(3, 0.0, 0.0));
  }
  slopes_equal_differences(even);
  levels_give_the_same_bits();
  return check::failures;
}

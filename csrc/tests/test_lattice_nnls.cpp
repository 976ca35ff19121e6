#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "check.hpp"
#include "lattice/lattice_kernels.hpp"
#include "lattice/nnls.hpp"
#include "numbers.hpp"

using Vector = std::vector<double>;
using Indices = std::vector<std::size_t>;

namespace {

struct Problem {
  std::size_t n, points;
  Vector columns, data;

  const double* column(std::size_t c) const { return &columns[c * points]; }
};

double dot(const double* a, const double* b, std::size_t n) {
  double sum = 0.0;
  for (std::size_t p = 0; p < n; ++p) sum += a[p] * b[p];
  return sum;
}

Problem random_problem(std::size_t n, std::size_t points, unsigned long long seed, double noise) {
  Numbers number(seed);
  Problem out{n, points, Vector(n * points), Vector(points, 0.0)};
  for (double& value : out.columns) value = number(-1.0, 1.0);
  for (std::size_t c = 0; c < n; c += 3) {
    const double weight = number(0.0, 2.0);
    for (std::size_t p = 0; p < points; ++p) out.data[p] += weight * out.column(c)[p];
  }
  for (double& value : out.data) value += noise * number(-1.0, 1.0);
  return out;
}

// Peaks on a line, each hardly different from the next, as of a family with very many shells.
Problem dense_peaks(std::size_t n, std::size_t points, double noise) {
  Numbers number(5);
  Problem out{n, points, Vector(n * points), Vector(points, 0.0)};
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t p = 0; p < points; ++p) {
      const double x =
          static_cast<double>(p) - static_cast<double>(c) * static_cast<double>(points) / static_cast<double>(n);
      out.columns[c * points + p] = std::exp(-0.15 * x * x);
    }
  }
  for (std::size_t c = 3; c < n; c += 17) {
    for (std::size_t p = 0; p < points; ++p) out.data[p] += out.column(c)[p];
  }
  for (double& value : out.data) value += noise * number(-1.0, 1.0);
  return out;
}

struct Answer {
  Vector x;
  Indices used;
  double left;
};

Answer solve(const Problem& problem, double tolerance = 0.0, Indices start = {}) {
  Answer out{Vector(problem.n, -1.0), std::move(start), 0.0};
  out.left = hpcpdf::nnls(problem.columns.data(), problem.n, problem.points, problem.data.data(), tolerance, out.used,
                          out.x.data());
  return out;
}

Vector residual(const Problem& problem, const Vector& x) {
  Vector out = problem.data;
  for (std::size_t c = 0; c < problem.n; ++c) {
    for (std::size_t p = 0; p < problem.points; ++p) out[p] -= x[c] * problem.column(c)[p];
  }
  return out;
}

// The conditions of Karush, Kuhn and Tucker, which only the minimum fulfils; `slack` is how much of the misfit one more
// column alone may still take.
void check_optimal(const Problem& problem, const Answer& answer, double slack) {
  const Vector left = residual(problem, answer.x);
  const double misfit = dot(left.data(), left.data(), problem.points);
  const double size = std::sqrt(dot(problem.data.data(), problem.data.data(), problem.points));
  CHECK(check::near(std::sqrt(misfit), answer.left, 1e-9 * size));
  CHECK(std::is_sorted(answer.used.begin(), answer.used.end()));
  for (std::size_t c = 0; c < problem.n; ++c) {
    const bool used = std::binary_search(answer.used.begin(), answer.used.end(), c);
    const double length = std::sqrt(dot(problem.column(c), problem.column(c), problem.points));
    const double slope = length > 0.0 ? dot(problem.column(c), left.data(), problem.points) / length : 0.0;
    CHECK(answer.x[c] >= 0.0);
    if (!used) CHECK(answer.x[c] == 0.0);
    if (used) CHECK(std::fabs(slope) < 1e-8 * size);
    CHECK(slope < std::sqrt(slack * misfit) + 1e-8 * size);
  }
}

// Least norm over all subsets of columns whose least-squares weights are not negative.
double least_of_all(const Problem& problem) {
  double best = dot(problem.data.data(), problem.data.data(), problem.points);
  for (unsigned subset = 1; subset < 1u << problem.n; ++subset) {
    Indices chosen;
    for (std::size_t c = 0; c < problem.n; ++c) {
      if (subset >> c & 1u) chosen.push_back(c);
    }
    const std::size_t k = chosen.size();
    // Normal equations by elimination.
    std::vector<Vector> a(k, Vector(k + 1));
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t j = 0; j < k; ++j) {
        a[i][j] = dot(problem.column(chosen[i]), problem.column(chosen[j]), problem.points);
      }
      a[i][k] = dot(problem.column(chosen[i]), problem.data.data(), problem.points);
    }
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t j = i + 1; j < k; ++j) {
        const double f = a[j][i] / a[i][i];
        for (std::size_t m = i; m <= k; ++m) a[j][m] -= f * a[i][m];
      }
    }
    Vector x(problem.n, 0.0);
    bool allowed = true;
    for (std::size_t i = k; i-- > 0;) {
      double value = a[i][k];
      for (std::size_t j = i + 1; j < k; ++j) value -= a[i][j] * x[chosen[j]];
      x[chosen[i]] = value / a[i][i];
      allowed = allowed && x[chosen[i]] >= 0.0;
    }
    if (!allowed) continue;
    const Vector left = residual(problem, x);
    best = std::min(best, dot(left.data(), left.data(), problem.points));
  }
  return std::sqrt(best);
}

void best_of_all_subsets() {
  for (unsigned long long seed = 1; seed <= 40; ++seed) {
    const auto problem = random_problem(8, 32, seed, 2.0);
    const auto answer = solve(problem);
    CHECK(check::near(answer.left, least_of_all(problem), 1e-10 * answer.left));
    check_optimal(problem, answer, 0.0);
  }
}

void many_columns() {
  for (unsigned long long seed = 1; seed <= 10; ++seed) {
    check_optimal(random_problem(300, 96, seed, 0.5), solve(random_problem(300, 96, seed, 0.5)), 0.0);
    check_optimal(random_problem(60, 192, seed, 0.1), solve(random_problem(60, 192, seed, 0.1)), 0.0);
  }
}

void dense_columns() {
  for (const double noise : {0.0, 0.05}) {
    const auto problem = dense_peaks(240, 96, noise);
    for (const double tolerance : {1e-2, 1e-4, 1e-6}) check_optimal(problem, solve(problem, tolerance), tolerance);
    const double coarse = solve(problem, 1e-3).left, fine = solve(problem, 1e-6).left, exact = solve(problem).left;
    CHECK(exact <= fine * (1.0 + 1e-9) && fine <= coarse * (1.0 + 1e-9));
  }
}

// Wherever it begins, among used and unused columns, the minimum is the same.
void warm_starts() {
  Numbers number(9);
  for (unsigned long long seed = 1; seed <= 10; ++seed) {
    const auto problem = random_problem(120, 256, seed, 2.0);
    const auto cold = solve(problem);
    Indices all(problem.n), some, twice = cold.used;
    for (std::size_t c = 0; c < problem.n; ++c) {
      all[c] = c;
      if (number() < 0.3) some.push_back(problem.n - 1 - c);
    }
    twice.insert(twice.end(), cold.used.begin(), cold.used.end());
    twice.push_back(problem.n + 5);
    for (const auto& start : {cold.used, some, all, twice}) {
      const auto warm = solve(problem, 0.0, start);
      check_optimal(problem, warm, 0.0);
      CHECK(check::near(warm.left, cold.left, 1e-9 * cold.left));
    }
    CHECK(solve(problem, 0.0, cold.used).used == cold.used);
  }
}

// Columns of nothing, columns that are there twice or are sums of others, and data that nothing can model.
void degenerate_columns() {
  auto problem = random_problem(40, 64, 3, 0.5);
  const auto before = solve(problem);
  for (std::size_t p = 0; p < problem.points; ++p) {
    problem.columns[5 * problem.points + p] = 0.0;
    problem.columns[7 * problem.points + p] = problem.column(6)[p];
    problem.columns[9 * problem.points + p] = 2.0 * problem.column(6)[p];
    problem.columns[11 * problem.points + p] = problem.column(12)[p] + 0.5 * problem.column(15)[p];
  }
  for (const Indices& start : {Indices{}, Indices{5, 6, 7, 9, 11, 12, 15}}) {
    const auto answer = solve(problem, 0.0, start);
    check_optimal(problem, answer, 0.0);
    CHECK(answer.x[5] == 0.0);
    CHECK((answer.x[6] > 0.0) + (answer.x[7] > 0.0) + (answer.x[9] > 0.0) <= 1);
  }
  CHECK(before.left > 0.0);

  auto opposite = random_problem(1, 32, 4, 0.0);
  for (std::size_t p = 0; p < opposite.points; ++p) opposite.data[p] = -opposite.column(0)[p];
  auto answer = solve(opposite, 0.0, {0});
  CHECK(answer.used.empty() && answer.x[0] == 0.0);
  std::fill(opposite.data.begin(), opposite.data.end(), 0.0);
  answer = solve(opposite);
  CHECK(answer.used.empty() && answer.left == 0.0);
  const Problem empty{0, 32, {}, Vector(32, 1.0)};
  CHECK(check::near(solve(empty).left, std::sqrt(32.0), 1e-12));
}

// What was made of a few columns is taken apart again, with noise-free data to rounding.
void exact_data() {
  for (unsigned long long seed = 1; seed <= 10; ++seed) {
    const auto problem = random_problem(48, 160, seed, 0.0);
    const auto answer = solve(problem);
    CHECK(answer.left < 1e-10 * std::sqrt(dot(problem.data.data(), problem.data.data(), problem.points)));
    for (std::size_t c = 0; c < problem.n; ++c) CHECK(c % 3 == 0 || answer.x[c] < 1e-10);
  }
}

}  // namespace

int main() {
  best_of_all_subsets();
  many_columns();
  dense_columns();
  warm_starts();
  degenerate_columns();
  exact_data();
  return check::failures;
}

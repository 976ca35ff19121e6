#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "hpcpdf/lbfgsb.hpp"

using hpcpdf::Lbfgsb;
using hpcpdf::LbfgsbOptions;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double chained_rosenbrock(const double* x, double* g, std::size_t n) {
  double f = 0.25 * (x[0] - 1.0) * (x[0] - 1.0);
  for (std::size_t i = 1; i < n; ++i) f += (x[i] - x[i - 1] * x[i - 1]) * (x[i] - x[i - 1] * x[i - 1]);
  f *= 4.0;
  double bend = x[1] - x[0] * x[0];
  g[0] = 2.0 * (x[0] - 1.0) - 16.0 * x[0] * bend;
  for (std::size_t i = 1; i + 1 < n; ++i) {
    const double before = bend;
    bend = x[i + 1] - x[i] * x[i];
    g[i] = 8.0 * before - 16.0 * x[i] * bend;
  }
  g[n - 1] = 8.0 * bend;
  return f;
}

// The published sample driver 1 of the algorithm: 23 iterations, 28 evaluations, f = 1.083490083e-9.
void golden_trace() {
  const std::size_t n = 25;
  std::vector<double> x(n, 3.0), lower(n), upper(n, 100.0), g(n);
  for (std::size_t i = 0; i < n; ++i) lower[i] = i % 2 == 0 ? 1.0 : -100.0;
  LbfgsbOptions options;
  options.memory = 5;
  Lbfgsb solver(n, options);
  bool inside = true;
  const auto objective = [&](const double* at, double* gradient) {
    for (std::size_t i = 0; i < n; ++i) inside = inside && at[i] >= lower[i] && at[i] <= upper[i];
    return chained_rosenbrock(at, gradient, n);
  };
  const auto first = minimise(solver, objective, x.data(), lower.data(), upper.data(), g.data());
  std::printf("driver 1: %d iterations, %d evaluations, f = %.9e, |proj g| = %.5e\n", first.iterations,
              first.evaluations, first.f, first.projected_gradient);
  CHECK(inside);
  CHECK(first.task == Lbfgsb::Task::reduction_small);
  CHECK(first.iterations == 23);
  CHECK(first.evaluations == 28);
  // Published as 1.083490083e-9; in extended precision 1.08349008350e-9, on the edge between two tenth digits.
  CHECK(check::near(first.f, 1.0834900835e-9, 1e-19));
  CHECK(check::near(x[0], 1.0, 1e-4));

  // The object holds no memory of the problem before.
  std::fill(x.begin(), x.end(), 3.0);
  const auto second = minimise(solver, objective, x.data(), lower.data(), upper.data(), g.data());
  CHECK(second.f == first.f && second.evaluations == first.evaluations);
}

// Separable quartics pulled beyond their bounds: the solution is known, half of it on the box.
void bounds_are_kept_and_found() {
  const std::size_t n = 40;
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(-2.0, 2.0);
  std::vector<double> centre(n), lower(n), upper(n), x(n), g(n);
  Lbfgsb solver(n, LbfgsbOptions{});
  for (int trial = 0; trial < 50; ++trial) {
    for (std::size_t k = 0; k < n; ++k) {
      centre[k] = 2.0 * uniform(random);
      lower[k] = k % 4 == 3 ? -kInfinity : std::min(-0.1, uniform(random));
      upper[k] = k % 4 == 2 ? kInfinity : std::max(0.1, uniform(random));
      if (k % 7 == 0) lower[k] = upper[k] = 0.5;
      x[k] = 10.0 * uniform(random);
    }
    bool inside = true;
    const auto objective = [&](const double* at, double* gradient) {
      double f = 0.0;
      for (std::size_t k = 0; k < n; ++k) {
        inside = inside && at[k] >= lower[k] && at[k] <= upper[k];
        const double away = at[k] - centre[k];
        f += away * away + 0.1 * away * away * away * away;
        gradient[k] = 2.0 * away + 0.4 * away * away * away;
      }
      return f;
    };
    const auto result = minimise(solver, objective, x.data(), lower.data(), upper.data(), g.data());
    CHECK(inside);
    CHECK(Lbfgsb::converged(result.task));
    for (std::size_t k = 0; k < n; ++k) {
      CHECK(check::near(x[k], std::min(std::max(centre[k], lower[k]), upper[k]), 1e-3));
    }
  }
}

// With one variable the model's curvature is that of the last pair, so a unit step is the secant step; also after an
// iteration whose Cauchy point lay on a bound, when no subspace was searched.
void one_variable_gives_secant_steps() {
  const double lower = -kInfinity, upper = 0.8;
  LbfgsbOptions options;
  options.gtol = 1e-10;
  options.ftol = 0.0;
  Lbfgsb solver(1, options);
  std::vector<double> points, slopes;
  double x = -1.8;
  double g = 0.0;
  const auto objective = [&](const double* at, double* gradient) {
    const double shifted = 3.0 * (*at + 0.2);
    *gradient = 6.0 * shifted / (1.0 + shifted * shifted) + 0.1 * *at;
    points.push_back(*at);
    slopes.push_back(*gradient);
    return std::log1p(shifted * shifted) + 0.05 * *at * *at;
  };
  const auto result = minimise(solver, objective, &x, &lower, &upper, &g);
  CHECK(Lbfgsb::converged(result.task));
  bool touched = false;
  for (const double point : points) touched = touched || point == upper;
  CHECK(touched);
  for (std::size_t i = points.size() - 2; i < points.size(); ++i) {
    const double secant =
        points[i - 1] - slopes[i - 1] * (points[i - 1] - points[i - 2]) / (slopes[i - 1] - slopes[i - 2]);
    CHECK(check::near(points[i], secant, 1e-9 * std::fabs(secant)));
  }
}

// x - log x has no value for x <= 0: the search must come back from NaN.
void comes_back_from_undefined_values() {
  const std::size_t n = 3;
  std::vector<double> x = {1e-3, 20.0, 0.5}, g(n);
  Lbfgsb solver(n, LbfgsbOptions{});
  const auto objective = [&](const double* at, double* gradient) {
    double f = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
      f += at[k] - std::log(at[k]);
      gradient[k] = 1.0 - 1.0 / at[k];
    }
    return f;
  };
  const auto result = minimise(solver, objective, x.data(), nullptr, nullptr, g.data());
  CHECK(Lbfgsb::converged(result.task));
  CHECK(check::near(result.f, 3.0, 1e-8));

  const auto nothing = [](const double*, double* gradient) {
    gradient[0] = gradient[1] = gradient[2] = 0.0;
    return std::numeric_limits<double>::quiet_NaN();
  };
  CHECK(minimise(solver, nothing, x.data(), nullptr, nullptr, g.data()).task == Lbfgsb::Task::abnormal);
}

template <class Action>
bool refused(Action&& action) {
  try {
    action();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

void misuse_is_refused() {
  LbfgsbOptions options;
  options.memory = 0;
  CHECK(refused([&] { Lbfgsb solver(2, options); }));
  options = {};
  options.ftol = -1.0;
  CHECK(refused([&] { Lbfgsb solver(2, options); }));
  options = {};
  options.max_line_search = 0;
  CHECK(refused([&] { Lbfgsb solver(2, options); }));
  Lbfgsb solver(1, LbfgsbOptions{});
  const double x = 0.0, one = 1.0, none = std::numeric_limits<double>::quiet_NaN();
  CHECK(refused([&] { solver.start(&x, &one, &x); }));
  CHECK(refused([&] { solver.start(&x, &none, &one); }));
  CHECK(refused([&] { solver.start(&x, &kInfinity, &kInfinity); }));
}

}  // namespace

int main() {
  golden_trace();
  bounds_are_kept_and_found();
  one_variable_gives_secant_steps();
  comes_back_from_undefined_values();
  misuse_is_refused();
  return check::failures;
}

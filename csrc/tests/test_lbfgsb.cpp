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
  CHECK(check::near(first.f, 1.083490083e-9, 0.5e-18));
  CHECK(check::near(x[0], 1.0, 1e-4));

  // The object holds no memory of the problem before.
  std::fill(x.begin(), x.end(), 3.0);
  const auto second = minimise(solver, objective, x.data(), lower.data(), upper.data(), g.data());
  CHECK(second.f == first.f && second.evaluations == first.evaluations);
}

}  // namespace

int main() {
  golden_trace();
  return check::failures;
}

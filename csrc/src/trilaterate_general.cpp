// Minimisation by the general L-BFGS-B, and the placement of one atom after another.
#include <algorithm>
#include <cmath>
#include <vector>

#include "hpcpdf/lbfgsb.hpp"
#include "trilaterate_dense.hpp"

namespace hpcpdf::trilaterate {
namespace {

constexpr double kReduction = 1e-15;  // relative reduction of the cost that L-BFGS-B takes for the end

Status status_of(const LbfgsbResult& result, double tolerance) {
  if (result.projected_gradient <= tolerance || Lbfgsb::converged(result.task)) return Status::converged;
  return result.task == Lbfgsb::Task::abnormal ? Status::stalled : Status::evaluation_limit;
}

double projected(double x, double g) { return std::clamp(-g, -1.0 - x, 1.0 - x); }

// The atom's 3x3 Hessian, or its Gauss-Newton part.
void atom_hessian(const Dense& q, int i, const double* x, bool gauss_newton, double (&h)[9]) {
  std::fill(h, h + 9, 0.0);
  const auto add = [&](const double* p, double distance, double weight) {
    const double e[3] = {x[3 * i] - p[0], x[3 * i + 1] - p[1], x[3 * i + 2] - p[2]};
    const double r2 = e[0] * e[0] + e[1] * e[1] + e[2] * e[2] + 1e-48;
    const double across = gauss_newton ? 0.0 : 2.0 * weight * (1.0 - distance / std::sqrt(r2));
    for (int c = 0; c < 3; ++c) {
      for (int d = 0; d < 3; ++d) h[3 * c + d] += (2.0 * weight - across) * e[c] * e[d] / r2;
      h[4 * c] += across;
    }
  };
  for (int j = 0; j < i; ++j) add(x + 3 * j, q.distance(i, j), q.weight(i, j));
  for (int s = 0; s < q.satellites; ++s) add(q.points + 3 * s, q.anchor(i, s), q.anchor_weight(i, s));
}

// Newton step on the coordinates that are free; false when the Hessian is not positive definite there.
bool newton_step(const double (&h)[9], const double* g, const bool (&free)[3], double (&step)[3]) {
  double a[9], values[3], axes[9], largest = 0.0;
  for (int c = 0; c < 3; ++c) {
    for (int d = 0; d < 3; ++d) a[3 * c + d] = free[c] && free[d] ? h[3 * c + d] : 0.0;
    largest = std::max(largest, std::fabs(h[4 * c]));
  }
  for (int c = 0; c < 3; ++c) {
    if (!free[c]) a[4 * c] = largest;
  }
  symmetric_eigen(3, a, values, axes);
  if (!(values[0] > 1e-6 * largest)) return false;
  std::fill(step, step + 3, 0.0);
  for (int k = 0; k < 3; ++k) {
    double dot = 0.0;
    for (int c = 0; c < 3; ++c) dot += free[c] ? axes[3 * c + k] * g[c] : 0.0;
    for (int c = 0; c < 3; ++c) step[c] -= free[c] ? axes[3 * c + k] * dot / values[k] : 0.0;
  }
  return true;
}

Outcome newton_atom(const Dense& q, int i, double* x, const Limits& limits) {
  Outcome outcome;
  double* xi = x + 3 * i;
  double g[3], trial_g[3];
  outcome.cost = q.evaluate_atom(i, x, g);
  outcome.evaluations = 1;
  while (true) {
    outcome.projected_gradient = 0.0;
    bool free[3];
    for (int c = 0; c < 3; ++c) {
      outcome.projected_gradient = std::max(outcome.projected_gradient, std::fabs(projected(xi[c], g[c])));
      free[c] = !((xi[c] <= -1.0 && g[c] > 0.0) || (xi[c] >= 1.0 && g[c] < 0.0));
    }
    if (outcome.projected_gradient <= limits.gradient) return outcome;
    double h[9], step[3];
    atom_hessian(q, i, x, false, h);
    bool good = newton_step(h, g, free, step);
    if (!good) {
      atom_hessian(q, i, x, true, h);
      good = newton_step(h, g, free, step);
    }
    const double scale = 1.0 / std::max(h[0] + h[4] + h[8], 1e-30);
    const double from[3] = {xi[0], xi[1], xi[2]};
    bool moved = false;
    for (int attempt = good ? 0 : 1; attempt < 2 && !moved; ++attempt) {
      double alpha = 1.0;
      for (int halving = 0; halving < 30 && !moved; ++halving, alpha *= 0.4) {
        if (outcome.evaluations >= limits.evaluations) {
          std::copy(from, from + 3, xi);
          outcome.status = Status::evaluation_limit;
          return outcome;
        }
        double slope = 0.0;
        for (int c = 0; c < 3; ++c) {
          const double d = attempt == 0 ? step[c] : free[c] ? -scale * g[c] : 0.0;
          xi[c] = std::clamp(from[c] + alpha * d, -1.0, 1.0);
          slope += g[c] * (xi[c] - from[c]);
        }
        const double f = q.evaluate_atom(i, x, trial_g);
        ++outcome.evaluations;
        if (slope < 0.0 && f <= outcome.cost + 1e-4 * slope + 1e-15 * outcome.cost) {
          outcome.cost = f;
          std::copy(trial_g, trial_g + 3, g);
          moved = true;
        }
      }
    }
    if (!moved) {
      std::copy(from, from + 3, xi);
      outcome.status = Status::stalled;
      return outcome;
    }
  }
}

}  // namespace

Outcome minimise_generally(const Dense& q, double* x, const Limits& limits) {
  LbfgsbOptions options;
  options.gtol = limits.gradient;
  options.ftol = kReduction;
  const std::size_t size = 3 * static_cast<std::size_t>(q.n);
  Lbfgsb solver(size, options);
  const std::vector<double> lower(size, -1.0), upper(size, 1.0);
  std::vector<double> gradient(size);
  const LbfgsbResult result = minimise(
      solver, [&](const double* at, double* g) { return q.evaluate(at, g); }, x, lower.data(), upper.data(),
      gradient.data(), limits.evaluations, limits.evaluations);
  return {result.f, result.projected_gradient, result.evaluations, status_of(result, limits.gradient)};
}

// `x` holds the starts; every atom feels the satellites and the atoms before it.
Outcome place_one_by_one(const Dense& q, double* x, const Limits& limits, bool general) {
  Outcome total;
  LbfgsbOptions options;
  options.gtol = limits.gradient;
  options.ftol = kReduction;
  Lbfgsb solver(3, options);
  const double lower[3] = {-1.0, -1.0, -1.0}, upper[3] = {1.0, 1.0, 1.0};
  double gradient[3];
  for (int i = 0; i < q.n; ++i) {
    Outcome one;
    if (general) {
      const LbfgsbResult result = minimise(
          solver,
          [&](const double* at, double* g) {
            std::copy(at, at + 3, x + 3 * i);
            return q.evaluate_atom(i, x, g);
          },
          x + 3 * i, lower, upper, gradient, limits.evaluations, limits.evaluations);
      std::copy(solver.x(), solver.x() + 3, x + 3 * i);
      one = {result.f, result.projected_gradient, result.evaluations, status_of(result, limits.gradient)};
    } else {
      one = newton_atom(q, i, x, limits);
    }
    total.cost += one.cost;
    total.projected_gradient = std::max(total.projected_gradient, one.projected_gradient);
    total.evaluations += one.evaluations;
    if (one.status != Status::converged) total.status = one.status;
  }
  return total;
}

}  // namespace hpcpdf::trilaterate

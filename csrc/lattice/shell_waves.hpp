// The same as shell_columns, for many shells on evenly spaced points.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "hpcpdf/debye.hpp"

namespace hpcpdf {

// sin(Q r) sin(Q d) = (cos Q(r - d) - cos Q(r + d)) / 2: a shell is a wave w(x) = sum over k of exp(-a k^2) cos(k qstep
// x) seen from two sides, and shells of the same damping a share one table of w. Where dampings differ, tables of a few
// of them serve by interpolation, as long as that is less work than one sum each. On points that are not even every
// shell is summed.
class ShellWaves {
 public:
  // r: n_r ascending points, Angstrom. Distances outside [d_min, d_max] give zero.
  ShellWaves(const QGrid& grid, std::size_t k_first, double d_min, double d_max, const double* r, std::size_t n_r);

  // Points padded to a multiple of `wide`.
  std::size_t points() const { return padded_; }

  // out[c * points() + p] as in shell_columns, to about 1e-9 of a shell's height.
  void columns(const double* distance, const double* damping, std::size_t n, const double* weight, double* out) const;

  // Changes of the sum of factor[c] column c with n_slopes parameters of which distances and dampings depend:
  // stretch[i * n + c] and rate[i * n + c] are the derivatives of log distance[c] and damping[c]; out (n_slopes x
  // points()).
  void slopes(const double* distance, const double* damping, const double* factor, std::size_t n, const double* stretch,
              const double* rate, std::size_t n_slopes, const double* weight, double* out) const;

 private:
  struct Table;
  struct Plan;
  using Tables = std::vector<std::shared_ptr<const Table>>;

  bool is_seen(double distance) const { return distance >= d_min_ && distance <= d_max_ && distance > 0.0; }
  Plan plan(const double* distance, const double* damping, std::size_t n) const;
  std::shared_ptr<const Table> table(double damping, double reach) const;
  void interpolate(const Tables& tables, const double* share, double distance, const double* weight, double* out) const;

  QGrid grid_;
  std::size_t k_first_;
  double d_min_, d_max_;
  double r_first_, step_;  // Angstrom; step 0: not even
  std::size_t n_r_, padded_, phases_ = 0;
  std::vector<double> sine_;  // sin(k qstep r), n_q x points()
  mutable std::mutex mutex_;
  mutable std::vector<double> cosines_, sines_;  // of k qstep j step, n_q x n_steps_
  mutable std::size_t n_steps_ = 0;
  mutable Tables kept_;  // the last ones
};

}  // namespace hpcpdf

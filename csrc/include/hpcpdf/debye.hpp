// The Debye scattering equation for finite clusters and the sine transform to the PDF.
#pragma once

#include <cstddef>
#include <vector>

#include "hpcpdf/lines.hpp"

namespace hpcpdf {

// R(d) = 1 - delta1/d - delta2/d^2 + (qbroad d)^2 multiplies the mean-square displacement of a pair.
struct PeakWidth {
  double delta1 = 0.0;  // Angstrom
  double delta2 = 0.0;  // Angstrom^2
  double qbroad = 0.0;  // 1/Angstrom

  // sigma^2 of a pair at distance d (Angstrom^2); zero, that is no damping, where R or msd is not positive.
  double variance(double distance, double msd) const;
};

// Q_k = k * step, k = 0 ... n - 1, 1/Angstrom.
struct QGrid {
  double step = 0.0;
  std::size_t n = 0;
};

// sum[k] += sum over lines of 2 count exp(-sigma^2 Q_k^2 / 2) sin(Q_k d) / d. `sum` holds grid.n values.
// With precision > 0 a line ends at the first k where |2 ff[k] exp(..) / d| <= precision;
// `ff` is the product of the two scattering factors on the grid (null: one).
void debye_sum(const Lines& lines, const PeakWidth& width, const QGrid& grid, double precision, const double* ff,
               double* sum);

// Clusters stored one after another: cluster b holds the atoms offsets[b] ... offsets[b + 1] - 1.
struct ClusterBatch {
  const double* positions = nullptr;     // (total, 3), Angstrom
  const double* u = nullptr;             // (total,) isotropic mean-square displacements, Angstrom^2
  const int* species = nullptr;          // (total,) rows of `factors`; null when factors is null
  const std::size_t* offsets = nullptr;  // (size + 1,)
  std::size_t size = 0;
};

struct DebyeSettings {
  QGrid grid;
  PeakWidth width;
  double d_min = 0.0;      // Angstrom; pairs outside [d_min, d_max] are left out
  double d_max = 0.0;      // Angstrom
  double precision = 0.0;  // truncation of a pair's contribution, see debye_sum; 0: never
};

// F(Q) = sum over i != j / (N <f>^2) of every cluster into out (size x grid.n); 0/0 counts as 0.
// `factors` (n_species x grid.n), null for unit scattering. The result does not depend on n_threads.
void debye_f(const ClusterBatch& batch, const DebyeSettings& settings, const double* factors, std::size_t n_species,
             double* out, int n_threads);

// out[b, i] = sum over k >= k_first of f[b, k] sin(k step r_i), for n_rows rows of grid.n values and n_r points.
void sine_transform(const double* f, std::size_t n_rows, const QGrid& grid, std::size_t k_first, const double* r,
                    std::size_t n_r, double* out, int n_threads);

}  // namespace hpcpdf

// G(r) of shells: one pair of atoms at a distance, on the points of a PDF.
#pragma once

#include <cstddef>

#include "hpcpdf/debye.hpp"

namespace hpcpdf {

// sine[k * points + p] = sin(k qstep r[p]), zero for k < k_first; n_q x points, padding left alone.
void sine_table(const QGrid& grid, std::size_t k_first, const double* r, std::size_t n_r, std::size_t points,
                double* sine);

// out[c * points + p] = weight[p] sum over k of exp(-damping[c] k^2) sin(k qstep distance[c]) / distance[c]
// sine[k * points + p]; points a multiple of `wide`. Distances outside [d_min, d_max] give zero.
void shell_columns(const double* distance, const double* damping, std::size_t n, const QGrid& grid, double d_min,
                   double d_max, const double* sine, const double* weight, std::size_t points, double* out);

}  // namespace hpcpdf

// The inner loops of the PDF engine, compiled once for every instruction level.
#pragma once

#include <cstddef>

#include "hpcpdf/instruction_level.hpp"

namespace hpcpdf {

// Grid points that the loops advance together.
constexpr std::size_t lanes = 8;
// Recurrences are started afresh every so many grid points.
constexpr std::size_t segment = 384;
// Rows that a sine transform works on together.
constexpr std::size_t row_block = 4;
// Points of the interpolation polynomial.
constexpr std::size_t stencil = 8;

// Lagrange polynomials through the nodes -3.5, -2.5, ..., 3.5: value[p][m] is the coefficient of t^p of that of node m,
// slope[p][m] that of its derivative.
struct StencilWeights {
  double value[stencil][stencil];
  double slope[stencil - 1][stencil];
};

struct PdfKernels {
  // sum[k] += weight[i] sin(k x[i]) for lines i and k < n_k[i].
  void (*add_lines)(const double* weight, const double* x, const std::size_t* n_k, std::size_t n, double* sum);

  // sum[k] += weight[i] exp(-a[i] k^2) sin(k x[i]).
  void (*add_damped_lines)(const double* weight, const double* x, const double* a, const std::size_t* n_k,
                           std::size_t n, double* sum);

  // sine[k] = scale exp(-a k^2) sin(k x), cosine[k] = exp(-a k^2) cos(k x) for k < n_k.
  void (*wave_table)(double scale, double x, double a, std::size_t n_k, double* sine, double* cosine);

  // out[b * lanes + l] = sum over k_first <= k < n_k of row[b][k] sin(k x[l]).
  void (*sine_rows)(const double* const row[row_block], const double x[lanes], std::size_t k_first, std::size_t n_k,
                    double* out);

  // Distances of atom i to atoms i + 1 ... n - 1, into distance[i + 1] ...
  void (*distances)(const double* x, const double* y, const double* z, std::size_t i, std::size_t n, double* distance);

  // row[first[i] + m] += weight m at t[i].
  void (*add_stencils)(const StencilWeights& weights, const std::size_t* first, const double* t, std::size_t n,
                       double* row);

  // Interpolated value and slope (per step) of row at every place.
  void (*read_stencils)(const StencilWeights& weights, const std::size_t* first, const double* t, std::size_t n,
                        const double* row, double* value, double* slope);
};

// The loops of one level; throws std::invalid_argument for one that is not supported.
const PdfKernels& pdf_kernels(InstructionLevel level);

// Those of instruction_level().
const PdfKernels& pdf_kernels();

}  // namespace hpcpdf

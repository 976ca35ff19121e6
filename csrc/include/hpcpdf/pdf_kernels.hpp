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
// slope[p][m] that of its derivative. slope_of_node[m][p] is slope[p][m], and zero for the last p.
struct StencilWeights {
  double value[stencil][stencil];
  double slope[stencil - 1][stencil];
  double slope_of_node[stencil][stencil];
};

// The weights of `stencil` nodes, made once.
const StencilWeights& stencil_weights();

// Rows that a table product works on together; they lie side by side, one number of each, as [index][row_tile].
constexpr std::size_t row_tile = 16;
// Coarse points to which a point of G is connected.
constexpr std::size_t window = 12;
// Node spacings to a bin of distances. The error of 8 nodes grows by no more than a third when they serve three
// spacings around their middle in place of one.
constexpr std::size_t bin_steps = 3;

// Bins of `bin_steps` node spacings. Pairs outside [low, high], low > 0, go to bin `count`, which nobody reads.
struct Bins {
  double low = 0.0, high = 0.0;  // Angstrom
  double per_step = 0.0;         // 1 / node spacing
  double per_bin = 0.0;          // per_step / bin_steps
  std::size_t count = 0;
};

// Pairs whose places are found together.
constexpr std::size_t pair_block = 64;

// Coordinates of atoms; `lanes` more numbers can be read behind the last.
struct Coordinates {
  const double *x, *y, *z;
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

  // moments[bin * 8 + p] += t^p for the pairs of atom i with atoms j0 ... j1 - 1; t in node spacings from the middle of
  // the bin. (bins.count + 1) x 8 numbers.
  void (*add_moments)(const Coordinates& atoms, std::size_t i, std::size_t j0, std::size_t j1, const Bins& bins,
                      double* moments);

  // force -= the pull of the pairs of atom i with atoms j0 ... j1 - 1, and += on atom i; a pair pulls with
  // slope(t) along its unit vector, slope the polynomial of its bin, coefficients (bins.count + 1) x 8.
  void (*add_pulls)(const Coordinates& atoms, std::size_t i, std::size_t j0, std::size_t j1, const Bins& bins,
                    const double* coefficients, double* const force[3]);

  // nodes[bin_steps * bin + m] += sum over p of moments[bin * 8 + p] weight[p][m] for bins first ... last - 1.
  void (*moments_to_nodes)(const StencilWeights& weights, const double* moments, std::size_t first, std::size_t last,
                           double* nodes);

  // coefficients[bin * 8 + p] = scale * sum over m of nodes[bin_steps * bin + m] slope[p][m].
  void (*nodes_to_slopes)(const StencilWeights& weights, const double* nodes, double scale, std::size_t first,
                          std::size_t last, double* coefficients);

  // out[(block * lanes + l) * row_tile + b] = sum over first <= m < last of rows[m * row_tile + b] table[block][m][l],
  // for the blocks block_first ... block_last - 1 of a table with n_table_rows rows, and for b < n_rows at least.
  void (*table_product)(const double* table, std::size_t n_table_rows, std::size_t first, std::size_t last,
                        std::size_t block_first, std::size_t block_last, const double* rows, std::size_t n_rows,
                        double* out);

  // out[cell * spread + s] = sum over w of taps[w * n_padded + s] coarse[cell + w], n_padded >= spread a multiple of
  // lanes; n_padded - spread numbers behind the last cell are overwritten.
  void (*interpolate)(const double* coarse, std::size_t n_cells, const double* taps, std::size_t spread,
                      std::size_t n_padded, double* out);

  // The adjoint of `interpolate`: coarse[cell + w] += sum over s of taps[s * row_tile + w] fine[cell * spread + s].
  // Taps with w >= window are zero, and row_tile numbers are added to from each cell on.
  void (*gather_taps)(const double* fine, std::size_t n_cells, const double* taps, std::size_t spread, double* coarse);
};

// The loops of one level; throws std::invalid_argument for one that is not supported.
const PdfKernels& pdf_kernels(InstructionLevel level);

// Those of instruction_level().
const PdfKernels& pdf_kernels();

}  // namespace hpcpdf

// The inner loops of the lattice engine, compiled once for every instruction level.
//
// Every sum has 16 partial sums in a fixed order, so that all levels give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hpcpdf/instruction_level.hpp"

namespace hpcpdf {

// Numbers that the loops take together; points of a PDF are padded to a multiple of it.
constexpr std::size_t wide = 16;

// What the best multiple of a model leaves of the data, for an envelope that may change to first order.
struct Moments {
  double along[2];    // sum of data * model * rho^k
  double squared[3];  // sum of model^2 * rho^k
};

// What decides how good the changes of two sites are together, one of them given: arrays over the other one, j. With
// E_j what a change adds to the model and phi_c the shell of the pair, which counts `sign` more or less often when both
// change, the model's product with the data and its square follow.
struct PairTerms {
  const std::int32_t* shell;  // c(j), up to the number of shells itself for none
  const double* sign;         // of the one change times the other
  const double* along;        // E_j * data
  const double* squared;      // 2 E_j * model + E_j * E_j
  const float* gram;          // E_i * E_j
  const float* with_shell;    // E_j * phi_c, `stride` from one j to the next; or, without a table, E_j * phi_c(j)
  std::size_t stride;
  const double* cost;  // factor of the misfit for what j costs
  // By shell: phi_c * data, (model + E_i) * phi_c, phi_c * phi_c, and a factor of the misfit for sign 1 and for -1.
  const double *along_shell, *with_model, *size_shell, *more, *less;
  double along_i, squared_i, size2;  // with the change i alone; the square of the data
};

struct LatticeKernels {
  // counts[class of the pair (a, j)] += sign for sites j = 0 ... n - 1; the class is table[round(scale d^2)].
  // Coordinates can be read up to the next multiple of `wide`.
  void (*count_pairs)(const float* x, const float* y, const float* z, std::size_t n, const float a[3], float scale,
                      const std::uint16_t* table, std::int32_t sign, std::int32_t* counts);

  // out = base + sum over i of factor[i] * shells[which[i] * points ...]; `out` may be `base`.
  void (*add_shells)(const float* shells, std::size_t points, const std::int32_t* which, const float* factor,
                     std::size_t n, const float* base, float* out);

  // Sums for model[p] = envelope[p] * bare[p].
  void (*moments)(const float* data, const float* bare, const float* envelope, const float* rho, std::size_t points,
                  Moments* out);

  // Sum of (data - envelope * bare * (s + c * rho))^2.
  double (*misfit)(const float* data, const float* bare, const float* envelope, const float* rho, std::size_t points,
                   float s, float c);

  // out[c] = column c * v; columns and v are `points` long, a multiple of `wide`.
  void (*products)(const double* columns, std::size_t n, std::size_t points, const double* v, double* out);

  // y += factor * x.
  void (*add_scaled)(double factor, const double* x, std::size_t points, double* y);

  // (x, y) = (c x + s y, c y - s x).
  void (*rotate)(double c, double s, std::size_t points, double* x, double* y);

  // out[i * points + p] = sum over k of rows[i * n + k] * table[k * points + p]; n_rows x n and n x points.
  void (*multiply)(const double* rows, std::size_t n_rows, std::size_t n, const double* table, std::size_t points,
                   double* out);

  // The same, with lines of the table and of the result `table_stride` and `out_stride` apart.
  void (*multiply_floats)(const float* rows, std::size_t n_rows, std::size_t n, const float* table,
                          std::size_t table_stride, std::size_t points, float* out, std::size_t out_stride);

  // Sum over p of (a[p] + b[p]) * v[p].
  float (*dot_sum)(const float* a, const float* b, const float* v, std::size_t points);

  // value[j] = misfit times cost when both change, for j from `first` on; none that has no share of the data is less
  // than `worst`.
  void (*pair_values)(const PairTerms& terms, std::size_t first, std::size_t n, double worst, double* value);

  // out[p] = weight[p] * sum over i of factor[i] * rows[i][p]; n is a multiple of four.
  void (*weighted_sum)(const double* const* rows, const double* factor, std::size_t n, const double* weight,
                       std::size_t points, double* out);

  // y[p] -= sum over i of factor[i] * rows[i][p].
  void (*subtract_rows)(const double* const* rows, const double* factor, std::size_t n, std::size_t points, double* y);
};

// Those of instruction_level().
const LatticeKernels& lattice_kernels();
// The loops of one level; throws std::invalid_argument for one that is not supported.
const LatticeKernels& lattice_kernels(InstructionLevel level);

}  // namespace hpcpdf

// Pair distances as weights on evenly spaced nodes.
//
// A function of the distance that is smooth on the scale of the node spacing, summed over all pairs, becomes a scalar
// product of these weights with its values at the nodes. Interpolation is by the polynomial through the 8 nearest
// nodes; near the ends of the range the stencil stays inside it.
#pragma once

#include <cstddef>

#include "hpcpdf/debye.hpp"

namespace hpcpdf {

struct NodeRange {
  double step = 1.0 / 64.0;  // Angstrom
  std::size_t count = 0;     // nodes at 0, step, ..., (count - 1) * step; at least 8
  double d_min = 0.0;        // Angstrom; pairs outside [d_min, d_max] or beyond the last node are left out
  double d_max = 0.0;
};

// out (batch.size x nodes.count): sum over pairs i < j of 2 w_m(d_ij), w the interpolation weights of node m.
void spread(const ClusterBatch& batch, const NodeRange& nodes, double* out, int n_threads);

// The adjoint of `spread`: energy[b] = sum over i < j of 2 f_b(d_ij) with f_b interpolated from row b of `field`
// (batch.size x nodes.count), and its gradient with respect to the positions (total x 3).
void gather(const ClusterBatch& batch, const NodeRange& nodes, const double* field, double* energy, double* gradient,
            int n_threads);

// Tables exp(-a_i k^2) sin(k h d_i) / d_i and exp(-a_i k^2) cos(k h d_i), each n x grid.n, h the step of the grid.
void wave_tables(const double* distance, const double* a, std::size_t n, const QGrid& grid, double* sine,
                 double* cosine, int n_threads);

}  // namespace hpcpdf

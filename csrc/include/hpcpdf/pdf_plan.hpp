// PDFs of many clusters by tables: distances to nodes, nodes to F(Q), F(Q) to G(r), and the adjoint of all that.
//
// For one set of parameters G is a linear function of the histogram of distances. A pair adds the powers of its place
// in a bin to that bin's moments; these become interpolation weights on evenly spaced nodes; F(Q) is their product with
// a table of damped waves. G is summed on a coarse grid of r and interpolated with a Kaiser-Bessel window wherever the
// grid asked for is finer than the band limit qmax needs (a non-uniform Fourier transform of the second type).
//
// Every sum has a fixed order of its own, so that the result of a cluster does not depend on what else is in the batch,
// on the length of the tables, on the number of threads or on the instruction level.
#pragma once

#include <cstddef>
#include <vector>

#include "hpcpdf/aligned.hpp"
#include "hpcpdf/debye.hpp"
#include "hpcpdf/pdf_kernels.hpp"

namespace hpcpdf {

struct PlanSettings {
  QGrid grid;
  std::size_t k_first = 0;  // Q below this index are left out of G
  PeakWidth width;
  double u = 0.0;         // mean-square displacement of every atom, Angstrom^2
  double d_min = 0.0;     // Angstrom; pairs outside [d_min, d_max] are left out
  double d_max = 0.0;     // Angstrom
  double length = 0.0;    // Angstrom; no pair within [d_min, d_max] of any cluster is longer
  double r_step = 0.0;    // Angstrom
  std::size_t first = 0;  // G at r = (first + i) * r_step, i = 0 ... count - 1
  std::size_t count = 0;
  bool adjoint = false;  // also the tables that `gradient` needs
};

// What `gradient` finds; the derivatives are those of E, on an unchanged Q grid.
struct PlanGradient {
  double* g;          // (size, count) scale * envelope * G
  double* misfit;     // (size,) E, if it is one
  double* positions;  // (atoms, 3)
  double* u;          // (size,)
  double* delta2;     // (size,)
  double* scale;      // (size,)
  double* spread;     // (size,) sum of dE/dG_i G_i r_i^2: what a Gaussian envelope needs
};

class PdfPlan {
 public:
  // Throws std::invalid_argument for empty grids.
  explicit PdfPlan(const PlanSettings& settings);

  // About what the tables take, without making them.
  static double bytes(const PlanSettings& settings);

  // Pairs below this distance (Angstrom) are not served: the width of a peak has a kink where R(d) reaches zero, and
  // varies too fast for the nodes shortly after. Zero without correlated motion.
  double nearest() const;

  // envelope * G of every cluster into g (batch.size x count); `envelope` holds count values. `factors` as in debye_f.
  // served[b] is 0 for a cluster with a pair below nearest(); its row is then without meaning.
  void simulate(const ClusterBatch& batch, const double* factors, std::size_t n_species, const double* envelope,
                double* g, unsigned char* served, int n_threads) const;

  // scale * envelope * G and the gradient of E. Either `values` (batch.size x count) are dE/dG, or, with `misfit`, they
  // are observed PDFs and E = sum (values - G)^2 / sum values^2. One cluster is always the work of one thread.
  void gradient(const ClusterBatch& batch, const double* factors, std::size_t n_species, const double* envelope,
                double scale, const double* values, bool misfit, const PlanGradient& out, unsigned char* served,
                int n_threads) const;

 private:
  // Waves and widths change with the distance itself below this many nodes.
  static constexpr std::size_t close_nodes = 40;

  // [column / lanes][row][lanes], so that a product walks through it in order.
  struct Table {
    std::size_t rows = 0, blocks = 0;
    AlignedDoubles values;

    Table(std::size_t n_rows, std::size_t n_columns)
        : rows(n_rows), blocks((n_columns + lanes - 1) / lanes), values(n_rows * blocks * lanes, 0.0) {}
    double& at(std::size_t row, std::size_t column) {
      return values[(column / lanes * rows + row) * lanes + column % lanes];
    }
    double at(std::size_t row, std::size_t column) const {
      return values[(column / lanes * rows + row) * lanes + column % lanes];
    }
  };
  class Worker;  // scratch memory of one task

  double node(std::size_t m) const;
  double reach_of_kink() const;
  void fill_waves();
  void fill_sines();
  void fill_taps();
  std::vector<AlignedDoubles> large_moments(const ClusterBatch& batch, std::size_t cluster, std::size_t n_species,
                                            int n_threads) const;

  PlanSettings settings_;
  double node_step_;
  Bins bins_;
  std::size_t n_nodes_, first_bin_served_;
  std::size_t spread_;               // points of G to one of the coarse grid
  std::size_t n_cells_;              // coarse intervals that hold the points
  std::ptrdiff_t first_coarse_;      // index of the first coarse point
  std::size_t n_coarse_, n_padded_;  // n_padded_: spread_ in whole blocks
  AlignedDoubles taps_;              // (window, n_padded_)
  AlignedDoubles taps_back_;         // (spread_, row_tile)
  std::vector<double> damping_;      // exp(-u Q^2) where R = 1 for every pair, else one
  bool plain_;
  Table waves_, sines_;            // (nodes, Q) and (Q, coarse points)
  Table waves_back_, sines_back_;  // transposed, with `adjoint`
};

}  // namespace hpcpdf

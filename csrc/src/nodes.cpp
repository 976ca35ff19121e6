#include "hpcpdf/nodes.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hpcpdf/parallel.hpp"
#include "hpcpdf/pdf_kernels.hpp"

namespace hpcpdf {
namespace {

struct Limits {
  double low, high;

  explicit Limits(const NodeRange& nodes)
      : low(nodes.d_min), high(std::min(nodes.d_max, static_cast<double>(nodes.count - 1) * nodes.step)) {}

  bool hold(double d) const { return d > coincident && d >= low && d <= high; }
};

// The pairs of one cluster, one atom's at a time, with the places of their distances among the nodes.
class PairRows {
 public:
  PairRows(const double* positions, std::size_t n, const NodeRange& nodes)
      : x_(n), y_(n), z_(n), all_(n), limits_(nodes), per_step_(1.0 / nodes.step), last_first_(nodes.count - stencil) {
    for (std::size_t i = 0; i < n; ++i) {
      x_[i] = positions[3 * i];
      y_[i] = positions[3 * i + 1];
      z_[i] = positions[3 * i + 2];
    }
    partner.resize(n);
    distance.resize(n);
    first.resize(n);
    t.resize(n);
  }

  // Pairs of atom i with those after it that are within the limits; the vectors below then hold `count` entries.
  void find(std::size_t i) {
    pdf_kernels().distances(x_.data(), y_.data(), z_.data(), i, x_.size(), all_.data());
    count = 0;
    for (std::size_t j = i + 1; j < x_.size(); ++j) {
      const double d = all_[j];
      if (!limits_.hold(d)) continue;
      const double x = d * per_step_;
      const auto cell = static_cast<std::size_t>(x);
      const std::size_t start = std::min(cell < 3 ? 0 : cell - 3, last_first_);
      partner[count] = j;
      distance[count] = d;
      first[count] = start;
      t[count] = x - static_cast<double>(start) - 3.5;
      ++count;
    }
  }

  std::size_t count = 0;
  std::vector<std::size_t> partner, first;  // second atom; first node of the stencil
  std::vector<double> distance, t;          // t: coordinate from the middle of the stencil, in steps

 private:
  std::vector<double> x_, y_, z_, all_;
  Limits limits_;
  double per_step_;
  std::size_t last_first_;
};

}  // namespace

void spread(const ClusterBatch& batch, const NodeRange& nodes, double* out, int n_threads) {
  const PdfKernels& kernels = pdf_kernels();
  parallel_for(batch.size, n_threads, [&](std::size_t b) {
    double* row = out + b * nodes.count;
    std::fill(row, row + nodes.count, 0.0);
    const std::size_t n = batch.offsets[b + 1] - batch.offsets[b];
    PairRows pairs(batch.positions + 3 * batch.offsets[b], n, nodes);
    for (std::size_t i = 0; i + 1 < n; ++i) {
      pairs.find(i);
      kernels.add_stencils(stencil_weights(), pairs.first.data(), pairs.t.data(), pairs.count, row);
    }
    for (std::size_t m = 0; m < nodes.count; ++m) row[m] *= 2.0;
  });
}

void gather(const ClusterBatch& batch, const NodeRange& nodes, const double* field, double* energy, double* gradient,
            int n_threads) {
  const PdfKernels& kernels = pdf_kernels();
  const double per_step = 1.0 / nodes.step;
  parallel_for(batch.size, n_threads, [&](std::size_t b) {
    const std::size_t start = batch.offsets[b], n = batch.offsets[b + 1] - start;
    const double* positions = batch.positions + 3 * start;
    const double* row = field + b * nodes.count;
    double* force = gradient + 3 * start;
    std::fill(force, force + 3 * n, 0.0);
    PairRows pairs(positions, n, nodes);
    std::vector<double> value(n), slope(n);
    double total = 0.0;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      pairs.find(i);
      kernels.read_stencils(stencil_weights(), pairs.first.data(), pairs.t.data(), pairs.count, row, value.data(),
                            slope.data());
      const double* a = positions + 3 * i;
      for (std::size_t p = 0; p < pairs.count; ++p) {
        total += 2.0 * value[p];
        const double pull = 2.0 * slope[p] * per_step / pairs.distance[p];
        const std::size_t j = pairs.partner[p];
        const double* c = positions + 3 * j;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          const double part = pull * (a[axis] - c[axis]);
          force[3 * i + axis] += part;
          force[3 * j + axis] -= part;
        }
      }
    }
    energy[b] = total;
  });
}

void wave_tables(const double* distance, const double* a, std::size_t n, const QGrid& grid, double* sine,
                 double* cosine, int n_threads) {
  constexpr std::size_t lines_per_task = 64;
  const PdfKernels& kernels = pdf_kernels();
  parallel_for((n + lines_per_task - 1) / lines_per_task, n_threads, [&](std::size_t task) {
    const std::size_t last = std::min(n, (task + 1) * lines_per_task);
    for (std::size_t i = task * lines_per_task; i < last; ++i) {
      kernels.wave_table(1.0 / distance[i], grid.step * distance[i], a[i], grid.n, sine + i * grid.n,
                         cosine + i * grid.n);
    }
  });
}

}  // namespace hpcpdf

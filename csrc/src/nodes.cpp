#include "hpcpdf/nodes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "hpcpdf/parallel.hpp"
#include "hpcpdf/wave.hpp"

namespace hpcpdf {
namespace {

constexpr std::size_t points = 8;

// Lagrange polynomials through the nodes -3.5, -2.5, ..., 3.5: value[p][m] is the coefficient of t^p of that of node m,
// slope[p][m] that of its derivative.
struct Weights {
  double value[points][points];
  double slope[points - 1][points];

  Weights() {
    for (std::size_t m = 0; m < points; ++m) {
      const double own = static_cast<double>(m) - 3.5;
      std::array<double, points> polynomial{1.0};
      std::size_t degree = 0;
      for (std::size_t l = 0; l < points; ++l) {
        if (l == m) continue;
        const double other = static_cast<double>(l) - 3.5, scale = 1.0 / (own - other);
        for (std::size_t p = ++degree; p > 0; --p) polynomial[p] = (polynomial[p - 1] - other * polynomial[p]) * scale;
        polynomial[0] *= -other * scale;
      }
      for (std::size_t p = 0; p < points; ++p) value[p][m] = polynomial[p];
      for (std::size_t p = 1; p < points; ++p) slope[p - 1][m] = static_cast<double>(p) * polynomial[p];
    }
  }

  // w[m] of all nodes of a stencil at once.
  void evaluate(double t, double* w) const { horner<points>(value, t, w); }
  void evaluate_slope(double t, double* w) const { horner<points - 1>(slope, t, w); }

 private:
  template <std::size_t n>
  static void horner(const double (&coefficients)[n][points], double t, double* w) {
    for (std::size_t m = 0; m < points; ++m) w[m] = coefficients[n - 1][m];
    for (std::size_t p = n - 1; p-- > 0;) {
      for (std::size_t m = 0; m < points; ++m) w[m] = w[m] * t + coefficients[p][m];
    }
  }
};

const Weights& weights() {
  static const Weights table;
  return table;
}

// Where a distance lies: first node of its stencil, and its coordinate from the stencil's middle in steps.
struct Place {
  std::size_t first;
  double t;
};

Place locate(double distance, double per_step, std::size_t count) {
  const double x = distance * per_step;
  const auto cell = static_cast<std::size_t>(x);
  const std::size_t first = std::min(cell < 3 ? 0 : cell - 3, count - points);
  return {first, x - static_cast<double>(first) - 3.5};
}

// One cluster as separate coordinate arrays, and the distances of one atom to those after it.
class Rows {
 public:
  Rows(const double* positions, std::size_t n) : x_(n), y_(n), z_(n), distance_(n) {
    for (std::size_t i = 0; i < n; ++i) {
      x_[i] = positions[3 * i];
      y_[i] = positions[3 * i + 1];
      z_[i] = positions[3 * i + 2];
    }
  }

  const double* distances(std::size_t i) {
    const double x = x_[i], y = y_[i], z = z_[i];
    for (std::size_t j = i + 1; j < x_.size(); ++j) {
      const double dx = x - x_[j], dy = y - y_[j], dz = z - z_[j];
      distance_[j] = std::sqrt(dx * dx + dy * dy + dz * dz);
    }
    return distance_.data();
  }

  std::size_t size() const { return x_.size(); }

 private:
  std::vector<double> x_, y_, z_, distance_;
};

struct Limits {
  double low, high;

  explicit Limits(const NodeRange& nodes)
      : low(nodes.d_min), high(std::min(nodes.d_max, static_cast<double>(nodes.count - 1) * nodes.step)) {}

  bool hold(double d) const { return d > coincident && d >= low && d <= high; }
};

}  // namespace

void spread(const ClusterBatch& batch, const NodeRange& nodes, double* out, int n_threads) {
  const Weights& table = weights();
  const Limits limits(nodes);
  const double per_step = 1.0 / nodes.step;
  parallel_for(batch.size, n_threads, [&](std::size_t b) {
    double* row = out + b * nodes.count;
    std::fill(row, row + nodes.count, 0.0);
    Rows atoms(batch.positions + 3 * batch.offsets[b], batch.offsets[b + 1] - batch.offsets[b]);
    for (std::size_t i = 0; i + 1 < atoms.size(); ++i) {
      const double* distance = atoms.distances(i);
      for (std::size_t j = i + 1; j < atoms.size(); ++j) {
        if (!limits.hold(distance[j])) continue;
        const Place place = locate(distance[j], per_step, nodes.count);
        double w[points];
        table.evaluate(place.t, w);
        for (std::size_t m = 0; m < points; ++m) row[place.first + m] += w[m];
      }
    }
    for (std::size_t m = 0; m < nodes.count; ++m) row[m] *= 2.0;
  });
}

void gather(const ClusterBatch& batch, const NodeRange& nodes, const double* field, double* energy, double* gradient,
            int n_threads) {
  const Weights& table = weights();
  const Limits limits(nodes);
  const double per_step = 1.0 / nodes.step;
  parallel_for(batch.size, n_threads, [&](std::size_t b) {
    const std::size_t start = batch.offsets[b], n = batch.offsets[b + 1] - start;
    const double* positions = batch.positions + 3 * start;
    const double* row = field + b * nodes.count;
    double* force = gradient + 3 * start;
    std::fill(force, force + 3 * n, 0.0);
    Rows atoms(positions, n);
    double total = 0.0;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      const double* distance = atoms.distances(i);
      const double* a = positions + 3 * i;
      for (std::size_t j = i + 1; j < n; ++j) {
        if (!limits.hold(distance[j])) continue;
        const Place place = locate(distance[j], per_step, nodes.count);
        double w[points], dw[points];
        table.evaluate(place.t, w);
        table.evaluate_slope(place.t, dw);
        double value = 0.0, slope = 0.0;
        for (std::size_t m = 0; m < points; ++m) {
          value += w[m] * row[place.first + m];
          slope += dw[m] * row[place.first + m];
        }
        total += 2.0 * value;
        const double pull = 2.0 * slope * per_step / distance[j];
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
  parallel_for((n + lines_per_task - 1) / lines_per_task, n_threads, [&](std::size_t task) {
    const std::size_t last_line = std::min(n, (task + 1) * lines_per_task);
    for (std::size_t i = task * lines_per_task; i < last_line; ++i) {
      double* s = sine + i * grid.n;
      double* c = cosine ? cosine + i * grid.n : nullptr;
      const double inverse = 1.0 / distance[i];
      Wave wave;
      Gaussian gauss;
      for (std::size_t first = 0; first < grid.n; first += segment) {
        const std::size_t last = std::min(first + segment, grid.n);
        wave.start(grid.step * distance[i], static_cast<double>(first));
        gauss.start(a[i], static_cast<double>(first));
        for (std::size_t k = first; k < last; k += lanes) {
          const std::size_t width = std::min(lanes, last - k);
          double block_s[lanes], block_c[lanes];
          for (std::size_t l = 0; l < lanes; ++l) {
            block_s[l] = inverse * (gauss.e[l] * wave.s[l]);
            block_c[l] = gauss.e[l] * wave.c[l];
          }
          std::copy(block_s, block_s + width, s + k);
          if (c) std::copy(block_c, block_c + width, c + k);
          wave.advance();
          gauss.advance();
        }
      }
    }
  });
}

}  // namespace hpcpdf

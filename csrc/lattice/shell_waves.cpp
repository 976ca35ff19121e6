#include "shell_waves.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "hpcpdf/pdf_kernels.hpp"
#include "lattice_kernels.hpp"
#include "shell_columns.hpp"

namespace hpcpdf {
namespace {

// Q times the spacing of a table's points: eight of them interpolate to 1e-9.
constexpr double fine = 0.3;
// Points this near to where they should be are even, Angstrom.
constexpr double even = 1e-8;
// Tables of different dampings that serve together at most, and how exact they are.
constexpr std::size_t most_tables = 6;
constexpr double exact = 1e-8;
// Tables kept for the next call.
constexpr std::size_t kept = 8;

std::size_t round_up(std::size_t n) { return (n + wide - 1) / wide * wide; }

// Widest range of a k^2 over which n Chebyshev points interpolate exp(-a k^2): the error is 2 (range / 4)^n / n!.
double range_of(std::size_t n) {
  double factorial = 1.0;
  for (std::size_t i = 2; i <= n; ++i) factorial *= static_cast<double>(i);
  return 4.0 * std::pow(exact * factorial / 2.0, 1.0 / static_cast<double>(n));
}

}  // namespace

// w at x = (i - origin) * step / phases, with neighbours `phases` apart beside each other: the points of a PDF pass
// through it side by side.
struct ShellWaves::Table {
  double damping = 0.0, reach = 0.0;
  std::ptrdiff_t first = 0;  // x / step of the first number
  std::size_t length = 0;    // numbers in a phase
  std::vector<double> value;
};

// Which shells go by tables, and which dampings these have.
struct ShellWaves::Plan {
  std::vector<double> nodes;
  double low = 0.0, high = -1.0;  // dampings that the nodes serve
  double reach = 0.0;             // longest distance
};

ShellWaves::ShellWaves(const QGrid& grid, std::size_t k_first, double d_min, double d_max, const double* r,
                       std::size_t n_r)
    : grid_(grid),
      k_first_(k_first),
      d_min_(d_min),
      d_max_(d_max),
      r_first_(n_r > 0 ? r[0] : 0.0),
      step_(n_r > 1 ? (r[n_r - 1] - r[0]) / static_cast<double>(n_r - 1) : 0.0),
      n_r_(n_r),
      padded_(round_up(n_r)) {
  if (n_r == 0 || grid.n == 0 || !(grid.step > 0.0))
    throw std::invalid_argument("shells: expected points and a Q grid");
  for (std::size_t p = 0; p < n_r; ++p) {
    if (!(std::fabs(r[p] - r_first_ - static_cast<double>(p) * step_) <= even)) step_ = 0.0;
  }
  if (step_ > 0.0) {
    const double half = static_cast<double>(grid.n) * grid.step * step_ / fine / 2.0;
    phases_ = 2 * static_cast<std::size_t>(std::ceil(std::max(half, 4.0)));
  }
  sine_.assign(grid_.n * padded_, 0.0);
  sine_table(grid_, k_first_, r, n_r, padded_, sine_.data());
}

std::shared_ptr<const ShellWaves::Table> ShellWaves::table(double damping, double reach) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& one : kept_) {
    if (one->damping == damping && one->reach >= reach) return one;
  }
  // A little more than asked, so that a bond length that grows finds its waves still there.
  reach = std::min(1.05 * reach, std::max(reach, d_max_));
  const double last = r_first_ + static_cast<double>(n_r_) * step_;
  const auto half = static_cast<std::size_t>(std::ceil((std::fabs(last) + reach) / step_)) + padded_ - n_r_ + 4;
  if (n_steps_ < half + 1) {
    n_steps_ = round_up(half + 1);
    cosines_.assign(grid_.n * n_steps_, 0.0);
    sines_.assign(grid_.n * n_steps_, 0.0);
    std::vector<double> s(grid_.n), c(grid_.n);
    for (std::size_t j = 0; j < n_steps_; ++j) {
      pdf_kernels().wave_table(1.0, grid_.step * step_ * static_cast<double>(j), 0.0, grid_.n, s.data(), c.data());
      for (std::size_t k = k_first_; k < grid_.n; ++k) {
        cosines_[k * n_steps_ + j] = c[k];
        sines_[k * n_steps_ + j] = s[k];
      }
    }
  }
  // cos Q(j step +- x) for x up to half a step from both parts of the sum.
  const std::size_t rows = phases_ / 2 + 1;
  const double spacing = step_ / static_cast<double>(phases_);
  std::vector<double> c(rows * grid_.n), s(rows * grid_.n), cosine(rows * n_steps_), sine(rows * n_steps_);
  for (std::size_t m = 0; m < rows; ++m) {
    pdf_kernels().wave_table(1.0, grid_.step * spacing * static_cast<double>(m), damping, grid_.n, &s[m * grid_.n],
                             &c[m * grid_.n]);
  }
  lattice_kernels().multiply(c.data(), rows, grid_.n, cosines_.data(), n_steps_, cosine.data());
  lattice_kernels().multiply(s.data(), rows, grid_.n, sines_.data(), n_steps_, sine.data());

  auto made = std::make_shared<Table>();
  made->damping = damping;
  made->reach = reach;
  made->first = static_cast<std::ptrdiff_t>(std::floor((r_first_ - reach) / step_)) - 2;
  made->length = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(half) - made->first);
  made->value.resize(phases_ * made->length);
  for (std::size_t m = 0; m < phases_; ++m) {
    double* row = &made->value[m * made->length];
    for (std::size_t i = 0; i < made->length; ++i) {
      // w is even: x and -x have the same place.
      std::ptrdiff_t j = made->first + static_cast<std::ptrdiff_t>(i);
      std::size_t phase = m;
      if (j < 0) {
        j = phase == 0 ? -j : -j - 1;
        phase = phase == 0 ? 0 : phases_ - phase;
      }
      const auto at = static_cast<std::size_t>(j);
      row[i] = phase < rows
                   ? cosine[phase * n_steps_ + at] - sine[phase * n_steps_ + at]
                   : cosine[(phases_ - phase) * n_steps_ + at + 1] + sine[(phases_ - phase) * n_steps_ + at + 1];
    }
  }
  if (kept_.size() == kept) kept_.erase(kept_.begin());
  kept_.push_back(made);
  return made;
}

ShellWaves::Plan ShellWaves::plan(const double* distance, const double* damping, std::size_t n) const {
  Plan best;
  if (!(step_ > 0.0)) return best;
  std::vector<double> sorted;
  for (std::size_t c = 0; c < n; ++c) {
    if (!is_seen(distance[c])) continue;
    sorted.push_back(damping[c]);
    best.reach = std::max(best.reach, distance[c]);
  }
  std::sort(sorted.begin(), sorted.end());
  const auto total = static_cast<double>(sorted.size());
  const double k_max = static_cast<double>(grid_.n), per_table = 0.5 * static_cast<double>(phases_) * k_max * 2.0 *
                                                                 (step_ * static_cast<double>(n_r_) + best.reach) /
                                                                 step_;
  const double one_sum = 1.5 * k_max * static_cast<double>(padded_);
  const double one_look = 2.0 * static_cast<double>(stencil * padded_);
  double least = total * one_sum;
  for (std::size_t count = 1; count <= most_tables; ++count) {
    const double range = count == 1 ? 0.0 : range_of(count) / (k_max * k_max);
    std::size_t from = 0, most = 0, first = 0;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      while (sorted[i] - sorted[from] > range) ++from;
      if (i + 1 - from > most) {
        most = i + 1 - from;
        first = from;
      }
    }
    const auto tables = static_cast<double>(count), served = static_cast<double>(most);
    const double work = tables * (per_table + served * one_look) + (total - served) * one_sum;
    if (most == 0 || !(work < least)) continue;
    least = work;
    best.low = sorted[first];
    best.high = sorted[first + most - 1];
    best.nodes.assign(count, best.low);
    const double middle = 0.5 * (best.low + best.high), radius = 0.5 * (best.high - best.low);
    for (std::size_t i = 0; count > 1 && i < count; ++i) {
      best.nodes[i] = middle + radius * std::cos(3.14159265358979323846 * (static_cast<double>(i) + 0.5) / tables);
    }
    // Without a spread one table is all there is to it.
    if (most == sorted.size()) break;
  }
  return best;
}

void ShellWaves::interpolate(const Tables& tables, const double* share, double distance, const double* weight,
                             double* out) const {
  const auto& coefficient = stencil_weights().value;
  const double* stream[2 * stencil * most_tables];
  double factor[2 * stencil * most_tables];
  const double per_length = static_cast<double>(phases_) / step_;
  const auto phases = static_cast<std::ptrdiff_t>(phases_);
  std::size_t used = 0;
  for (const double side : {-1.0, 1.0}) {
    const double place = (r_first_ + side * distance) * per_length, whole = std::floor(place);
    const double t = place - whole - 0.5;
    const std::ptrdiff_t node = static_cast<std::ptrdiff_t>(whole) - static_cast<std::ptrdiff_t>(stencil / 2 - 1);
    for (std::size_t m = 0; m < stencil; ++m) {
      double value = 0.0;
      for (std::size_t power = stencil; power-- > 0;) value = value * t + coefficient[power][m];
      const std::ptrdiff_t i = node + static_cast<std::ptrdiff_t>(m);
      const std::ptrdiff_t phase = (i % phases + phases) % phases;
      const std::ptrdiff_t j = (i - phase) / phases;
      for (std::size_t a = 0; a < tables.size(); ++a) {
        const Table& one = *tables[a];
        stream[used] = &one.value[static_cast<std::size_t>(phase) * one.length] + (j - one.first);
        factor[used++] = -0.5 * side * share[a] * value / distance;
      }
    }
  }
  lattice_kernels().weighted_sum(stream, factor, used, weight, padded_, out);
}

void ShellWaves::columns(const double* distance, const double* damping, std::size_t n, const double* weight,
                         double* out) const {
  const Plan by = plan(distance, damping, n);
  Tables tables;
  for (const double node : by.nodes) tables.push_back(table(node, by.reach));
  std::vector<std::size_t> alone;
  double share[most_tables];
  for (std::size_t c = 0; c < n; ++c) {
    double* row = out + c * padded_;
    if (!is_seen(distance[c])) {
      std::fill(row, row + padded_, 0.0);
    } else if (damping[c] >= by.low && damping[c] <= by.high) {
      for (std::size_t a = 0; a < tables.size(); ++a) {
        share[a] = 1.0;
        for (std::size_t b = 0; b < tables.size(); ++b) {
          if (b != a) share[a] *= (damping[c] - by.nodes[b]) / (by.nodes[a] - by.nodes[b]);
        }
      }
      interpolate(tables, share, distance[c], weight, row);
    } else {
      alone.push_back(c);
    }
  }
  if (alone.empty()) return;
  std::vector<double> d(alone.size()), a(alone.size()), found(alone.size() * padded_);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    d[i] = distance[alone[i]];
    a[i] = damping[alone[i]];
  }
  shell_columns(d.data(), a.data(), d.size(), grid_, d_min_, d_max_, sine_.data(), weight, padded_, found.data());
  for (std::size_t i = 0; i < alone.size(); ++i) {
    std::copy_n(&found[i * padded_], padded_, out + alone[i] * padded_);
  }
}

void ShellWaves::slopes(const double* distance, const double* damping, const double* factor, std::size_t n,
                        const double* stretch, const double* rate, std::size_t n_slopes, const double* weight,
                        double* out) const {
  std::vector<double> s(grid_.n), c(grid_.n), f(n_slopes * grid_.n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    const double d = distance[i];
    if (!is_seen(d) || factor[i] == 0.0) continue;
    pdf_kernels().wave_table(factor[i] / d, grid_.step * d, damping[i], grid_.n, s.data(), c.data());
    for (std::size_t j = 0; j < n_slopes; ++j) {
      const double less = stretch[j * n + i], decay = rate[j * n + i], wave = less * grid_.step * factor[i];
      double* row = &f[j * grid_.n];
      for (std::size_t k = 0; k < grid_.n; ++k) {
        const auto q = static_cast<double>(k);
        row[k] += wave * q * c[k] - (less + decay * q * q) * s[k];
      }
    }
  }
  lattice_kernels().multiply(f.data(), n_slopes, grid_.n, sine_.data(), padded_, out);
  for (std::size_t j = 0; j < n_slopes; ++j) {
    for (std::size_t p = 0; p < padded_; ++p) out[j * padded_ + p] *= weight[p];
  }
}

}  // namespace hpcpdf

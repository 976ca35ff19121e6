// The tables of a plan.
#include "hpcpdf/pdf_plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace hpcpdf {
namespace {

constexpr double pi = 3.14159265358979323846;
// Phase of the shortest wave between two nodes: one wave at the band edge errs by 1.37e-3 phase^8 = 9e-8.
constexpr double node_phase = 0.3;
// Coarse points to half a period of the shortest wave; the window then errs by less than 2e-8 of it.
constexpr double oversampling = 1.5;
constexpr std::size_t most_spread = 64;
// Stands for the distance 0, Angstrom.
constexpr double smallest = 1e-8;

// The modified Bessel function of order zero.
double bessel_i0(double x) {
  double term = 1.0, sum = 1.0;
  for (int k = 1; term > 1e-17 * sum; ++k) {
    term *= 0.25 * x * x / (static_cast<double>(k) * k);
    sum += term;
  }
  return sum;
}

// The Kaiser-Bessel window on |x| <= window / 2 (in coarse steps), and its Fourier transform.
struct KaiserBessel {
  double beta;

  double operator()(double x) const {
    const double y = 2.0 * x / static_cast<double>(window), inside = 1.0 - y * y;
    return inside < 0.0 ? 0.0 : bessel_i0(beta * std::sqrt(inside));
  }

  double transform(double q) const {
    const double width = static_cast<double>(window), half = 0.5 * q * width, z = std::sqrt(beta * beta - half * half);
    return width * (z > 0.0 ? std::sinh(z) / z : 1.0);
  }
};

double highest_q(const QGrid& grid) { return grid.step * static_cast<double>(grid.n); }

KaiserBessel window_for(const QGrid& grid, double coarse_step) {
  // The transform falls to its oscillating tail where the first alias of the band edge begins.
  return {0.5 * static_cast<double>(window) * (2.0 * pi - highest_q(grid) * coarse_step)};
}

// Points of G to one of the coarse grid.
std::size_t spread_for(const PlanSettings& settings) {
  const double finest = pi / (oversampling * highest_q(settings.grid) * settings.r_step);
  return static_cast<std::size_t>(std::max(1.0, std::min(finest, static_cast<double>(most_spread))));
}

std::size_t bins_to(double length, double node_step) {
  return static_cast<std::size_t>(length / (static_cast<double>(bin_steps) * node_step)) + 1;
}

}  // namespace

PdfPlan::PdfPlan(const PlanSettings& settings)
    : settings_(settings),
      node_step_(node_phase / highest_q(settings.grid)),
      waves_(0, 0),
      sines_(0, 0),
      waves_back_(0, 0),
      sines_back_(0, 0) {
  if (settings.grid.n == 0 || !(settings.grid.step > 0.0)) throw std::invalid_argument("Q grid: expected points");
  if (settings.count == 0 || !(settings.r_step > 0.0)) throw std::invalid_argument("r grid: expected points");
  if (!(settings.length >= 0.0 && settings.length < 1e6) || !(settings.d_max >= 0.0) || !(settings.d_min >= 0.0)) {
    throw std::invalid_argument("distances: expected a length from 0 to 1e6 and limits of at least 0");
  }
  const PeakWidth& width = settings.width;
  plain_ = width.delta1 == 0.0 && width.delta2 == 0.0 && width.qbroad == 0.0;
  bins_.per_step = 1.0 / node_step_;
  bins_.per_bin = bins_.per_step / static_cast<double>(bin_steps);
  bins_.high = std::min(settings.d_max, settings.length);
  bins_.low = std::max(settings.d_min, std::nextafter(coincident, 1.0));
  bins_.count = bins_to(bins_.high, node_step_) + 1;
  n_nodes_ = bin_steps * (bins_.count - 1) + stencil;
  const double kink = reach_of_kink();
  first_bin_served_ = kink > 0.0 ? bins_to(kink, node_step_) : 0;

  spread_ = spread_for(settings);
  n_padded_ = (spread_ + lanes - 1) / lanes * lanes;
  const std::size_t first_cell = settings.first / spread_;
  n_cells_ = (settings.first + settings.count - 1) / spread_ - first_cell + 1;
  first_coarse_ = static_cast<std::ptrdiff_t>(first_cell);
  n_coarse_ = n_cells_;
  if (spread_ > 1) {
    first_coarse_ -= static_cast<std::ptrdiff_t>(window / 2) - 1;
    n_coarse_ += window - 1;
    fill_taps();
  }
  fill_waves();
  fill_sines();
}

double PdfPlan::bytes(const PlanSettings& settings) {
  const double nodes = settings.length * highest_q(settings.grid) / node_phase;
  const double coarse = static_cast<double>(settings.count) / static_cast<double>(spread_for(settings)) + window;
  return (settings.adjoint ? 2.0 : 1.0) * sizeof(double) * static_cast<double>(settings.grid.n) * (nodes + coarse);
}

double PdfPlan::nearest() const { return static_cast<double>(first_bin_served_ * bin_steps) * node_step_; }

double PdfPlan::reach_of_kink() const {
  const PeakWidth& width = settings_.width;
  if (width.delta1 == 0.0 && width.delta2 == 0.0) return 0.0;
  // R rises with d; its zero lies at or below that of 1 - delta1/d - delta2/d^2.
  double low = 0.0, high = 0.5 * (width.delta1 + std::sqrt(width.delta1 * width.delta1 + 4.0 * width.delta2));
  for (int halving = 0; halving < 60; ++halving) {
    const double middle = 0.5 * (low + high);
    (width.variance(middle, 1.0) > 0.0 ? high : low) = middle;
  }
  // Above it the damping exp(-u Q^2 R) must vary more slowly than the waves, by 1/40 of its scale d a node.
  const double steps = static_cast<double>(stencil);
  return std::max({high + steps * node_step_, static_cast<double>(close_nodes) * node_step_,
                   4.0 * settings_.u * highest_q(settings_.grid)});
}

double PdfPlan::node(std::size_t m) const {
  // The first stencil begins two steps below zero, where the waves, even in d, go on.
  return std::max(std::fabs(static_cast<double>(m) - 2.0) * node_step_, smallest);
}

void PdfPlan::fill_waves() {
  const QGrid& grid = settings_.grid;
  waves_ = Table(n_nodes_, grid.n);
  if (settings_.adjoint) waves_back_ = Table(grid.n, n_nodes_);
  damping_.assign(grid.n, 1.0);
  const double half_step2 = 0.5 * grid.step * grid.step;
  if (plain_) {
    for (std::size_t k = 0; k < grid.n; ++k) {
      const double q = static_cast<double>(k);
      damping_[k] = std::exp(-half_step2 * 2.0 * settings_.u * q * q);
    }
  }
  std::vector<double> sine(waves_.blocks * lanes, 0.0), cosine(grid.n);
  for (std::size_t m = 0; m < n_nodes_; ++m) {
    const double d = node(m), a = plain_ ? 0.0 : half_step2 * settings_.width.variance(d, 2.0 * settings_.u);
    pdf_kernels().wave_table(1.0 / d, grid.step * d, a, grid.n, sine.data(), cosine.data());
    for (std::size_t k = 0; k < sine.size(); k += lanes) std::copy_n(sine.data() + k, lanes, &waves_.at(m, k));
    for (std::size_t k = 0; settings_.adjoint && k < grid.n; ++k) waves_back_.at(k, m) = sine[k];
  }
}

void PdfPlan::fill_sines() {
  const QGrid& grid = settings_.grid;
  const double coarse_step = settings_.r_step * static_cast<double>(spread_);
  const KaiserBessel kernel = window_for(grid, coarse_step);
  std::vector<double> scale(grid.n, 0.0), sine(grid.n), cosine(grid.n);
  for (std::size_t k = settings_.k_first; k < grid.n; ++k) {
    const double q = grid.step * static_cast<double>(k) * coarse_step;
    scale[k] = 2.0 / pi * grid.step / (spread_ > 1 ? kernel.transform(q) : 1.0);
  }
  sines_ = Table(grid.n, n_coarse_);
  if (settings_.adjoint) sines_back_ = Table(n_coarse_, grid.n);
  for (std::size_t c = 0; c < n_coarse_; ++c) {
    const double r = coarse_step * static_cast<double>(first_coarse_ + static_cast<std::ptrdiff_t>(c));
    pdf_kernels().wave_table(1.0, grid.step * r, 0.0, grid.n, sine.data(), cosine.data());
    for (std::size_t k = settings_.k_first; k < grid.n; ++k) {
      sines_.at(k, c) = scale[k] * sine[k];
      if (settings_.adjoint) sines_back_.at(c, k) = scale[k] * sine[k];
    }
  }
}

void PdfPlan::fill_taps() {
  const KaiserBessel kernel = window_for(settings_.grid, settings_.r_step * static_cast<double>(spread_));
  taps_.assign(window * n_padded_, 0.0);
  taps_back_.assign(spread_ * row_tile, 0.0);
  for (std::size_t w = 0; w < window; ++w) {
    for (std::size_t s = 0; s < spread_; ++s) {
      const double place = static_cast<double>(s) / static_cast<double>(spread_);
      const double tap = kernel(place + 0.5 * static_cast<double>(window) - 1.0 - static_cast<double>(w));
      taps_[w * n_padded_ + s] = taps_back_[s * row_tile + w] = tap;
    }
  }
}

}  // namespace hpcpdf

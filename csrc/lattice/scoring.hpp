// Scoring of shell counts, and the list of the best structures seen: what walks, shapes and polishing share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "hpcpdf/aligned.hpp"
#include "lattice_kernels.hpp"
#include "target.hpp"

namespace hpcpdf {

// Below this share of the data the misfit is summed point by point: the difference of two large sums would drown it.
constexpr double direct_below = 1e-2;
// Furthest that the first order of an envelope is trusted.
constexpr double rate_step = 0.25;
constexpr double least_misfit = 1e-15;

inline std::size_t padded(std::size_t n) { return (n + wide - 1) / wide * wide; }

inline std::uint64_t key_of(const std::int32_t* counts, std::size_t n_classes, std::size_t n_atoms) {
  std::uint64_t key = 0x243f6a8885a308d3ULL ^ n_atoms;
  for (std::size_t c = 0; c < n_classes; ++c) {
    if (counts[c] == 0) continue;
    key ^= (static_cast<std::uint64_t>(c) << 32) ^ static_cast<std::uint32_t>(counts[c]);
    key *= 0x9e3779b97f4a7c15ULL;
    key ^= key >> 29;
  }
  return key;
}

// Model curve of shell counts under an envelope, and its score.
class Curve {
 public:
  Curve(const Target& target, double rate)
      : target_(target), loops_(lattice_kernels()), envelope_(target.points, 1.0f) {
    set_rate(rate);
  }

  double rate() const { return rate_; }
  const float* envelope() const { return envelope_.data(); }

  void set_rate(double rate) {
    rate_ = rate;
    if (!target_.free_rate) return;
    for (std::size_t p = 0; p < target_.points; ++p) {
      envelope_[p] = std::exp(-static_cast<float>(rate) * target_.rho[p]);
    }
  }

  Score score(const float* bare) const {
    Moments m;
    const float *data = target_.data.data(), *rho = target_.rho.data();
    loops_.moments(data, bare, envelope_.data(), rho, target_.points, &m);
    Score found;
    found.rate = rate_;
    double along = m.along[0], squared = m.squared[0], change = 0.0;
    if (target_.free_rate) {
      const double det = m.squared[0] * m.squared[2] - m.squared[1] * m.squared[1];
      if (det > 1e-9 * m.squared[0] * m.squared[2]) {
        const double s = (m.along[0] * m.squared[2] - m.along[1] * m.squared[1]) / det;
        const double c = (m.along[1] * m.squared[0] - m.along[0] * m.squared[1]) / det;
        if (s > 0.0) change = -c / s;
        change = std::min(std::max(change, -rate_step), rate_step);
        change = std::min(std::max(change, -rate_), target_.rate_max - rate_);
        along = m.along[0] - change * m.along[1];
        squared = m.squared[0] - change * (2.0 * m.squared[1] - change * m.squared[2]);
      }
    }
    if (!(along > 0.0) || !(squared > 0.0)) return found;
    found.rate = rate_ + change;
    found.misfit = 1.0 - along * along / (squared * target_.size2);
    if (found.misfit < direct_below) {
      const double s = along / squared;
      found.misfit = loops_.misfit(data, bare, envelope_.data(), rho, target_.points, static_cast<float>(s),
                                   static_cast<float>(-s * change)) /
                     target_.size2;
    }
    found.misfit = std::max(found.misfit, least_misfit);
    return found;
  }

 private:
  const Target& target_;
  const LatticeKernels& loops_;
  AlignedFloats envelope_;
  double rate_ = 0.0;
};

// Adds the shells of `change` to `base`.
class Adder {
 public:
  explicit Adder(const Target& target) : target_(target), loops_(lattice_kernels()) {}

  void operator()(const std::int32_t* change, const float* base, float* out) {
    which_.clear();
    factor_.clear();
    for (std::size_t c = 0; c < target_.n_classes; ++c) {
      if (change[c] == 0) continue;
      which_.push_back(static_cast<std::int32_t>(c));
      factor_.push_back(static_cast<float>(change[c]));
    }
    loops_.add_shells(target_.shells.data(), target_.points, which_.data(), factor_.data(), which_.size(), base, out);
  }

 private:
  const Target& target_;
  const LatticeKernels& loops_;
  std::vector<std::int32_t> which_;
  std::vector<float> factor_;
};

// What is searched for the least of: the logarithm of the misfit, and what missing bonds cost beside it.
inline double value_of(const Met& met) { return std::log(met.misfit) + met.energy; }

inline double energy_of(double missing, std::size_t n_atoms, double bond_cost, double usual_missing) {
  if (bond_cost == 0.0) return 0.0;
  const auto n = static_cast<double>(n_atoms);
  return bond_cost * (missing - usual_missing * std::cbrt(n * n));
}

// The best structures seen, distinct in their shell counts.
class Best {
 public:
  explicit Best(std::size_t keep) : keep_(keep) {}

  bool wants(double value) const { return keep_ > 0 && (found_.size() < keep_ || value < value_of(found_.back())); }

  void offer(Met&& met) {
    const double value = value_of(met);
    for (auto known = found_.begin(); known != found_.end(); ++known) {
      if (known->key != met.key) continue;
      if (value >= value_of(*known)) return;
      found_.erase(known);
      break;
    }
    const auto place = std::upper_bound(found_.begin(), found_.end(), value,
                                        [](double v, const Met& other) { return v < value_of(other); });
    found_.insert(place, std::move(met));
    if (found_.size() > keep_) found_.pop_back();
  }

  std::vector<Met> take() { return std::move(found_); }

 private:
  std::size_t keep_;
  std::vector<Met> found_;
};

}  // namespace hpcpdf

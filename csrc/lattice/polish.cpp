#include "polish.hpp"

#include <algorithm>
#include <cmath>

#include "hpcpdf/parallel.hpp"
#include "scoring.hpp"
#include "structure.hpp"

namespace hpcpdf {
namespace {

constexpr double none_found = 1e300;
// Changes are compared under an envelope whose rate is this near to the structure's own.
constexpr double near_rate = 0.01;

class Polisher {
 public:
  Polisher(const Sites& sites, const Target& target, const std::vector<std::int32_t>& start, double rate,
           const PolishSettings& settings)
      : sites_(sites),
        target_(target),
        settings_(settings),
        loops_(lattice_kernels()),
        counts_(target.n_classes + 1, 0),
        structure_(sites, start, counts_.data()),
        curve_(target, rate),
        adder_(target),
        best_(settings.keep),
        bare_(target.points, 0.0f),
        zero_(target.points, 0.0f),
        free_from_(sites.size(), 0),
        stride_(padded(target.n_classes + 1)),
        known_(target.n_classes, 0),
        model_(target.points) {
    renew();
  }

  WalkResult run() {
    WalkResult result;
    Met best = note();
    std::size_t since = 0;
    for (std::size_t round = 1; round <= settings_.rounds && now_.misfit > settings_.stop; ++round) {
      if (!consider(round)) break;
      result.steps += tried_;
      for (const std::size_t s : {first_, second_}) {
        if (s == sites_.size()) continue;
        toggle(s);
        free_from_[s] = round + settings_.tenure;
      }
      renew();
      ++result.accepted;
      const Met here = note();
      if (value_of(here) < value_of(best)) {
        best = here;
        since = 0;
      } else if (++since >= settings_.patience) {
        break;
      }
    }
    result.best = best_.take();
    return result;
  }

 private:
  // Brings the score to the present structure, and the shells to its envelope unless they are near it.
  void renew() {
    adder_(counts_.data(), zero_.data(), bare_.data());
    now_ = curve_.score(bare_.data());
    for (int turn = 0; turn < 3 && target_.free_rate && std::fabs(now_.rate - curve_.rate()) > 1e-5; ++turn) {
      curve_.set_rate(now_.rate);
      now_ = curve_.score(bare_.data());
    }
    if (shells_.empty() || std::fabs(curve_.rate() - shells_rate_) > near_rate) set_shells();
  }

  // Shells under the present envelope, and their products with the data and with themselves.
  void set_shells() {
    const std::size_t points = target_.points, n = target_.n_classes;
    envelope_.assign(curve_.envelope(), curve_.envelope() + points);
    shells_rate_ = curve_.rate();
    shells_.assign(n * points, 0.0f);
    // Too many shells are never tabulated.
    const bool few = n <= 2 * settings_.most_changes;
    if (few) by_point_.assign(points * stride_, 0.0f);
    for (auto* values : {&along_shell_, &size_shell_, &model_shell_, &with_model_}) values->assign(n + 1, 0.0);
    for (std::size_t c = 0; c < n; ++c) {
      float* shell = &shells_[c * points];
      const float* bare = &target_.shells[c * points];
      double along = 0.0, size = 0.0;
      for (std::size_t p = 0; p < points; ++p) {
        shell[p] = bare[p] * envelope_[p];
        if (few) by_point_[p * stride_ + c] = shell[p];
        along += static_cast<double>(shell[p]) * static_cast<double>(target_.data[p]);
        size += static_cast<double>(shell[p]) * static_cast<double>(shell[p]);
      }
      along_shell_[c] = along;
      size_shell_[c] = size;
    }
  }

  Met note() {
    Met met;
    met.misfit = now_.misfit;
    met.rate = now_.rate;
    met.missing = structure_.missing();
    met.energy = energy_of(met.missing, structure_.size(), settings_.bond_cost, settings_.usual_missing);
    met.key = key_of(counts_.data(), target_.n_classes, structure_.size());
    met.sites = structure_.list();
    std::sort(met.sites.begin(), met.sites.end());
    if (best_.wants(value_of(met))) best_.offer(Met(met));
    return met;
  }

  void toggle(std::size_t site) {
    if (structure_.has(site)) {
      structure_.remove(site, counts_.data());
    } else {
      structure_.add(site, counts_.data());
    }
  }

  // Sites that may change: atoms of the surface, and vacancies with bonds enough.
  void collect(std::size_t round) {
    changes_.clear();
    const int inside = static_cast<int>(sites_.n_neighbours()) - 2;
    vacant_.clear();
    for (const std::int32_t atom : structure_.list()) {
      const auto s = static_cast<std::size_t>(atom);
      if (structure_.bonds(s) <= inside && free_from_[s] <= round) changes_.push_back(s);
      const std::int32_t* around = sites_.neighbours(s);
      for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) {
        const auto t = static_cast<std::size_t>(around[k]);
        if (t < sites_.size() && !structure_.has(t) && !sites_.at_edge(t) && free_from_[t] <= round &&
            structure_.bonds(t) >= static_cast<int>(settings_.least_bonds)) {
          vacant_.push_back(t);
        }
      }
    }
    std::sort(vacant_.begin(), vacant_.end());
    vacant_.erase(std::unique(vacant_.begin(), vacant_.end()), vacant_.end());
    changes_.insert(changes_.end(), vacant_.begin(), vacant_.end());
    // What breaks few bonds or makes many comes first, should there be too many.
    const auto cost = [&](std::size_t s) {
      return structure_.has(s) ? structure_.bonds(s) : inside - structure_.bonds(s);
    };
    std::sort(changes_.begin(), changes_.end(),
              [&](std::size_t a, std::size_t b) { return std::make_pair(cost(a), a) < std::make_pair(cost(b), b); });
    if (changes_.size() > settings_.most_changes) changes_.resize(settings_.most_changes);
  }

  // Product of the model with a shell; worked out when it is first asked for.
  double model_shell(std::size_t c) {
    if (known_[c] == 0) {
      const float* shell = &shells_[c * target_.points];
      double sum = 0.0;
      for (std::size_t p = 0; p < target_.points; ++p) sum += static_cast<double>(shell[p]) * model_[p];
      model_shell_[c] = sum;
      known_[c] = 1;
    }
    return model_shell_[c];
  }

  // What every change adds to the model, and its products with data, model, shells and the other changes.
  void expand() {
    const std::size_t n = changes_.size(), points = target_.points, n_classes = target_.n_classes;
    double along = 0.0, squared = 0.0;
    for (std::size_t p = 0; p < points; ++p) {
      model_[p] = static_cast<double>(envelope_[p]) * static_cast<double>(bare_[p]);
      along += model_[p] * static_cast<double>(target_.data[p]);
      squared += model_[p] * model_[p];
    }
    along0_ = along;
    squared0_ = squared;
    std::fill(known_.begin(), known_.end(), 0);
    columns_ = padded(n);
    curves_.resize(n * points);
    turned_.assign(points * columns_, 0.0f);
    gram_.resize(n * columns_);
    along_.resize(n);
    squared_.resize(n);
    sign_.resize(n);
    change_.assign(n_classes + 1, 0);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t s = changes_[i];
      const std::int32_t sign = structure_.has(s) ? -1 : 1;
      sign_[i] = sign;
      structure_.count(s, sign, change_.data());
      float* curve = &curves_[i * points];
      which_.clear();
      factor_.clear();
      along = squared = 0.0;
      for (std::size_t c = 0; c < n_classes; ++c) {
        if (change_[c] == 0) continue;
        const auto m = static_cast<double>(change_[c]);
        along += m * along_shell_[c];
        squared += 2.0 * m * model_shell(c);
        which_.push_back(static_cast<std::int32_t>(c));
        factor_.push_back(static_cast<float>(m));
        change_[c] = 0;
      }
      change_[n_classes] = 0;
      along_[i] = along;
      squared_[i] = squared;
      loops_.add_shells(shells_.data(), points, which_.data(), factor_.data(), which_.size(), zero_.data(), curve);
      for (std::size_t p = 0; p < points; ++p) turned_[p * columns_ + i] = curve[p];
    }
    // Of each pair once: the columns from the diagonal on.
    for (std::size_t i = 0; i < n; i += wide) {
      loops_.multiply_floats(&curves_[i * points], std::min(wide, n - i), points, &turned_[i], columns_, columns_ - i,
                             &gram_[i * columns_ + i], columns_);
    }
    for (std::size_t i = 0; i < n; ++i) squared_[i] += static_cast<double>(gram_[i * columns_ + i]);
    // Products of every change with every shell, or only those that some pair needs, whichever are fewer.
    tabulated_ = n_classes <= 2 * n;
    if (tabulated_) {
      with_shells_.resize(n * stride_);
      loops_.multiply_floats(curves_.data(), n, points, by_point_.data(), stride_, stride_, with_shells_.data(),
                             stride_);
    }
  }

  // What missing bonds do to the misfit: a factor for each change, for the number of atoms, and for bonds of a pair.
  void set_costs() {
    const std::size_t n = changes_.size();
    const double bulk = static_cast<double>(sites_.n_neighbours());
    cost_.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      cost_[i] = std::exp(settings_.bond_cost * sign_[i] * (bulk - 2.0 * structure_.bonds(changes_[i])));
    }
    more_.assign(target_.n_classes + 1, 1.0);
    less_.assign(target_.n_classes + 1, 1.0);
    for (std::size_t c = 0; c < target_.n_classes; ++c) {
      if (!sites_.bonded(c)) continue;
      more_[c] = std::exp(-2.0 * settings_.bond_cost);
      less_[c] = std::exp(2.0 * settings_.bond_cost);
    }
  }

  // exp(-cost of the usual missing bonds), relative to the present size.
  double usual(double change) const {
    const auto n = static_cast<double>(structure_.size());
    const double more = std::cbrt((n + change) * (n + change)) - std::cbrt(n * n);
    return std::exp(-settings_.bond_cost * settings_.usual_missing * more);
  }

  // Finds the best change; false if there is none.
  bool consider(std::size_t round) {
    collect(round);
    const std::size_t n = changes_.size(), n_classes = target_.n_classes, points = target_.points;
    tried_ = n * (n + 1) / 2;
    first_ = second_ = sites_.size();
    if (n == 0) return false;
    expand();
    set_costs();
    const auto enough = [&](double change) {
      return static_cast<double>(structure_.size()) + change >= static_cast<double>(settings_.least_atoms);
    };
    double best = none_found;
    const double alone[2] = {usual(-1.0), usual(1.0)};
    const double both[3] = {usual(-2.0), 1.0, usual(2.0)};
    sign_pair_.resize(n);
    cost_pair_.resize(n);
    shell_.resize(n);
    value_.resize(n);
    if (!tabulated_) dots_.resize(n);
    PairTerms terms{};
    terms.shell = shell_.data();
    terms.sign = sign_pair_.data();
    terms.along = along_.data();
    terms.squared = squared_.data();
    terms.cost = cost_pair_.data();
    terms.along_shell = along_shell_.data();
    terms.with_model = with_model_.data();
    terms.size_shell = size_shell_.data();
    terms.more = more_.data();
    terms.less = less_.data();
    terms.size2 = target_.size2;
    const float *x = sites_.x(), *y = sites_.y(), *z = sites_.z();
    const auto& classes = sites_.classes();
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t a = changes_[i];
      terms.along_i = along0_ + along_[i];
      terms.squared_i = squared0_ + squared_[i];
      if (enough(sign_[i]) && terms.along_i > 0.0 && terms.squared_i > 0.0) {
        const double left = 1.0 - terms.along_i * terms.along_i / (terms.squared_i * target_.size2);
        const double value = std::max(left, least_misfit) * cost_[i] * alone[sign_[i] > 0.0];
        if (value < best) {
          best = value;
          first_ = a;
          second_ = sites_.size();
        }
      }
      const double fewer = enough(sign_[i] - 1.0) ? both[sign_[i] > 0.0] : none_found;
      const double more = enough(sign_[i] + 1.0) ? both[sign_[i] > 0.0 ? 2 : 1] : none_found;
      for (std::size_t j = i + 1; j < n; ++j) {
        const std::size_t b = changes_[j];
        const float dx = x[a] - x[b], dy = y[a] - y[b], dz = z[a] - z[b];
        shell_[j] = classes.table[static_cast<std::size_t>((dx * dx + dy * dy + dz * dz) * classes.scale + 0.5f)];
        sign_pair_[j] = sign_[i] * sign_[j];
        cost_pair_[j] = cost_[i] * cost_[j] * (sign_[j] > 0.0 ? more : fewer);
      }
      if (tabulated_) {
        const float* row = &with_shells_[i * stride_];
        for (std::size_t c = 0; c < n_classes; ++c) with_model_[c] = model_shell(c) + static_cast<double>(row[c]);
        terms.with_shell = with_shells_.data();
        terms.stride = stride_;
      } else {
        for (std::size_t j = i + 1; j < n; ++j) {
          dots_[j] = 0.0f;
          const auto c = static_cast<std::size_t>(shell_[j]);
          if (c == n_classes) continue;
          with_model_[c] = model_shell(c);
          dots_[j] = loops_.dot_sum(&curves_[i * points], &curves_[j * points], &shells_[c * points], points);
        }
        terms.with_shell = dots_.data();
        terms.stride = 1;
      }
      terms.gram = &gram_[i * columns_];
      loops_.pair_values(terms, i + 1, n, none_found, value_.data());
      for (std::size_t j = i + 1; j < n; ++j) {
        if (value_[j] >= best) continue;
        best = value_[j];
        first_ = a;
        second_ = changes_[j];
      }
    }
    return first_ != sites_.size();
  }

  const Sites& sites_;
  const Target& target_;
  const PolishSettings settings_;
  const LatticeKernels& loops_;
  std::vector<std::int32_t> counts_;
  Structure structure_;
  Curve curve_;
  Adder adder_;
  Best best_;
  Score now_;
  AlignedFloats bare_, zero_;
  std::vector<std::size_t> free_from_, changes_, vacant_;
  const std::size_t stride_;          // of lines of shells
  std::vector<unsigned char> known_;  // products of the model with shells
  // Shells under the envelope, by shell and by point, and their products.
  AlignedFloats envelope_, shells_, by_point_;
  double shells_rate_ = 0.0;
  std::vector<double> model_, along_shell_, size_shell_, model_shell_, with_model_;
  double along0_ = 0.0, squared0_ = 0.0;
  // Of the changes: curves, by change and by point, and their products.
  std::size_t columns_ = 0;
  AlignedFloats curves_, turned_, gram_, with_shells_, dots_;
  std::vector<double> along_, squared_, sign_, cost_, more_, less_, sign_pair_, cost_pair_, value_;
  std::vector<std::int32_t> change_, which_, shell_;
  std::vector<float> factor_;
  bool tabulated_ = false;
  std::size_t first_ = 0, second_ = 0, tried_ = 0;
};

}  // namespace

WalkResult polish(const Sites& sites, const Target& target, const std::vector<std::int32_t>& start, double rate,
                  const PolishSettings& settings) {
  return Polisher(sites, target, start, rate, settings).run();
}

std::vector<WalkResult> polish_all(const Sites& sites, const Target& target,
                                   const std::vector<std::vector<std::int32_t>>& starts,
                                   const std::vector<double>& rates, const PolishSettings& settings, int n_threads) {
  std::vector<WalkResult> results(starts.size());
  parallel_for(starts.size(), n_threads,
               [&](std::size_t i) { results[i] = polish(sites, target, starts[i], rates[i], settings); });
  return results;
}

}  // namespace hpcpdf

#include "polish.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "hpcpdf/parallel.hpp"
#include "scoring.hpp"
#include "structure.hpp"

namespace hpcpdf {
namespace {

class Polisher {
 public:
  Polisher(const Sites& sites, const Target& target, const std::vector<std::int32_t>& start, double rate,
           const PolishSettings& settings)
      : sites_(sites),
        target_(target),
        settings_(settings),
        loops_(lattice_kernels()),
        structure_(sites),
        curve_(target, rate),
        adder_(target),
        best_(settings.keep),
        counts_(target.n_classes + 1, 0),
        bare_(target.points, 0.0f),
        zero_(target.points, 0.0f),
        free_from_(sites.size(), 0),
        data_(target.points),
        shells_((target.n_classes + 1) * target.points, 0.0),
        model_(target.points) {
    for (const std::int32_t s : start) {
      if (s < 0 || static_cast<std::size_t>(s) >= sites.size() || structure_.has(static_cast<std::size_t>(s))) {
        throw std::invalid_argument("start: expected distinct indices of sites");
      }
      structure_.add(static_cast<std::size_t>(s), counts_.data());
    }
    for (std::size_t p = 0; p < target.points; ++p) data_[p] = static_cast<double>(target.data[p]);
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
  // Brings everything to the present structure.
  void renew() {
    adder_(counts_.data(), zero_.data(), bare_.data());
    now_ = curve_.score(bare_.data());
    for (int turn = 0; turn < 3 && target_.free_rate && std::fabs(now_.rate - curve_.rate()) > 1e-5; ++turn) {
      curve_.set_rate(now_.rate);
      now_ = curve_.score(bare_.data());
    }
    if (!shells_made_ || curve_.rate() != shells_rate_) {
      const float* envelope = curve_.envelope();
      for (std::size_t c = 0; c < target_.n_classes; ++c) {
        for (std::size_t p = 0; p < target_.points; ++p) {
          const std::size_t at = c * target_.points + p;
          shells_[at] = static_cast<double>(target_.shells[at]) * static_cast<double>(envelope[p]);
        }
      }
      along_shell_.assign(target_.n_classes + 1, 0.0);
      size_shell_.assign(target_.n_classes + 1, 0.0);
      loops_.products(shells_.data(), target_.n_classes, target_.points, data_.data(), along_shell_.data());
      for (std::size_t c = 0; c < target_.n_classes; ++c) {
        const double* shell = &shells_[c * target_.points];
        loops_.products(shell, 1, target_.points, shell, &size_shell_[c]);
      }
      shells_rate_ = curve_.rate();
      shells_made_ = true;
    }
    sum_shells(counts_.data(), model_.data());
  }

  void sum_shells(const std::int32_t* counts, double* out) const {
    std::fill(out, out + target_.points, 0.0);
    for (std::size_t c = 0; c < target_.n_classes; ++c) {
      if (counts[c] != 0) {
        loops_.add_scaled(static_cast<double>(counts[c]), &shells_[c * target_.points], target_.points, out);
      }
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
    for (const std::int32_t atom : structure_.list()) {
      const auto s = static_cast<std::size_t>(atom);
      if (structure_.bonds(s) <= inside && free_from_[s] <= round) changes_.push_back(s);
    }
    std::vector<std::size_t> vacant;
    for (const std::int32_t atom : structure_.list()) {
      const std::int32_t* around = sites_.neighbours(static_cast<std::size_t>(atom));
      for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) {
        const auto s = static_cast<std::size_t>(around[k]);
        if (s < sites_.size() && !structure_.has(s) && !sites_.at_edge(s) && free_from_[s] <= round &&
            structure_.bonds(s) >= static_cast<int>(settings_.least_bonds)) {
          vacant.push_back(s);
        }
      }
    }
    std::sort(vacant.begin(), vacant.end());
    vacant.erase(std::unique(vacant.begin(), vacant.end()), vacant.end());
    changes_.insert(changes_.end(), vacant.begin(), vacant.end());
    // What breaks few bonds or makes many comes first, should there be too many.
    const auto cost = [&](std::size_t s) {
      return structure_.has(s) ? structure_.bonds(s) : inside - structure_.bonds(s);
    };
    std::sort(changes_.begin(), changes_.end(),
              [&](std::size_t a, std::size_t b) { return std::make_pair(cost(a), a) < std::make_pair(cost(b), b); });
    if (changes_.size() > settings_.most_changes) changes_.resize(settings_.most_changes);
  }

  // Finds the best change; false if there is none.
  bool consider(std::size_t round) {
    collect(round);
    const std::size_t n = changes_.size(), points = target_.points, n_classes = target_.n_classes;
    tried_ = n * (n + 1) / 2;
    first_ = second_ = sites_.size();
    if (n == 0) return false;
    curves_.resize(n * points);
    gram_.resize(n * n);
    // Products of every change with every shell, or only those that some pair needs, whichever are fewer.
    const bool tabulate = n_classes <= n;
    with_shells_.resize(tabulate ? n * (n_classes + 1) : 0);
    along_.resize(n);
    with_model_.resize(n);
    std::vector<std::int32_t> counts(n_classes + 1);
    std::vector<double> sign(n);
    for (std::size_t i = 0; i < n; ++i) {
      std::fill(counts.begin(), counts.end(), 0);
      const std::size_t s = changes_[i];
      sign[i] = structure_.has(s) ? -1.0 : 1.0;
      toggle_counts(s, counts.data());
      double* curve = &curves_[i * points];
      sum_shells(counts.data(), curve);
      if (tabulate) {
        loops_.products(shells_.data(), n_classes, points, curve, &with_shells_[i * (n_classes + 1)]);
        with_shells_[i * (n_classes + 1) + n_classes] = 0.0;
      }
    }
    loops_.products(curves_.data(), n, points, data_.data(), along_.data());
    loops_.products(curves_.data(), n, points, model_.data(), with_model_.data());
    for (std::size_t i = 0; i < n; ++i) {
      loops_.products(&curves_[i * points], n - i, points, &curves_[i * points], &gram_[i * n + i]);
    }
    std::vector<double> model_shell(n_classes + 1, 0.0);
    loops_.products(shells_.data(), n_classes, points, model_.data(), model_shell.data());
    double along0, squared0;
    loops_.products(data_.data(), 1, points, model_.data(), &along0);
    loops_.products(model_.data(), 1, points, model_.data(), &squared0);

    const auto n_atoms = static_cast<double>(structure_.size());
    const double missing0 = structure_.missing(), bulk = static_cast<double>(sites_.n_neighbours());
    const auto energy = [&](double change, double missing) {
      if (settings_.bond_cost == 0.0) return 0.0;
      const double atoms = n_atoms + change;
      return settings_.bond_cost * (missing - settings_.usual_missing * std::cbrt(atoms * atoms));
    };
    double best = 1e300;
    const auto weigh = [&](double along, double squared, double cost, std::size_t i, std::size_t j) {
      if (!(along > 0.0) || !(squared > 0.0)) return;
      const double misfit = std::max(1.0 - along * along / (squared * target_.size2), least_misfit);
      const double value = std::log(misfit) + cost;
      if (value >= best) return;
      best = value;
      first_ = changes_[i];
      second_ = j < n ? changes_[j] : sites_.size();
    };
    const float *x = sites_.x(), *y = sites_.y(), *z = sites_.z();
    const auto& classes = sites_.classes();
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t a = changes_[i];
      const double missing_a = sign[i] * (bulk - 2.0 * structure_.bonds(a));
      const double along_a = along0 + along_[i], squared_a = squared0 + 2.0 * with_model_[i] + gram_[i * n + i];
      if (n_atoms + sign[i] >= static_cast<double>(settings_.least_atoms)) {
        weigh(along_a, squared_a, energy(sign[i], missing0 + missing_a), i, n);
      }
      for (std::size_t j = i + 1; j < n; ++j) {
        const std::size_t b = changes_[j];
        const double change = sign[i] + sign[j];
        if (n_atoms + change < static_cast<double>(settings_.least_atoms)) continue;
        const float dx = x[a] - x[b], dy = y[a] - y[b], dz = z[a] - z[b];
        const std::size_t c =
            classes.table[static_cast<std::size_t>((dx * dx + dy * dy + dz * dz) * classes.scale + 0.5f)];
        const double e = sign[i] * sign[j];
        const double along = along_a + along_[j] + e * along_shell_[c];
        double with_shell[2] = {0.0, 0.0};
        if (tabulate) {
          with_shell[0] = with_shells_[i * (n_classes + 1) + c];
          with_shell[1] = with_shells_[j * (n_classes + 1) + c];
        } else if (c < n_classes) {
          const double* shell = &shells_[c * points];
          loops_.products(&curves_[i * points], 1, points, shell, &with_shell[0]);
          loops_.products(&curves_[j * points], 1, points, shell, &with_shell[1]);
        }
        const double squared = squared_a + 2.0 * (with_model_[j] + gram_[i * n + j] + e * model_shell[c]) +
                               gram_[j * n + j] + size_shell_[c] + 2.0 * e * (with_shell[0] + with_shell[1]);
        double missing = missing0 + missing_a + sign[j] * (bulk - 2.0 * structure_.bonds(b));
        if (bonded(a, b)) missing -= 2.0 * e;
        weigh(along, squared, energy(change, missing), i, j);
      }
    }
    return first_ != sites_.size();
  }

  bool bonded(std::size_t a, std::size_t b) const {
    const std::int32_t* around = sites_.neighbours(a);
    for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) {
      if (static_cast<std::size_t>(around[k]) == b) return true;
    }
    return false;
  }

  // Change of the counts when a site changes, leaving the structure as it is.
  void toggle_counts(std::size_t site, std::int32_t* counts) {
    if (structure_.has(site)) {
      structure_.remove(site, counts);
      structure_.add(site, nullptr);
    } else {
      structure_.add(site, counts);
      structure_.remove(site, nullptr);
    }
  }

  const Sites& sites_;
  const Target& target_;
  const PolishSettings settings_;
  const LatticeKernels& loops_;
  Structure structure_;
  Curve curve_;
  Adder adder_;
  Best best_;
  Score now_;
  std::vector<std::int32_t> counts_;
  AlignedFloats bare_, zero_;
  std::vector<std::size_t> free_from_, changes_;
  std::vector<double> data_, shells_, model_, along_shell_, size_shell_;
  std::vector<double> curves_, gram_, with_shells_, along_, with_model_;
  double shells_rate_ = 0.0;
  bool shells_made_ = false;
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

#include "walk.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <utility>

#include "hpcpdf/parallel.hpp"
#include "random.hpp"
#include "scoring.hpp"
#include "structure.hpp"

namespace hpcpdf {

namespace {

// Model curves are summed anew after so many accepted moves.
constexpr std::size_t renew_after = 256;

class Walker {
 public:
  Walker(const Sites& sites, const Target& target, const std::vector<std::int32_t>& start, double rate,
         const WalkSettings& settings, std::uint64_t seed, Best& best)
      : sites_(sites),
        target_(target),
        settings_(settings),
        random_(seed),
        structure_(sites),
        curve_(target, rate),
        adder_(target),
        best_(best),
        counts_(target.n_classes + 1, 0),
        change_(target.n_classes + 1, 0),
        bare_(target.points, 0.0f),
        trial_(target.points, 0.0f) {
    for (const std::int32_t s : start) {
      if (s < 0 || static_cast<std::size_t>(s) >= sites.size() || structure_.has(static_cast<std::size_t>(s))) {
        throw std::invalid_argument("start: expected distinct indices of sites");
      }
      structure_.add(static_cast<std::size_t>(s), counts_.data());
    }
    for (std::size_t f = 0; f < sites.n_facets(); ++f) bound_.push_back(structure_.top(f));
    renew();
    settle_rate();
  }

  double misfit() const { return now_.misfit; }
  double energy() const { return energy_; }
  std::size_t accepted() const { return accepted_; }

  // So many steps, or fewer if the misfit falls to where it may stop; returns their number.
  std::size_t advance(std::size_t n_steps, double power) {
    const double shares =
        settings_.share_facets + settings_.share_atoms + settings_.share_rows + settings_.share_terraces;
    std::size_t step = 0;
    for (; step < n_steps && now_.misfit > settings_.stop; ++step) {
      toggled_.clear();
      pushed_.clear();
      double pick = random_.uniform() * shares;
      bool moved;
      if ((pick -= settings_.share_facets) < 0.0) {
        moved = push_facets();
      } else if ((pick -= settings_.share_atoms) < 0.0) {
        moved = move_atoms();
      } else if ((pick -= settings_.share_rows) < 0.0) {
        moved = move_row();
      } else {
        moved = move_terrace();
      }
      const std::size_t n = structure_.size();
      if (!moved || n < settings_.least_atoms || n > settings_.most_atoms) {
        undo();
        continue;
      }
      // A facet may move through empty space.
      if (toggled_.empty()) continue;
      adder_(change_.data(), bare_.data(), trial_.data());
      const Score found = curve_.score(trial_.data());
      const double energy = energy_now();
      const double uphill = power * (std::log(found.misfit / now_.misfit) + energy - energy_);
      if (uphill > 0.0 && random_.uniform() > std::exp(-uphill)) {
        undo();
        continue;
      }
      ++accepted_;
      for (std::size_t c = 0; c <= target_.n_classes; ++c) counts_[c] += change_[c];
      std::fill(change_.begin(), change_.end(), 0);
      std::swap(bare_, trial_);
      now_ = found;
      energy_ = energy;
      if (accepted_ % renew_after == 0) renew();
      if (target_.free_rate && std::fabs(found.rate - curve_.rate()) > 1e-5) settle_rate();
      note();
    }
    return step;
  }

  void note() {
    if (!best_.wants(std::log(now_.misfit) + energy_)) return;
    Met met;
    met.misfit = now_.misfit;
    met.rate = now_.rate;
    met.energy = energy_;
    met.missing = structure_.missing();
    met.key = key_of(counts_.data(), target_.n_classes, structure_.size());
    met.sites = structure_.list();
    std::sort(met.sites.begin(), met.sites.end());
    best_.offer(std::move(met));
  }

 private:
  void renew() {
    std::fill(bare_.begin(), bare_.end(), 0.0f);
    adder_(counts_.data(), bare_.data(), bare_.data());
    now_ = curve_.score(bare_.data());
    energy_ = energy_now();
  }

  // Takes the envelope to where this structure wants it.
  void settle_rate() {
    for (int round = 0; round < 3; ++round) {
      const Score before = now_;
      if (!target_.free_rate || std::fabs(before.rate - curve_.rate()) < 1e-5) return;
      const double old = curve_.rate();
      curve_.set_rate(before.rate);
      now_ = curve_.score(bare_.data());
      if (now_.misfit > before.misfit * 1.05 && round > 0) {
        curve_.set_rate(old);
        now_ = curve_.score(bare_.data());
        return;
      }
    }
  }

  double energy_now() const {
    return energy_of(structure_.missing(), structure_.size(), settings_.bond_cost, settings_.usual_missing);
  }

  void add(std::size_t site) {
    structure_.add(site, change_.data());
    toggled_.push_back(site);
    const std::int16_t* levels = sites_.levels(site);
    for (std::size_t f = 0; f < sites_.n_facets(); ++f) {
      if (levels[f] > bound_[f]) set_bound(f, levels[f]);
    }
  }

  void remove(std::size_t site) {
    structure_.remove(site, change_.data());
    toggled_.push_back(site);
  }

  void undo() {
    for (std::size_t i = pushed_.size(); i-- > 0;) bound_[pushed_[i].first] = pushed_[i].second;
    for (std::size_t i = toggled_.size(); i-- > 0;) {
      if (structure_.has(toggled_[i])) {
        structure_.remove(toggled_[i], nullptr);
      } else {
        structure_.add(toggled_[i], nullptr);
      }
    }
    if (!toggled_.empty()) std::fill(change_.begin(), change_.end(), 0);
  }

  // Whether a site lies within all facets but one.
  bool within(std::size_t site, std::size_t except) const {
    const std::int16_t* levels = sites_.levels(site);
    for (std::size_t g = 0; g < sites_.n_facets(); ++g) {
      if (g != except && levels[g] > bound_[g]) return false;
    }
    return true;
  }

  void set_bound(std::size_t facet, int level) {
    pushed_.emplace_back(facet, bound_[facet]);
    bound_[facet] = level;
  }

  // A facet goes in by one layer that has atoms, or a facet that stands off comes closer.
  bool shrink(std::size_t facet) {
    const int top = structure_.top(facet);
    if (bound_[facet] > top) {
      set_bound(facet, top);
      if (random_.uniform() < 0.5) return true;
    }
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(top), count);
    for (std::size_t i = 0; i < count; ++i) {
      if (structure_.has(static_cast<std::size_t>(layer[i]))) remove(static_cast<std::size_t>(layer[i]));
    }
    set_bound(facet, top - 1);
    return structure_.size() > 0;
  }

  // A facet goes out by one layer, with or without sites within the other facets there. It may stand off by a few
  // layers: a corner grows only when all facets that meet there have made room.
  bool grow(std::size_t facet) {
    constexpr int stand_off = 3;
    const int level = bound_[facet] + 1;
    if (level >= static_cast<int>(sites_.n_levels(facet)) || level > structure_.top(facet) + stand_off) return false;
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(level), count);
    chosen_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      const auto s = static_cast<std::size_t>(layer[i]);
      if (!within(s, facet)) continue;
      if (sites_.at_edge(s)) return false;
      if (!structure_.has(s)) chosen_.push_back(s);
    }
    set_bound(facet, level);
    for (const std::size_t s : chosen_) add(s);
    return true;
  }

  bool push_facets() {
    const double u = random_.uniform();
    const int number = u < 0.4 ? 1 : u < 0.8 ? 2 : 3;
    for (int k = 0; k < number; ++k) {
      const std::size_t facet = random_.below(sites_.n_facets());
      if (!(random_.uniform() < 0.5 ? shrink(facet) : grow(facet))) return false;
    }
    return true;
  }

  // An empty site next to an atom, with bonds enough; the number of sites if none was found.
  std::size_t some_vacancy() {
    for (int attempt = 0; attempt < 12; ++attempt) {
      const auto from = static_cast<std::size_t>(structure_.list()[random_.below(structure_.size())]);
      const auto s = static_cast<std::size_t>(sites_.neighbours(from)[random_.below(sites_.n_neighbours())]);
      if (s < sites_.size() && !structure_.has(s) && !sites_.at_edge(s) &&
          structure_.bonds(s) >= static_cast<int>(settings_.least_bonds)) {
        return s;
      }
    }
    return sites_.size();
  }

  // An atom at the surface; the number of sites if none was found.
  std::size_t some_surface_atom() {
    for (int attempt = 0; attempt < 12; ++attempt) {
      const auto s = static_cast<std::size_t>(structure_.list()[random_.below(structure_.size())]);
      if (structure_.bonds(s) < static_cast<int>(sites_.n_neighbours()) - 1) return s;
    }
    return sites_.size();
  }

  bool move_atoms() {
    const double u = random_.uniform();
    const std::size_t none = sites_.size();
    if (u < 0.25 || u >= 0.5) {
      const std::size_t atom = some_surface_atom();
      if (atom == none) return false;
      remove(atom);
    }
    if (structure_.size() == 0) return false;
    if (u >= 0.25) {
      const std::size_t vacancy = some_vacancy();
      if (vacancy == none) return false;
      add(vacancy);
    }
    if (u >= 0.85) {
      const std::size_t atom = some_surface_atom();
      if (atom == none) return false;
      remove(atom);
      const std::size_t vacancy = some_vacancy();
      if (vacancy == none) return false;
      add(vacancy);
    }
    return true;
  }

  // The neighbour of `site` straight on from `from`; the number of sites if there is none.
  std::size_t straight_on(std::size_t from, std::size_t site) const {
    const float *x = sites_.x(), *y = sites_.y(), *z = sites_.z();
    const float ux = x[site] - x[from], uy = y[site] - y[from], uz = z[site] - z[from];
    const float own = ux * ux + uy * uy + uz * uz;
    for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) {
      const auto s = static_cast<std::size_t>(sites_.neighbours(site)[k]);
      if (s >= sites_.size()) continue;
      const float vx = x[s] - x[site], vy = y[s] - y[site], vz = z[s] - z[site];
      if (ux * vx + uy * vy + uz * vz > 0.97f * own) return s;
    }
    return sites_.size();
  }

  // A row of surface atoms goes, or a row grows on a surface.
  bool move_row() {
    const std::size_t none = sites_.size();
    const bool grows = random_.uniform() < 0.5;
    const std::size_t first = grows ? some_vacancy() : some_surface_atom();
    if (first == none) return false;
    const auto side = static_cast<std::size_t>(sites_.neighbours(first)[random_.below(sites_.n_neighbours())]);
    if (side >= none) return false;
    const int enough = static_cast<int>(settings_.least_bonds);
    const int inside = static_cast<int>(sites_.n_neighbours()) * 3 / 4;
    const auto belongs = [&](std::size_t s) {
      if (s >= none) return false;
      return grows ? !structure_.has(s) && !sites_.at_edge(s) && structure_.bonds(s) >= enough
                   : structure_.has(s) && structure_.bonds(s) <= inside;
    };
    if (!belongs(first)) return false;
    chosen_.assign(1, first);
    for (std::size_t before = first, s = side; belongs(s);) {
      chosen_.push_back(s);
      const std::size_t next = straight_on(before, s);
      before = s;
      s = next;
    }
    for (std::size_t before = side, s = straight_on(side, first), last = first; belongs(s);) {
      chosen_.push_back(s);
      before = last;
      last = s;
      s = straight_on(before, s);
    }
    // Sometimes only its beginning.
    if (chosen_.size() > 2 && random_.uniform() < 0.3) chosen_.resize(1 + random_.below(chosen_.size() - 1));
    for (const std::size_t s : chosen_) {
      if (grows) {
        if (!structure_.has(s)) add(s);
      } else if (structure_.has(s)) {
        remove(s);
      }
    }
    return structure_.size() > 0;
  }

  // The part of a facet's top layer beyond a level of another facet goes, or the next layer grows up to one.
  bool move_terrace() {
    const std::size_t facet = random_.below(sites_.n_facets()), edge = random_.below(sites_.n_facets());
    if (facet == edge) return false;
    const bool grows = random_.uniform() < 0.5;
    const int top = structure_.top(facet), level = grows ? top + 1 : top;
    if (level < 0 || level >= static_cast<int>(sites_.n_levels(facet))) return false;
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(level), count);
    chosen_.clear();
    int low = 0x7fff, high = -1;
    for (std::size_t i = 0; i < count; ++i) {
      const auto s = static_cast<std::size_t>(layer[i]);
      if (grows ? structure_.has(s) || sites_.at_edge(s) || !within(s, facet) : !structure_.has(s)) continue;
      chosen_.push_back(s);
      low = std::min<int>(low, sites_.levels(s)[edge]);
      high = std::max<int>(high, sites_.levels(s)[edge]);
    }
    if (chosen_.empty()) return false;
    const int limit = low + static_cast<int>(random_.below(static_cast<std::size_t>(high - low + 1)));
    for (const std::size_t s : chosen_) {
      const int at = sites_.levels(s)[edge];
      if (grows && at <= limit) add(s);
      if (!grows && at >= limit) remove(s);
    }
    return structure_.size() > 0;
  }

  const Sites& sites_;
  const Target& target_;
  const WalkSettings settings_;
  Random random_;
  Structure structure_;
  Curve curve_;
  Adder adder_;
  Best& best_;
  std::vector<std::int32_t> counts_, change_;
  AlignedFloats bare_, trial_;
  Score now_;
  double energy_ = 0.0;
  std::size_t accepted_ = 0;
  std::vector<std::size_t> toggled_, chosen_;
  std::vector<int> bound_;                           // outermost layer that each facet leaves room for
  std::vector<std::pair<std::size_t, int>> pushed_;  // facets moved, and where they were
};

}  // namespace

WalkResult walk(const Sites& sites, const Target& target, const std::vector<std::vector<std::int32_t>>& starts,
                double rate, const WalkSettings& settings) {
  const std::size_t n = settings.powers.size();
  if (n == 0 || starts.empty()) throw std::invalid_argument("powers and starts: expected at least one");
  Best best(settings.keep);
  Random random(settings.seed);
  std::vector<std::unique_ptr<Walker>> walkers;
  for (std::size_t k = 0; k < n; ++k) {
    walkers.push_back(std::make_unique<Walker>(sites, target, starts[k % starts.size()], rate, settings,
                                               settings.seed + 0xd1342543de82ef95ULL * (k + 1), best));
    walkers.back()->note();
  }
  WalkResult result;
  bool found = false;
  for (std::size_t round = 0; round < settings.rounds && !found; ++round) {
    for (std::size_t k = 0; k < n && !found; ++k) {
      result.steps += walkers[k]->advance(settings.steps, settings.powers[k]);
      found = walkers[k]->misfit() <= settings.stop;
    }
    for (std::size_t k = round % 2; k + 1 < n; k += 2) {
      const double gain =
          (settings.powers[k + 1] - settings.powers[k]) *
          (std::log(walkers[k + 1]->misfit() / walkers[k]->misfit()) + walkers[k + 1]->energy() - walkers[k]->energy());
      if (gain >= 0.0 || random.uniform() < std::exp(gain)) {
        std::swap(walkers[k], walkers[k + 1]);
        ++result.exchanged;
      }
    }
  }
  for (const auto& walker : walkers) result.accepted += walker->accepted();
  result.best = best.take();
  return result;
}

std::vector<WalkResult> walks(const Sites& sites, const Target& target,
                              const std::vector<std::vector<std::vector<std::int32_t>>>& starts,
                              const std::vector<double>& rates, const std::vector<WalkSettings>& settings,
                              int n_threads) {
  std::vector<WalkResult> results(starts.size());
  parallel_for(starts.size(), n_threads,
               [&](std::size_t i) { results[i] = walk(sites, target, starts[i], rates[i], settings[i]); });
  return results;
}

}  // namespace hpcpdf

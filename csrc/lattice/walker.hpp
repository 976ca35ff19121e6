// One replica of a walk: its structure and body, and the moves that it makes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "body.hpp"
#include "random.hpp"
#include "scoring.hpp"
#include "structure.hpp"
#include "walk.hpp"

namespace hpcpdf {

class Walker {
 public:
  Walker(const Sites& sites, const Target& target, const std::vector<std::int32_t>& start, double rate,
         const WalkSettings& settings, std::uint64_t seed, Best& best)
      : sites_(sites),
        target_(target),
        settings_(settings),
        random_(seed),
        counts_(target.n_classes + 1, 0),
        structure_(sites, start, counts_.data()),
        body_(sites, structure_),
        curve_(target, rate),
        adder_(target),
        best_(best),
        change_(target.n_classes + 1, 0),
        bare_(target.points, 0.0f),
        trial_(target.points, 0.0f) {
    list_defects();
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
      bool moved, another_body = false;
      if ((pick -= settings_.share_facets) < 0.0) {
        moved = push_facets();
        if (moved && settings_.share_atoms > 0.0 && random_.uniform() < and_atoms) moved = move_atoms();
      } else if ((pick -= settings_.share_atoms) < 0.0) {
        moved = move_atoms();
      } else if ((pick -= settings_.share_rows) < 0.0) {
        another_body = true;
        moved = move_row();
      } else {
        another_body = true;
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
      if (settings_.share_facets < shares) note_defects(another_body);
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
  }

  void remove(std::size_t site) {
    structure_.remove(site, change_.data());
    toggled_.push_back(site);
  }

  void undo() {
    for (std::size_t i = pushed_.size(); i-- > 0;) body_.set_bound(pushed_[i].first, pushed_[i].second);
    for (std::size_t i = toggled_.size(); i-- > 0;) {
      if (structure_.has(toggled_[i])) {
        structure_.remove(toggled_[i], nullptr);
      } else {
        structure_.add(toggled_[i], nullptr);
      }
    }
    if (!toggled_.empty()) std::fill(change_.begin(), change_.end(), 0);
  }

  void set_bound(std::size_t facet, int level) {
    pushed_.emplace_back(facet, body_.bound(facet));
    body_.set_bound(facet, level);
  }

  // Whether a layer of a facet has atoms within the other facets.
  bool occupied(std::size_t facet, int level) const {
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(level), count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto s = static_cast<std::size_t>(layer[i]);
      if (structure_.has(s) && body_.within(s, facet)) return true;
    }
    return false;
  }

  // A facet goes in by one layer that has atoms, or a facet that stands off comes closer. Atoms upon the layer go too
  // when it leaves them too few bonds.
  bool shrink(std::size_t facet) {
    int top = body_.bound(facet);
    while (top >= 0 && !occupied(facet, top)) --top;
    if (top < 0) return false;
    if (body_.bound(facet) > top) {
      set_bound(facet, top);
      if (random_.uniform() < 0.5) return true;
    }
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(top), count);
    std::size_t from = toggled_.size();
    for (std::size_t i = 0; i < count; ++i) {
      const auto s = static_cast<std::size_t>(layer[i]);
      if (structure_.has(s) && body_.within(s, facet)) remove(s);
    }
    set_bound(facet, top - 1);
    for (; from < toggled_.size(); ++from) {
      const std::int32_t* around = sites_.neighbours(toggled_[from]);
      for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) {
        const auto s = static_cast<std::size_t>(around[k]);
        if (s < sites_.size() && structure_.has(s) && structure_.bonds(s) < static_cast<int>(settings_.least_bonds) &&
            !body_.within(s)) {
          remove(s);
        }
      }
    }
    return structure_.size() > 0;
  }

  // A facet goes out by one layer, with or without sites within the other facets there. It may stand off by a few
  // layers: a corner grows only when all facets that meet there have made room.
  bool grow(std::size_t facet) {
    const int bound = body_.bound(facet), level = bound + 1;
    if (level >= static_cast<int>(sites_.n_levels(facet))) return false;
    bool near = false;
    for (int k = bound; k >= 0 && k > bound - stand_off && !near; --k) near = occupied(facet, k);
    if (!near) return false;
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(level), count);
    chosen_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      const auto s = static_cast<std::size_t>(layer[i]);
      if (!body_.within(s, facet)) continue;
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

  // After a move: what a row or a terrace has changed may be no defect but another body.
  void note_defects(bool another_body) {
    if (another_body) body_ = Body(sites_, structure_);
    if (another_body || defects_.size() + toggled_.size() > most_noted) {
      list_defects();
    } else {
      defects_.insert(defects_.end(), toggled_.begin(), toggled_.end());
    }
  }

  // Defects of the body: atoms beyond it, and vacancies next to its atoms.
  void list_defects() {
    defects_.clear();
    for (const std::int32_t atom : structure_.list()) {
      const auto s = static_cast<std::size_t>(atom);
      if (!body_.within(s)) defects_.push_back(s);
      const std::int32_t* around = sites_.neighbours(s);
      for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) {
        const auto t = static_cast<std::size_t>(around[k]);
        if (t < sites_.size() && !structure_.has(t) && body_.within(t)) defects_.push_back(t);
      }
    }
    std::sort(defects_.begin(), defects_.end());
    defects_.erase(std::unique(defects_.begin(), defects_.end()), defects_.end());
  }

  // A defect of the kind: an atom beyond the body, or a vacancy in it; the number of sites if none was found.
  std::size_t some_defect(bool atom) {
    for (int attempt = 0; attempt < 6 && !defects_.empty(); ++attempt) {
      const std::size_t at = random_.below(defects_.size()), s = defects_[at];
      if (structure_.has(s) == body_.within(s)) {
        // It has healed since it was noted.
        defects_[at] = defects_.back();
        defects_.pop_back();
      } else if (structure_.has(s) == atom) {
        return s;
      }
    }
    return sites_.size();
  }

  bool take() {
    std::size_t atom = random_.uniform() < heal ? some_defect(true) : sites_.size();
    if (atom == sites_.size()) atom = some_surface_atom();
    if (atom == sites_.size() || structure_.size() == 1) return false;
    remove(atom);
    return true;
  }

  bool put() {
    std::size_t vacancy = random_.uniform() < heal ? some_defect(false) : sites_.size();
    if (vacancy == sites_.size()) vacancy = some_vacancy();
    if (vacancy == sites_.size()) return false;
    add(vacancy);
    return true;
  }

  bool move_atoms() {
    const double u = random_.uniform();
    if (u < 0.25) return take();
    if (u < 0.5) return put();
    if (u < 0.85) return take() && put();
    return take() && put() && take() && put();
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
    const int top = body_.bound(facet), level = grows ? top + 1 : top;
    if (level < 0 || level >= static_cast<int>(sites_.n_levels(facet))) return false;
    std::size_t count;
    const std::int32_t* layer = sites_.layer(facet, static_cast<std::size_t>(level), count);
    chosen_.clear();
    int low = 0x7fff, high = -1;
    for (std::size_t i = 0; i < count; ++i) {
      const auto s = static_cast<std::size_t>(layer[i]);
      if (grows ? structure_.has(s) || sites_.at_edge(s) || !body_.within(s, facet) : !structure_.has(s)) continue;
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

  // Model curves are summed anew after so many accepted moves.
  static constexpr std::size_t renew_after = 256;
  // Layers by which a facet may stand off.
  static constexpr int stand_off = 3;
  // Share of the atoms taken and put that heal a defect, and of facet moves that change atoms too.
  static constexpr double heal = 0.5, and_atoms = 0.3;
  static constexpr std::size_t most_noted = 256;

  const Sites& sites_;
  const Target& target_;
  const WalkSettings settings_;
  Random random_;
  std::vector<std::int32_t> counts_;
  Structure structure_;
  Body body_;
  Curve curve_;
  Adder adder_;
  Best& best_;
  std::vector<std::int32_t> change_;
  AlignedFloats bare_, trial_;
  Score now_;
  double energy_ = 0.0;
  std::size_t accepted_ = 0;
  std::vector<std::size_t> toggled_, chosen_;
  std::vector<std::size_t> defects_;                 // sites that are, or have been, defects of the body
  std::vector<std::pair<std::size_t, int>> pushed_;  // facets moved, and where they were
};

}  // namespace hpcpdf

// Polishing on a small cubic template, against every change of one site and of two.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "lattice/polish.hpp"
#include "lattice/sites.hpp"
#include "lattice/target.hpp"
#include "small_lattice.hpp"

using namespace small_lattice;

namespace {

// Against every change of one site and of two.
void polishing_takes_the_best_change(const Sites& sites, double cost, std::size_t least_bonds) {
  const Curves curves(Cubic::box(low, high), 0.02);
  const Target target = curves.target();
  const Indices start = Cubic::box(small, small);
  hpcpdf::PolishSettings settings;
  settings.rounds = 1;
  settings.least_bonds = least_bonds;
  settings.bond_cost = cost;
  settings.usual_missing = 6.0;
  settings.keep = 2;
  const auto found = hpcpdf::polish(sites, target, start, 0.0, settings);
  check_all(found.best, curves, cost, 6.0);
  Indices changes;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const auto site = static_cast<std::int32_t>(s);
    int bonds = 0;
    for (std::size_t k = 0; k < 6; ++k) {
      bonds += std::binary_search(start.begin(), start.end(), cubic.neighbour[s * 6 + k]);
    }
    const bool inside = std::binary_search(start.begin(), start.end(), site);
    if (inside ? bonds <= 4 : bonds >= static_cast<int>(least_bonds) && !cubic.edge[s]) changes.push_back(site);
  }
  CHECK(found.steps == changes.size() * (changes.size() + 1) / 2);
  double lowest = 1e300;
  const auto toggled = [](Indices from, std::int32_t site) {
    const auto at = std::lower_bound(from.begin(), from.end(), site);
    if (at != from.end() && *at == site) {
      from.erase(at);
    } else {
      from.insert(at, site);
    }
    return from;
  };
  const auto value = [&](const Indices& sites_now) {
    const double excess = cubic.missing(sites_now) - 6.0 * std::pow(static_cast<double>(sites_now.size()), 2.0 / 3.0);
    return std::log(curves.misfit(cubic.counts(sites_now))) + cost * excess;
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const Indices one = toggled(start, changes[i]);
    lowest = std::min(lowest, value(one));
    for (std::size_t j = i + 1; j < changes.size(); ++j) lowest = std::min(lowest, value(toggled(one, changes[j])));
  }
  double here = 1e300;
  for (const Met& met : found.best) {
    if (met.sites != start) here = std::min(here, value(met.sites));
  }
  CHECK(check::near(here, lowest, 1e-6));
}

void polishing_does_not_depend_on_threads(const Sites& sites) {
  const Curves curves(Cubic::box(low, high), 0.02, 0.5);
  const Target target = curves.target(true);
  std::vector<Indices> starts;
  for (int k = 0; k < 5; ++k) {
    const int b[3] = {1 + k % 2, 1, 1 + k % 3};
    starts.push_back(Cubic::box(small, b));
  }
  const Vector rates(starts.size(), 0.5);
  hpcpdf::PolishSettings settings;
  settings.rounds = 5;
  settings.least_bonds = 1;
  const auto expected = hpcpdf::polish_all(sites, target, starts, rates, settings, 1);
  for (const int threads : {2, 3}) {
    CHECK(same(hpcpdf::polish_all(sites, target, starts, rates, settings, threads), expected));
  }
}

void misuse_is_refused(const Sites& sites) {
  const Curves curves(Cubic::box(low, high), 0.0);
  const Target target = curves.target();
  const auto out_of_range = static_cast<std::int32_t>(sites.size());
  for (const Indices& wrong : {Indices{-1}, Indices{out_of_range}, Indices{5, 5}}) {
    CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::polish(sites, target, wrong, 0.0, {}); }));
  }
}

}  // namespace

int main() {
  const Sites sites = cubic.sites();
  // With more changes than shells, and with fewer.
  polishing_takes_the_best_change(sites, 0.0, 1);
  polishing_takes_the_best_change(sites, 0.05, 1);
  polishing_takes_the_best_change(sites, 0.05, 2);
  polishing_does_not_depend_on_threads(sites);
  misuse_is_refused(sites);
  return check::failures;
}

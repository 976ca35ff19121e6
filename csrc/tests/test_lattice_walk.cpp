// Walks and random shapes on a small cubic template.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "lattice/body.hpp"
#include "lattice/shapes.hpp"
#include "lattice/sites.hpp"
#include "lattice/structure.hpp"
#include "lattice/target.hpp"
#include "lattice/walk.hpp"
#include "numbers.hpp"
#include "small_lattice.hpp"

using namespace small_lattice;

namespace {

hpcpdf::WalkSettings settings_of(std::uint64_t seed) {
  hpcpdf::WalkSettings settings;
  settings.seed = seed;
  settings.powers = {5.0, 10.0, 20.0};
  settings.rounds = 20;
  settings.steps = 40;
  settings.share_facets = settings.share_atoms = settings.share_rows = settings.share_terraces = 0.25;
  settings.least_bonds = 1;
  settings.usual_missing = 6.0;
  settings.keep = 12;
  return settings;
}

void counts_are_those_of_all_pairs(const Sites& sites) {
  Numbers number(2);
  for (int trial = 0; trial < 20; ++trial) {
    Indices occupied;
    for (std::size_t s = 0; s < sites.size(); ++s) {
      if (number() < 0.02 * (trial + 1) && !cubic.edge[s]) occupied.push_back(static_cast<std::int32_t>(s));
    }
    CHECK(hpcpdf::shell_counts(sites, occupied) == cubic.counts(occupied));
  }
  CHECK(hpcpdf::shell_counts(sites, {}) == Indices(cubic.classes.count, 0));
}

void walks_say_the_truth(const Sites& sites) {
  const Indices truth = Cubic::box(low, high), start = Cubic::box(small, small);
  for (const bool free_rate : {false, true}) {
    const Curves curves(truth, 0.01, free_rate ? 0.7 : 0.0);
    const Target target = curves.target(free_rate);
    std::vector<hpcpdf::WalkSettings> settings;
    std::vector<std::vector<Indices>> starts;
    for (std::uint64_t k = 0; k < 5; ++k) {
      settings.push_back(settings_of(k));
      settings.back().bond_cost = k == 4 ? 0.1 : 0.0;
      starts.push_back(k == 0 ? std::vector<Indices>{start, truth} : std::vector<Indices>{start});
    }
    const Vector rates(settings.size(), free_rate ? 0.5 : 0.0);
    const auto expected = hpcpdf::walks(sites, target, starts, rates, settings, 1);
    for (std::size_t k = 0; k < settings.size(); ++k) {
      check_all(expected[k].best, curves, settings[k].bond_cost, settings[k].usual_missing);
      CHECK(expected[k].steps == 3 * 20 * 40);
      CHECK(expected[k].accepted > 0);
      CHECK(expected[k].best.size() == 12);
    }
    CHECK(!same(expected[1].best, expected[2].best));
    for (const int threads : {2, 3, 16}) {
      CHECK(same(hpcpdf::walks(sites, target, starts, rates, settings, threads), expected));
    }
  }
}

// A box with an atom upon it and one missing at a corner is the box, with two defects.
void defects_are_not_of_the_body(const Sites& sites) {
  const Indices box = Cubic::box(low, high);
  const hpcpdf::Structure whole(sites, box, nullptr);
  const int corner[3] = {1, 2, 3}, upon[3] = {2, 0, 0};
  Indices rough = box;
  rough.erase(std::find(rough.begin(), rough.end(), Cubic::index(corner)));
  rough.push_back(Cubic::index(upon));
  const hpcpdf::Structure other(sites, rough, nullptr);
  const hpcpdf::Body body(sites, other), expected(sites, whole);
  for (std::size_t f = 0; f < 6; ++f) CHECK(body.bound(f) == expected.bound(f));
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const bool inside = std::binary_search(box.begin(), box.end(), static_cast<std::int32_t>(s));
    CHECK(body.within(s) == inside);
  }
  CHECK(!body.within(static_cast<std::size_t>(Cubic::index(upon))));
  CHECK(body.within(static_cast<std::size_t>(Cubic::index(upon)), 0));
}

// Facet moves leave defects where they are: a box with both kinds of defects is found from another box with them.
void a_walk_finds_a_rough_box(const Sites& sites) {
  const int corner[3] = {1, 2, 3}, upon[3] = {2, 0, 0};
  Indices truth = Cubic::box(low, high);
  truth.erase(std::find(truth.begin(), truth.end(), Cubic::index(corner)));
  truth.push_back(Cubic::index(upon));
  std::sort(truth.begin(), truth.end());
  const Curves curves(truth, 0.0);
  auto settings = settings_of(1);
  settings.rounds = 2000;
  settings.stop = 1e-9;
  const auto found = hpcpdf::walk(sites, curves.target(), {Cubic::box(small, small)}, 0.0, settings);
  CHECK(found.best.front().misfit <= 1e-9);
  CHECK(cubic.counts(found.best.front().sites) == cubic.counts(truth));
}

void a_walk_finds_a_box(const Sites& sites) {
  const Indices truth = Cubic::box(low, high), start = Cubic::box(small, small);
  const Curves curves(truth, 0.0);
  auto settings = settings_of(1);
  settings.share_atoms = settings.share_rows = settings.share_terraces = 0.0;
  settings.rounds = 1000;
  settings.stop = 1e-9;
  const auto found = hpcpdf::walk(sites, curves.target(), {start}, 0.0, settings);
  CHECK(found.best.front().misfit <= 1e-9);
  CHECK(found.steps < 1000 * 3 * 40);
  CHECK(cubic.counts(found.best.front().sites) == cubic.counts(truth));
}

void shapes_say_the_truth(const Sites& sites) {
  const Curves curves(Cubic::box(low, high), 0.01);
  const Target target = curves.target();
  hpcpdf::ShapeSettings settings;
  settings.seed = 3;
  settings.count = 300;
  settings.least_atoms = 8;
  settings.most_atoms = 80;
  settings.keep = 20;
  const double centres[6] = {0.0, 0.0, 0.0, 0.5, 0.5, 0.5};
  settings.centres = centres;
  settings.n_centres = 2;
  const auto expected = hpcpdf::shapes(sites, target, settings, 0.0, 1);
  check_all(expected, curves, 0.0, 15.0);
  for (const Met& met : expected) CHECK(met.sites.size() >= 8 && met.sites.size() <= 80);
  for (const int threads : {2, 5}) CHECK(same(hpcpdf::shapes(sites, target, settings, 0.0, threads), expected));
}

void misuse_is_refused(const Sites& sites) {
  const Curves curves(Cubic::box(low, high), 0.0);
  const Target target = curves.target();
  const auto out_of_range = static_cast<std::int32_t>(sites.size());
  for (const Indices& wrong : {Indices{-1}, Indices{out_of_range}, Indices{5, 5}}) {
    CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::walk(sites, target, {wrong}, 0.0, settings_of(1)); }));
    CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::shell_counts(sites, wrong); }));
  }
  CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::walk(sites, target, {}, 0.0, settings_of(1)); }));
  auto none = settings_of(1);
  none.powers.clear();
  CHECK(check::throws<std::invalid_argument>(
      [&] { hpcpdf::walk(sites, target, {Cubic::box(small, small)}, 0.0, none); }));
  const Vector zeros(points, 0.0);
  CHECK(check::throws<std::invalid_argument>(
      [&] { Target(zeros.data(), curves.shells.data(), nullptr, cubic.classes.count, points, 0.0); }));
  Cubic wrong;
  wrong.neighbour[7] = out_of_range + 1;
  CHECK(check::throws<std::invalid_argument>([&] { wrong.sites(); }));
  wrong = Cubic();
  wrong.classes.table.resize(20);
  CHECK(check::throws<std::invalid_argument>([&] { wrong.sites(); }));
  wrong = Cubic();
  wrong.level[3] = -1;
  CHECK(check::throws<std::invalid_argument>([&] { wrong.sites(); }));
}

void classes_of_measured_pairs() {
  std::vector<double> distance;
  const auto found = hpcpdf::classes_of_pairs(cubic.positions.data(), cubic.edge.size(), 50.0, 4.5, distance);
  CHECK(found.count == distance.size());
  CHECK(std::is_sorted(distance.begin(), distance.end()));
  std::size_t k = 0;
  for (int squared = 1; squared <= 20; ++squared) {
    // Sums of three squares.
    if (squared == 7 || squared == 15) continue;
    CHECK(k < distance.size() && check::near(distance[k], std::sqrt(static_cast<double>(squared)), 1e-9));
    CHECK(k < distance.size() && found.table[static_cast<std::size_t>(squared * 50)] == k);
    ++k;
  }
  CHECK(distance.size() == k);
}

}  // namespace

int main() {
  const Sites sites = cubic.sites();
  counts_are_those_of_all_pairs(sites);
  walks_say_the_truth(sites);
  a_walk_finds_a_box(sites);
  defects_are_not_of_the_body(sites);
  a_walk_finds_a_rough_box(sites);
  shapes_say_the_truth(sites);
  misuse_is_refused(sites);
  classes_of_measured_pairs();
  return check::failures;
}

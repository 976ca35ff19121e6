// Walks, random shapes and polishing on a small cubic template, against counts and misfits worked out from all pairs.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "lattice/body.hpp"
#include "lattice/lattice_kernels.hpp"
#include "lattice/polish.hpp"
#include "lattice/shapes.hpp"
#include "lattice/sites.hpp"
#include "lattice/structure.hpp"
#include "lattice/target.hpp"
#include "lattice/walk.hpp"
#include "numbers.hpp"

using hpcpdf::Met;
using hpcpdf::Sites;
using hpcpdf::Target;
using hpcpdf::wide;
using Vector = std::vector<double>;
using Indices = std::vector<std::int32_t>;

namespace {

constexpr int half = 4;  // sites from -half to half on each axis; the outermost layer stays empty
constexpr int side = 2 * half + 1;
constexpr std::size_t points = 5 * wide + 3;

// A simple cubic template, bounded by cubes: squares of distances are whole numbers.
struct Cubic {
  std::vector<double> positions, height, normal;
  Indices neighbour, level, kind;
  std::vector<unsigned char> edge;
  hpcpdf::PairClasses classes;

  Cubic() {
    const std::size_t n = static_cast<std::size_t>(side) * side * side;
    for (std::size_t s = 0; s < n; ++s) {
      int at[3];
      place(s, at);
      for (const int c : at) positions.push_back(c);
      edge.push_back(std::max({std::abs(at[0]), std::abs(at[1]), std::abs(at[2])}) == half);
      for (int axis = 0; axis < 3; ++axis) {
        for (const int step : {-1, 1}) {
          int other[3] = {at[0], at[1], at[2]};
          other[axis] += step;
          neighbour.push_back(std::abs(other[axis]) > half ? static_cast<std::int32_t>(n) : index(other));
        }
      }
    }
    for (int f = 0; f < 6; ++f) {
      const double sign = f % 2 == 0 ? 1.0 : -1.0;
      for (int axis = 0; axis < 3; ++axis) normal.push_back(axis == f / 2 ? sign : 0.0);
      for (std::size_t s = 0; s < n; ++s) {
        const double h = sign * positions[3 * s + static_cast<std::size_t>(f / 2)];
        height.push_back(h);
        level.push_back(static_cast<std::int32_t>(h) + half);
      }
      kind.push_back(0);
    }
    classes.scale = 1.0f;
    classes.table.assign(static_cast<std::size_t>(4 * 3 * half * half + 8), hpcpdf::PairClasses::nothing);
    // Longer pairs than these have no class.
    for (std::size_t squared = 1; squared <= 60; ++squared) {
      classes.table[squared] = static_cast<std::uint16_t>(classes.count++);
    }
  }

  static std::int32_t index(const int at[3]) { return ((at[0] + half) * side + at[1] + half) * side + at[2] + half; }

  static void place(std::size_t s, int at[3]) {
    const int i = static_cast<int>(s);
    at[0] = i / (side * side) - half;
    at[1] = i / side % side - half;
    at[2] = i % side - half;
  }

  Sites sites() const {
    hpcpdf::SitesData data{};
    data.positions = positions.data();
    data.neighbour = neighbour.data();
    data.level = level.data();
    data.height = height.data();
    data.normal = normal.data();
    data.kind = kind.data();
    data.edge = edge.data();
    data.n = edge.size();
    data.n_neighbours = 6;
    data.n_facets = 6;
    return Sites(data, classes);
  }

  // Sites of the box from -a to b on each axis.
  static Indices box(const int a[3], const int b[3]) {
    Indices found;
    for (int x = -a[0]; x <= b[0]; ++x) {
      for (int y = -a[1]; y <= b[1]; ++y) {
        for (int z = -a[2]; z <= b[2]; ++z) {
          const int at[3] = {x, y, z};
          found.push_back(index(at));
        }
      }
    }
    return found;
  }

  Indices counts(const Indices& occupied) const {
    Indices found(classes.count, 0);
    for (std::size_t i = 0; i < occupied.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        double squared = 0.0;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          const double d = positions[3 * static_cast<std::size_t>(occupied[i]) + axis] -
                           positions[3 * static_cast<std::size_t>(occupied[j]) + axis];
          squared += d * d;
        }
        const std::uint16_t c = classes.table[static_cast<std::size_t>(squared + 0.5)];
        if (c != hpcpdf::PairClasses::nothing) ++found[c];
      }
    }
    return found;
  }

  double missing(const Indices& occupied) const {
    double found = 0.0;
    for (const std::int32_t s : occupied) {
      for (std::size_t k = 0; k < 6; ++k) {
        found += !std::binary_search(occupied.begin(), occupied.end(), neighbour[static_cast<std::size_t>(s) * 6 + k]);
      }
    }
    return found;
  }
};

const Cubic cubic;

// Peaks of a width of their own for every shell, on a line of points; rho grows along it.
struct Curves {
  Vector shells, data, rho;

  explicit Curves(const Indices& truth, double noise, double rate = 0.0) {
    Numbers number(5);
    shells.resize(cubic.classes.count * points);
    rho.resize(points);
    for (std::size_t p = 0; p < points; ++p) rho[p] = static_cast<double>(p * p) / static_cast<double>(points * points);
    for (std::size_t c = 0; c < cubic.classes.count; ++c) {
      const double at = 10.0 * std::sqrt(static_cast<double>(c + 1));
      for (std::size_t p = 0; p < points; ++p) {
        const double off = static_cast<double>(p) - at;
        shells[c * points + p] = std::exp(-0.1 * off * off) + 0.02 * number(-1.0, 1.0);
      }
    }
    data = sum(cubic.counts(truth), rate);
    double largest = 0.0;
    for (const double g : data) largest = std::max(largest, std::fabs(g));
    for (double& g : data) g += noise * largest * number(-1.0, 1.0);
  }

  Vector sum(const Indices& counts, double rate) const {
    Vector g(points, 0.0);
    for (std::size_t c = 0; c < counts.size(); ++c) {
      for (std::size_t p = 0; p < points; ++p) g[p] += counts[c] * shells[c * points + p];
    }
    for (std::size_t p = 0; p < points; ++p) g[p] *= std::exp(-rate * rho[p]);
    return g;
  }

  double misfit(const Indices& counts, double rate = 0.0) const {
    const Vector g = sum(counts, rate);
    double along = 0.0, squared = 0.0, size = 0.0;
    for (std::size_t p = 0; p < points; ++p) {
      along += g[p] * data[p];
      squared += g[p] * g[p];
      size += data[p] * data[p];
    }
    return along > 0.0 ? 1.0 - along * along / (squared * size) : 1.0;
  }

  Target target(bool free_rate = false) const {
    return Target(data.data(), shells.data(), free_rate ? rho.data() : nullptr, cubic.classes.count, points, 3.0);
  }
};

const int small[3] = {1, 1, 1}, low[3] = {2, 1, 1}, high[3] = {1, 2, 3};

bool same(const std::vector<Met>& a, const std::vector<Met>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].misfit != b[i].misfit || a[i].rate != b[i].rate || a[i].energy != b[i].energy || a[i].key != b[i].key ||
        a[i].missing != b[i].missing || a[i].sites != b[i].sites) {
      return false;
    }
  }
  return true;
}

bool same(const std::vector<hpcpdf::WalkResult>& a, const std::vector<hpcpdf::WalkResult>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i].best, b[i].best) || a[i].steps != b[i].steps || a[i].accepted != b[i].accepted) return false;
  }
  return a.size() == b.size();
}

// What is said of structures is true of them.
void check_all(const std::vector<Met>& best, const Curves& curves, double cost, double usual) {
  CHECK(!best.empty());
  double before = -1e300;
  for (const Met& met : best) {
    CHECK(std::is_sorted(met.sites.begin(), met.sites.end()));
    CHECK(std::adjacent_find(met.sites.begin(), met.sites.end()) == met.sites.end());
    for (const std::int32_t s : met.sites) CHECK(!cubic.edge[static_cast<std::size_t>(s)]);
    const double expected = curves.misfit(cubic.counts(met.sites), met.rate);
    CHECK(check::near(met.misfit, expected, 1e-4 * expected + 1e-7));
    CHECK(met.missing == cubic.missing(met.sites));
    const double excess = met.missing - usual * std::pow(static_cast<double>(met.sites.size()), 2.0 / 3.0);
    CHECK(check::near(met.energy, cost * excess, 1e-9 * (1.0 + std::fabs(met.energy))));
    const double value = std::log(met.misfit) + met.energy;
    CHECK(value >= before);
    before = value;
  }
}

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
    CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::walk(sites, target, {wrong}, 0.0, settings_of(1)); }));
    CHECK(check::throws<std::invalid_argument>([&] { hpcpdf::polish(sites, target, wrong, 0.0, {}); }));
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
  // With more changes than shells, and with fewer.
  polishing_takes_the_best_change(sites, 0.0, 1);
  polishing_takes_the_best_change(sites, 0.05, 1);
  polishing_takes_the_best_change(sites, 0.05, 2);
  polishing_does_not_depend_on_threads(sites);
  misuse_is_refused(sites);
  classes_of_measured_pairs();
  return check::failures;
}

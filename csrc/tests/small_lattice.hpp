// A small cubic template with curves of its shells, and what is said of structures on it worked out from all pairs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "check.hpp"
#include "lattice/lattice_kernels.hpp"
#include "lattice/sites.hpp"
#include "lattice/target.hpp"
#include "lattice/walk.hpp"
#include "numbers.hpp"

using hpcpdf::Met;
using hpcpdf::Sites;
using hpcpdf::Target;
using hpcpdf::wide;
using Vector = std::vector<double>;
using Indices = std::vector<std::int32_t>;

namespace small_lattice {

inline constexpr int half = 4;  // sites from -half to half on each axis; the outermost layer stays empty
inline constexpr int side = 2 * half + 1;
inline constexpr std::size_t points = 5 * wide + 3;

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

inline const Cubic cubic;

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

inline constexpr int small[3] = {1, 1, 1}, low[3] = {2, 1, 1}, high[3] = {1, 2, 3};

inline bool same(const std::vector<Met>& a, const std::vector<Met>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].misfit != b[i].misfit || a[i].rate != b[i].rate || a[i].energy != b[i].energy || a[i].key != b[i].key ||
        a[i].missing != b[i].missing || a[i].sites != b[i].sites) {
      return false;
    }
  }
  return true;
}

inline bool same(const std::vector<hpcpdf::WalkResult>& a, const std::vector<hpcpdf::WalkResult>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i].best, b[i].best) || a[i].steps != b[i].steps || a[i].accepted != b[i].accepted) return false;
  }
  return a.size() == b.size();
}

// What is said of structures is true of them.
inline void check_all(const std::vector<Met>& best, const Curves& curves, double cost, double usual) {
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

}  // namespace small_lattice

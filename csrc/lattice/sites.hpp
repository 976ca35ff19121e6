// A template: the sites that the atoms of a family may take, their neighbours, facets and classes of distances.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hpcpdf {

// Classes of pairs of sites by the square of their distance: class of round(scale * d^2), `nothing` where no pair lies.
struct PairClasses {
  static constexpr std::uint16_t nothing = 0xffff;

  float scale = 1.0f;
  std::vector<std::uint16_t> table;
  std::size_t count = 0;
};

// What describes a template, n sites and n_facets facets. Lengths in bonds.
struct SitesData {
  const double* positions;        // (n, 3): what decides classes of pairs
  const std::int32_t* neighbour;  // (n, n_neighbours), padded with n
  const std::int32_t* level;      // (n_facets, n): which layer of a facet a site lies in, from 0 inside outwards
  const double* height;           // (n_facets, n): how far out along the facet's normal the site lies
  const double* normal;           // (n_facets, 3)
  const std::int32_t* kind;       // (n_facets,): facets that symmetry makes alike
  const unsigned char* edge;      // (n,): sites at the template's own end, which stay empty
  std::size_t n = 0, n_neighbours = 0, n_facets = 0;
};

class Sites {
 public:
  // Throws std::invalid_argument for indices out of range and pairs without a class.
  Sites(const SitesData& data, PairClasses classes);

  std::size_t size() const { return n_; }
  std::size_t n_facets() const { return n_facets_; }
  std::size_t n_kinds() const { return n_kinds_; }
  std::size_t n_neighbours() const { return n_neighbours_; }
  const PairClasses& classes() const { return classes_; }

  const float* x() const { return x_.data(); }
  const float* y() const { return y_.data(); }
  const float* z() const { return z_.data(); }
  const std::int32_t* neighbours(std::size_t site) const { return &neighbour_[site * n_neighbours_]; }
  // Whether pairs of a class are neighbours.
  bool bonded(std::size_t c) const { return bonded_[c] != 0; }
  bool at_edge(std::size_t site) const { return edge_[site] != 0; }

  // Layer of each facet that a site lies in, n_facets values.
  const std::int16_t* levels(std::size_t site) const { return &level_[site * n_facets_]; }
  std::size_t n_levels(std::size_t facet) const { return begin_[facet].size() - 1; }
  // Sites of one layer of a facet.
  const std::int32_t* layer(std::size_t facet, std::size_t level, std::size_t& count) const {
    count = begin_[facet][level + 1] - begin_[facet][level];
    return &by_level_[facet][begin_[facet][level]];
  }
  float height(std::size_t facet, std::size_t site) const { return height_[site * n_facets_ + facet]; }
  const double* normal(std::size_t facet) const { return &normal_[3 * facet]; }
  std::size_t kind(std::size_t facet) const { return static_cast<std::size_t>(kind_[facet]); }

 private:
  std::size_t n_, n_neighbours_, n_facets_, n_kinds_ = 0;
  PairClasses classes_;
  std::vector<float> x_, y_, z_, height_;
  std::vector<std::int32_t> neighbour_, kind_;
  std::vector<std::int16_t> level_;
  std::vector<unsigned char> edge_, bonded_;
  std::vector<double> normal_;
  std::vector<std::vector<std::int32_t>> by_level_;
  std::vector<std::vector<std::size_t>> begin_;
};

// Classes of the pairs of n sites (positions (n, 3), bonds) up to `reach`, by cells of width 1 / scale in d^2.
// Distances of the classes (root of the mean square over their pairs) are returned in `distance`.
PairClasses classes_of_pairs(const double* positions, std::size_t n, double scale, double reach,
                             std::vector<double>& distance);

}  // namespace hpcpdf

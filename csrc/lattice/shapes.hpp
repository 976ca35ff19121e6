// Random bodies bounded by facets: what a search begins with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sites.hpp"
#include "target.hpp"

namespace hpcpdf {

struct ShapeSettings {
  std::uint64_t seed = 0;
  std::size_t count = 0;  // shapes to draw
  std::size_t least_atoms = 4, most_atoms = 200;
  double spread = 0.35;             // standard deviation of the logarithm of a facet's distance, at most
  double off_centre = 0.7;          // how far from a site the body's centre may lie, bonds
  const double* centres = nullptr;  // (n_centres, 3) symmetric centres, bonds
  std::size_t n_centres = 0;
  double symmetric = 0.35;  // share of shapes whose facets of a kind lie equally far out around a symmetric centre
  std::size_t keep = 50;
  double bond_cost = 0.0, usual_missing = 15;
};

// The best of many random facet shapes.
std::vector<Met> shapes(const Sites& sites, const Target& target, const ShapeSettings& settings, double rate,
                        int n_threads);

}  // namespace hpcpdf

// Descent by the best of all changes of one or two atoms, and on from local minima by tabu search.
//
// With E_t the change of the PDF when site t is occupied or vacated, a change of two sites is E_t + E_u -+ phi(d_tu):
// the scores of all pairs follow from scalar products, some additions each, where a walk would compute each PDF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sites.hpp"
#include "walk.hpp"

namespace hpcpdf {

struct PolishSettings {
  std::size_t rounds = 20;         // changes made at most
  std::size_t tenure = 6;          // rounds for which a changed site is left alone
  std::size_t patience = 6;        // rounds without a new best before it ends
  std::size_t most_changes = 600;  // sites considered in a round at most: those of fewest bonds to break first
  double bond_cost = 0.0;          // as in WalkSettings
  double usual_missing = 15.0;
  double stop = 0.0;
  std::size_t least_atoms = 4, least_bonds = 3;
  std::size_t keep = 4;  // best structures to return
};

WalkResult polish(const Sites& sites, const Target& target, const std::vector<std::int32_t>& start, double rate,
                  const PolishSettings& settings);

// Many, over threads; the result does not depend on their number.
std::vector<WalkResult> polish_all(const Sites& sites, const Target& target,
                                   const std::vector<std::vector<std::int32_t>>& starts,
                                   const std::vector<double>& rates, const PolishSettings& settings, int n_threads);

}  // namespace hpcpdf

// Search among the structures of a template: shell counts change with every move, and with them the PDF.
//
// On a template the pairs of atoms have few distances d_c. With m_c pairs at d_c, G(r) = s sum over c of m_c phi_c(r):
// a structure is scored by its counts alone, with the scale in closed form, and a move costs what the changed atoms'
// distances to the others cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sites.hpp"
#include "target.hpp"

namespace hpcpdf {

struct WalkSettings {
  std::uint64_t seed = 0;
  // A move is accepted with (misfit_old / misfit_new)^power. One replica walks at each power, ascending; now and then
  // neighbours change places (parallel tempering, Swendsen & Wang 1986).
  std::vector<double> powers;
  std::size_t rounds = 1, steps = 100;  // rounds of so many steps of each replica, with exchanges between them
  double share_facets = 1.0, share_atoms = 0.0, share_rows = 0.0, share_terraces = 0.0;
  double bond_cost = 0.0;       // in log misfit, per bond that misses more than is usual for the size
  double usual_missing = 15.0;  // missing bonds of a compact particle, per n_atoms^(2/3)
  double stop = 0.0;            // ends when the misfit falls to this
  std::size_t least_atoms = 4, most_atoms = 1000000;
  std::size_t least_bonds = 3;  // of an atom that is added
  std::size_t keep = 8;         // best structures to return
};

struct WalkResult {
  std::vector<Met> best;      // distinct shell counts, best first
  std::size_t steps = 0;      // of all replicas
  std::size_t accepted = 0;   // moves
  std::size_t exchanged = 0;  // replicas
};

// One walk, replica k from starts[k % number of starts].
WalkResult walk(const Sites& sites, const Target& target, const std::vector<std::vector<std::int32_t>>& starts,
                double rate, const WalkSettings& settings);

// Many, over threads; the result does not depend on their number.
std::vector<WalkResult> walks(const Sites& sites, const Target& target,
                              const std::vector<std::vector<std::vector<std::int32_t>>>& starts,
                              const std::vector<double>& rates, const std::vector<WalkSettings>& settings,
                              int n_threads);

}  // namespace hpcpdf

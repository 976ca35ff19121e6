// Search among the structures of a template: shell counts change with every move, and with them the PDF.
//
// On a template the pairs of atoms have few distances d_c. With m_c pairs at d_c, G(r) = s sum over c of m_c phi_c(r):
// a structure is scored by its counts alone, with the scale in closed form, and a move costs what the changed atoms'
// distances to the others cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hpcpdf/aligned.hpp"
#include "lattice_kernels.hpp"
#include "sites.hpp"

namespace hpcpdf {

// Data and shells, both weighted, on the points compared.
struct Target {
  // data: (points,), shells: (n_classes, points), rho: (points,) what the logarithm of the envelope grows with, or null
  // when the envelope is known and part of the shells; rate_max bounds its rate.
  Target(const double* data, const double* shells, const double* rho, std::size_t n_classes, std::size_t points,
         double rate_max);

  std::size_t points;  // padded
  std::size_t n_classes;
  AlignedFloats data, shells, rho;
  double size2;    // sum of data^2
  bool free_rate;  // envelope exp(-rate rho) with a rate of the walk's own
  double rate_max;
};

struct Score {
  double misfit = 1.0;  // what is left over, as a share of sum data^2: the square of a weighted R_w
  double rate = 0.0;
};

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

// A structure that a walk met.
struct Met {
  double misfit = 1.0, rate = 0.0, energy = 0.0;
  double missing = 0.0;             // bonds that the atoms miss
  std::uint64_t key = 0;            // of its shell counts
  std::vector<std::int32_t> sites;  // ascending
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

// Shell counts (n_classes) of occupied sites.
std::vector<std::int32_t> shell_counts(const Sites& sites, const std::vector<std::int32_t>& occupied);

// Score of shell counts.
Score score(const Target& target, const std::int32_t* counts, double rate);

}  // namespace hpcpdf

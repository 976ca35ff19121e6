// What structures are compared with, and how well one does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hpcpdf/aligned.hpp"
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

// Shell counts (n_classes) of occupied sites.
std::vector<std::int32_t> shell_counts(const Sites& sites, const std::vector<std::int32_t>& occupied);

// Score of shell counts.
Score score(const Target& target, const std::int32_t* counts, double rate);

// A structure that a search met.
struct Met {
  double misfit = 1.0, rate = 0.0, energy = 0.0;
  double missing = 0.0;             // bonds that the atoms miss
  std::uint64_t key = 0;            // of its shell counts
  std::vector<std::int32_t> sites;  // ascending
};

}  // namespace hpcpdf

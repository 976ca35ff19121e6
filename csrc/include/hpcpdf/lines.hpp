// A structure as a list of lines: distances, how often each occurs, and the mean-square displacement of its pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hpcpdf {

// Pairs at or below this distance (Angstrom) count as one atom met twice and are left out.
constexpr double coincident = 1.4901161193847656e-08;

struct Lines {
  std::vector<double> distance;  // Angstrom
  std::vector<double> count;     // number of pairs i < j
  std::vector<double> msd;       // u_i + u_j, Angstrom^2

  std::size_t size() const { return distance.size(); }
};

// Collects pair distances and merges those that are equal within 1e-12 (relative) and have the same msd.
// A merged line lies at the mean of its members, so that the merge is exact to second order in their spread.
//
// Disordered clusters have nothing to merge: when a trial shows that it does not pay, the rest is only listed.
class LineBuilder {
 public:
  LineBuilder();

  void add(double distance, double msd);
  Lines finish();

 private:
  bool merge(double distance, double msd);
  std::size_t find(std::uint64_t key, double distance, double msd) const;
  void insert(std::uint64_t key, std::size_t line);
  void grow();

  Lines lines_;
  std::vector<double> offset_;        // sum over members of (distance - first distance), while merging
  std::vector<std::uint32_t> table_;  // open addressing: line index + 1, 0 = free
  std::size_t added_ = 0;
  bool merging_ = true;
};

// All pairs i < j of n atoms (positions n x 3, Angstrom) with d_min <= d <= d_max. `u` may be null (zero).
Lines pair_lines(const double* positions, const double* u, std::size_t n, double d_min, double d_max);

}  // namespace hpcpdf

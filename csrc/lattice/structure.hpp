// The occupied sites of a template, with all that a move needs to know about them kept up to date.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hpcpdf/aligned.hpp"
#include "lattice_kernels.hpp"
#include "sites.hpp"

namespace hpcpdf {

class Structure {
 public:
  explicit Structure(const Sites& sites);
  // With these sites occupied, and their shell counts added to `counts` unless that is null; throws
  // std::invalid_argument if they are not distinct sites of the template.
  Structure(const Sites& sites, const std::vector<std::int32_t>& occupied, std::int32_t* counts);

  std::size_t size() const { return list_.size(); }
  const std::vector<std::int32_t>& list() const { return list_; }
  bool has(std::size_t site) const { return place_[site] >= 0; }
  // Occupied neighbours of any site.
  int bonds(std::size_t site) const { return bonds_[site]; }
  // Bonds that the atoms miss.
  double missing() const {
    return static_cast<double>(sites_.n_neighbours() * size()) - static_cast<double>(twice_bonds_);
  }

  // Adds sign times the pairs of a site with all atoms to the shell counts.
  void count(std::size_t site, std::int32_t sign, std::int32_t* counts) const;
  // Occupies or vacates a site, and adds the change of the shell counts to `counts` unless that is null.
  void add(std::size_t site, std::int32_t* counts);
  void remove(std::size_t site, std::int32_t* counts);

 private:
  const Sites& sites_;
  const LatticeKernels& loops_;
  std::vector<std::int32_t> list_, place_;
  AlignedFloats x_, y_, z_;
  std::vector<std::int16_t> bonds_;
  std::int64_t twice_bonds_ = 0;
};

}  // namespace hpcpdf

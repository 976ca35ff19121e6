// The body of facets that a structure is, or nearly is: the outermost layer of each facet. Atoms beyond a facet and
// vacant sites within all of them are its defects; they stay where they are when a facet moves.
#pragma once

#include <cstddef>
#include <vector>

#include "sites.hpp"
#include "structure.hpp"

namespace hpcpdf {

class Body {
 public:
  // Layers of a structure that hold less than half of the sites which the other facets leave them are not of its body.
  Body(const Sites& sites, const Structure& structure);

  int bound(std::size_t facet) const { return bound_[facet]; }
  void set_bound(std::size_t facet, int level) { bound_[facet] = level; }
  // Whether a site lies within all facets but, perhaps, one.
  bool within(std::size_t site, std::size_t except) const {
    const std::int16_t* levels = sites_->levels(site);
    for (std::size_t f = 0; f < bound_.size(); ++f) {
      if (f != except && levels[f] > bound_[f]) return false;
    }
    return true;
  }
  bool within(std::size_t site) const { return within(site, bound_.size()); }

 private:
  const Sites* sites_;
  std::vector<int> bound_;
};

}  // namespace hpcpdf

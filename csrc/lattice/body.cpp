#include "body.hpp"

#include <algorithm>
#include <cstdint>

namespace hpcpdf {

Body::Body(const Sites& sites, const Structure& structure) : sites_(&sites), bound_(sites.n_facets(), -1) {
  for (const std::int32_t s : structure.list()) {
    const std::int16_t* levels = sites.levels(static_cast<std::size_t>(s));
    for (std::size_t f = 0; f < bound_.size(); ++f) bound_[f] = std::max<int>(bound_[f], levels[f]);
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t f = 0; f < bound_.size(); ++f) {
      if (bound_[f] <= 0) continue;
      std::size_t count, room = 0, taken = 0;
      const std::int32_t* layer = sites.layer(f, static_cast<std::size_t>(bound_[f]), count);
      for (std::size_t i = 0; i < count; ++i) {
        const auto s = static_cast<std::size_t>(layer[i]);
        if (!within(s, f)) continue;
        ++room;
        taken += structure.has(s);
      }
      if (2 * taken >= room) continue;
      --bound_[f];
      changed = true;
    }
  }
}

}  // namespace hpcpdf

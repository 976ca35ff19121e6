#include "structure.hpp"

#include <algorithm>

namespace hpcpdf {

Structure::Structure(const Sites& sites)
    : sites_(sites),
      loops_(lattice_kernels()),
      place_(sites.size() + 1, -1),
      x_(wide, 0.0f),
      y_(wide, 0.0f),
      z_(wide, 0.0f),
      bonds_(sites.size() + 1, 0),
      filled_(sites.n_facets()),
      top_(sites.n_facets(), -1) {
  for (std::size_t f = 0; f < sites.n_facets(); ++f) filled_[f].assign(sites.n_levels(f), 0);
}

void Structure::count(std::size_t site, std::int32_t sign, std::int32_t* counts) const {
  const float at[3] = {sites_.x()[site], sites_.y()[site], sites_.z()[site]};
  loops_.count_pairs(x_.data(), y_.data(), z_.data(), list_.size(), at, sites_.classes().scale,
                     sites_.classes().table.data(), sign, counts);
}

void Structure::add(std::size_t site, std::int32_t* counts) {
  if (counts) count(site, 1, counts);
  const std::size_t n = list_.size();
  place_[site] = static_cast<std::int32_t>(n);
  list_.push_back(static_cast<std::int32_t>(site));
  if (x_.size() < n + 1 + wide) {
    for (auto* axis : {&x_, &y_, &z_}) axis->resize(2 * (n + wide), 0.0f);
  }
  x_[n] = sites_.x()[site];
  y_[n] = sites_.y()[site];
  z_[n] = sites_.z()[site];
  const std::int32_t* neighbours = sites_.neighbours(site);
  for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) ++bonds_[static_cast<std::size_t>(neighbours[k])];
  twice_bonds_ += 2 * bonds_[site];
  const std::int16_t* levels = sites_.levels(site);
  for (std::size_t f = 0; f < filled_.size(); ++f) {
    ++filled_[f][static_cast<std::size_t>(levels[f])];
    top_[f] = std::max<int>(top_[f], levels[f]);
  }
}

void Structure::remove(std::size_t site, std::int32_t* counts) {
  const auto hole = static_cast<std::size_t>(place_[site]);
  const std::size_t last = list_.size() - 1;
  const std::int32_t moved = list_[last];
  list_[hole] = moved;
  x_[hole] = x_[last];
  y_[hole] = y_[last];
  z_[hole] = z_[last];
  place_[static_cast<std::size_t>(moved)] = static_cast<std::int32_t>(hole);
  place_[site] = -1;
  list_.pop_back();
  if (counts) count(site, -1, counts);
  twice_bonds_ -= 2 * bonds_[site];
  const std::int32_t* neighbours = sites_.neighbours(site);
  for (std::size_t k = 0; k < sites_.n_neighbours(); ++k) --bonds_[static_cast<std::size_t>(neighbours[k])];
  const std::int16_t* levels = sites_.levels(site);
  for (std::size_t f = 0; f < filled_.size(); ++f) {
    --filled_[f][static_cast<std::size_t>(levels[f])];
    while (top_[f] >= 0 && filled_[f][static_cast<std::size_t>(top_[f])] == 0) --top_[f];
  }
}

}  // namespace hpcpdf

#include "structure.hpp"

#include <stdexcept>

namespace hpcpdf {

Structure::Structure(const Sites& sites)
    : sites_(sites),
      loops_(lattice_kernels()),
      place_(sites.size() + 1, -1),
      x_(wide, 0.0f),
      y_(wide, 0.0f),
      z_(wide, 0.0f),
      bonds_(sites.size() + 1, 0) {}

Structure::Structure(const Sites& sites, const std::vector<std::int32_t>& occupied, std::int32_t* counts)
    : Structure(sites) {
  for (const std::int32_t s : occupied) {
    if (s < 0 || static_cast<std::size_t>(s) >= sites.size() || has(static_cast<std::size_t>(s))) {
      throw std::invalid_argument("expected distinct indices of sites");
    }
    add(static_cast<std::size_t>(s), counts);
  }
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
}

}  // namespace hpcpdf

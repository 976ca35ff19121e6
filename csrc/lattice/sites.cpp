#include "sites.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "lattice_kernels.hpp"

namespace hpcpdf {

Sites::Sites(const SitesData& data, PairClasses classes)
    : n_(data.n), n_neighbours_(data.n_neighbours), n_facets_(data.n_facets), classes_(std::move(classes)) {
  const auto limit = static_cast<std::int32_t>(n_);
  for (auto* axis : {&x_, &y_, &z_}) axis->assign(n_ + wide, 0.0f);
  double longest = 0.0;
  for (std::size_t s = 0; s < n_; ++s) {
    const double* p = data.positions + 3 * s;
    x_[s] = static_cast<float>(p[0]);
    y_[s] = static_cast<float>(p[1]);
    z_[s] = static_cast<float>(p[2]);
    longest = std::max(longest, p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);
  }
  if (static_cast<double>(classes_.table.size()) < 4.0 * longest * static_cast<double>(classes_.scale) + 2.0) {
    throw std::invalid_argument("classes: the table ends before the longest pair");
  }
  neighbour_.assign(data.neighbour, data.neighbour + n_ * n_neighbours_);
  for (auto& cell : classes_.table) {
    // Pairs without a class are counted where nobody reads.
    if (cell == PairClasses::nothing) cell = static_cast<std::uint16_t>(classes_.count);
    if (cell > classes_.count) throw std::invalid_argument("classes: expected indices of classes");
  }
  for (const std::int32_t s : neighbour_) {
    if (s < 0 || s > limit) throw std::invalid_argument("neighbour: expected indices of sites");
  }
  bonded_.assign(classes_.count + 1, 0);
  for (std::size_t s = 0; s < n_; ++s) {
    for (std::size_t k = 0; k < n_neighbours_; ++k) {
      const auto t = static_cast<std::size_t>(neighbours(s)[k]);
      if (t >= n_) continue;
      const float dx = x_[s] - x_[t], dy = y_[s] - y_[t], dz = z_[s] - z_[t];
      bonded_[classes_.table[static_cast<std::size_t>((dx * dx + dy * dy + dz * dz) * classes_.scale + 0.5f)]] = 1;
    }
  }
  edge_.assign(data.edge, data.edge + n_);
  normal_.assign(data.normal, data.normal + 3 * n_facets_);
  kind_.assign(data.kind, data.kind + n_facets_);
  for (const std::int32_t k : kind_) {
    if (k < 0) throw std::invalid_argument("kind: expected numbers from 0");
    n_kinds_ = std::max(n_kinds_, static_cast<std::size_t>(k) + 1);
  }
  level_.resize(n_ * n_facets_);
  height_.resize(n_ * n_facets_);
  by_level_.resize(n_facets_);
  begin_.resize(n_facets_);
  for (std::size_t f = 0; f < n_facets_; ++f) {
    const std::int32_t* level = data.level + f * n_;
    const std::int32_t top = n_ == 0 ? 0 : *std::max_element(level, level + n_);
    if (n_ > 0 && (*std::min_element(level, level + n_) < 0 || top > std::numeric_limits<std::int16_t>::max())) {
      throw std::invalid_argument("level: expected values from 0 to 32767");
    }
    begin_[f].assign(static_cast<std::size_t>(top) + 2, 0);
    for (std::size_t s = 0; s < n_; ++s) {
      level_[s * n_facets_ + f] = static_cast<std::int16_t>(level[s]);
      height_[s * n_facets_ + f] = static_cast<float>(data.height[f * n_ + s]);
      ++begin_[f][static_cast<std::size_t>(level[s]) + 1];
    }
    std::partial_sum(begin_[f].begin(), begin_[f].end(), begin_[f].begin());
    by_level_[f].resize(n_);
    auto next = begin_[f];
    for (std::size_t s = 0; s < n_; ++s) {
      by_level_[f][next[static_cast<std::size_t>(level[s])]++] = static_cast<std::int32_t>(s);
    }
  }
}

PairClasses classes_of_pairs(const double* positions, std::size_t n, double scale, double reach,
                             std::vector<double>& distance) {
  double longest = 0.0;
  for (std::size_t s = 0; s < n; ++s) {
    const double* p = positions + 3 * s;
    longest = std::max(longest, p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);
  }
  PairClasses classes;
  classes.scale = static_cast<float>(scale);
  const auto cells = static_cast<std::size_t>(4.0 * longest * scale) + 4;
  classes.table.assign(cells, PairClasses::nothing);
  const auto last = static_cast<std::size_t>(std::max(reach * reach * scale, 0.0));
  const std::size_t used = std::min(cells, last + 1);
  std::vector<float> x(n), y(n), z(n), squared(n);
  for (std::size_t s = 0; s < n; ++s) {
    x[s] = static_cast<float>(positions[3 * s]);
    y[s] = static_cast<float>(positions[3 * s + 1]);
    z[s] = static_cast<float>(positions[3 * s + 2]);
  }
  std::vector<double> sum(used, 0.0), number(used, 0.0);
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = a + 1; b < n; ++b) {
      const float dx = x[b] - x[a], dy = y[b] - y[a], dz = z[b] - z[a];
      // As the loops do it, so that no pair falls into another cell there.
      squared[b] = dx * dx + dy * dy + dz * dz;
    }
    for (std::size_t b = a + 1; b < n; ++b) {
      const auto cell = static_cast<std::size_t>(squared[b] * classes.scale + 0.5f);
      if (cell >= used) continue;
      sum[cell] += static_cast<double>(squared[b]);
      number[cell] += 1.0;
    }
  }
  distance.clear();
  for (std::size_t cell = 0; cell < used; ++cell) {
    if (number[cell] == 0.0) continue;
    if (distance.size() >= PairClasses::nothing) throw std::invalid_argument("too many classes of distances");
    classes.table[cell] = static_cast<std::uint16_t>(distance.size());
    distance.push_back(std::sqrt(sum[cell] / number[cell]));
  }
  classes.count = distance.size();
  return classes;
}

}  // namespace hpcpdf

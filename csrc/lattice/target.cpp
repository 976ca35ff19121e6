#include "target.hpp"

#include <cmath>
#include <stdexcept>

#include "scoring.hpp"
#include "structure.hpp"

namespace hpcpdf {

Target::Target(const double* data_in, const double* shells_in, const double* rho_in, std::size_t classes,
               std::size_t n_points, double largest_rate)
    : points(padded(n_points)),
      n_classes(classes),
      data(points, 0.0f),
      shells(points * n_classes, 0.0f),
      rho(points, 0.0f),
      size2(0.0),
      free_rate(rho_in != nullptr),
      rate_max(largest_rate) {
  for (std::size_t p = 0; p < n_points; ++p) {
    data[p] = static_cast<float>(data_in[p]);
    size2 += static_cast<double>(data[p]) * static_cast<double>(data[p]);
    if (rho_in) rho[p] = static_cast<float>(rho_in[p]);
  }
  if (!(size2 > 0.0)) throw std::invalid_argument("data: expected values other than zero");
  for (std::size_t c = 0; c < n_classes; ++c) {
    for (std::size_t p = 0; p < n_points; ++p) {
      shells[c * points + p] = static_cast<float>(shells_in[c * n_points + p]);
    }
  }
}

std::vector<std::int32_t> shell_counts(const Sites& sites, const std::vector<std::int32_t>& occupied) {
  std::vector<std::int32_t> counts(sites.classes().count + 1, 0);
  const Structure structure(sites, occupied, counts.data());
  counts.pop_back();
  return counts;
}

Score score(const Target& target, const std::int32_t* counts, double rate) {
  const AlignedFloats zero(target.points, 0.0f);
  AlignedFloats bare(target.points, 0.0f);
  Adder adder(target);
  adder(counts, zero.data(), bare.data());
  Curve curve(target, rate);
  Score found = curve.score(bare.data());
  for (int turn = 0; turn < 4 && target.free_rate && std::fabs(found.rate - curve.rate()) > 1e-6; ++turn) {
    curve.set_rate(found.rate);
    found = curve.score(bare.data());
  }
  return found;
}

}  // namespace hpcpdf

#include "hpcpdf/debye_atom.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hpcpdf/lines.hpp"

namespace hpcpdf {
namespace {

// Lines of one atom with the other atoms of one species.
Lines atom_lines(const ClusterBatch& cluster, std::size_t atom, int species, const DebyeSettings& settings) {
  LineBuilder builder;
  const double* a = cluster.positions + 3 * atom;
  const std::size_t n = cluster.offsets[1];
  for (std::size_t j = 0; j < n; ++j) {
    if (j == atom || (cluster.species && cluster.species[j] != species)) continue;
    const double* b = cluster.positions + 3 * j;
    const double dx = a[0] - b[0], dy = a[1] - b[1], dz = a[2] - b[2];
    const double d = std::sqrt(dx * dx + dy * dy + dz * dz);
    if (d > coincident && d >= settings.d_min && d <= settings.d_max) builder.add(d, cluster.u[atom] + cluster.u[j]);
  }
  return builder.finish();
}

}  // namespace

void debye_atom(const ClusterBatch& cluster, std::size_t atom, const DebyeSettings& settings, const double* factors,
                std::size_t n_species, double* out) {
  const std::size_t n_q = settings.grid.n;
  std::fill(out, out + n_q, 0.0);
  if (!factors) {
    debye_sum(atom_lines(cluster, atom, 0, settings), settings.width, settings.grid, settings.precision, nullptr, out);
    return;
  }
  const double* own = factors + static_cast<std::size_t>(cluster.species[atom]) * n_q;
  std::vector<double> ff(n_q), part(n_q);
  for (std::size_t s = 0; s < n_species; ++s) {
    const Lines lines = atom_lines(cluster, atom, static_cast<int>(s), settings);
    for (std::size_t k = 0; k < n_q; ++k) ff[k] = own[k] * factors[s * n_q + k];
    std::fill(part.begin(), part.end(), 0.0);
    debye_sum(lines, settings.width, settings.grid, settings.precision, ff.data(), part.data());
    for (std::size_t k = 0; k < n_q; ++k) out[k] += ff[k] * part[k];
  }
}

}  // namespace hpcpdf

#include <cmath>
#include <vector>

#include "check.hpp"
#include "hpcpdf/debye.hpp"
#include "hpcpdf/debye_atom.hpp"

namespace {

using hpcpdf::ClusterBatch;
using hpcpdf::DebyeSettings;

constexpr std::size_t n = 8, n_q = 300;

// A bent chain: no two distances are equal.
std::vector<double> chain() {
  std::vector<double> positions;
  for (std::size_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i);
    for (const double x : {2.1 * t, std::sin(t), 0.1 * t * t}) positions.push_back(x);
  }
  return positions;
}

// Every pair belongs to two atoms: the parts of all atoms are twice the sum.
void atoms_add_up_to_the_cluster(bool mixed) {
  const auto positions = chain();
  const std::vector<std::size_t> offsets{0, n};
  const std::vector<int> species{0, 1, 0, 1, 1, 0, 0, 1};
  std::vector<double> u(n), factors(2 * n_q);
  for (std::size_t i = 0; i < n; ++i) u[i] = 0.003 + 0.001 * static_cast<double>(i % 3);
  for (std::size_t k = 0; k < n_q; ++k) {
    factors[k] = 79.0 / (1.0 + 1e-3 * static_cast<double>(k));
    factors[n_q + k] = 29.0 / (1.0 + 2e-3 * static_cast<double>(k));
  }
  ClusterBatch batch;
  batch.positions = positions.data();
  batch.u = u.data();
  batch.species = mixed ? species.data() : nullptr;
  batch.offsets = offsets.data();
  batch.size = 1;
  DebyeSettings settings;
  settings.grid = {0.1, n_q};
  settings.width.delta2 = 1.0;
  settings.d_min = 3.0;
  settings.d_max = 11.0;
  settings.precision = mixed ? 0.1 : 0.0;
  const double* rows = mixed ? factors.data() : nullptr;
  std::vector<double> f(n_q), part(n_q), total(n_q, 0.0);
  hpcpdf::debye_f(batch, settings, rows, mixed ? 2 : 1, f.data(), 1);
  for (std::size_t i = 0; i < n; ++i) {
    hpcpdf::debye_atom(batch, i, settings, rows, mixed ? 2 : 1, part.data());
    for (std::size_t k = 0; k < n_q; ++k) total[k] += part[k];
  }
  for (std::size_t k = 0; k < n_q; ++k) {
    const double mean = mixed ? 0.5 * (factors[k] + factors[n_q + k]) : 1.0;
    CHECK(check::near(0.5 * total[k] / (static_cast<double>(n) * mean * mean), f[k], 1e-13));
  }
}

}  // namespace

int main() {
  atoms_add_up_to_the_cluster(false);
  atoms_add_up_to_the_cluster(true);
  return check::failures;
}

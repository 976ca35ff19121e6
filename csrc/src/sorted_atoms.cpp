#include "sorted_atoms.hpp"

#include <algorithm>
#include <numeric>

#include "hpcpdf/pdf_kernels.hpp"

namespace hpcpdf {

SortedAtoms sort_by_species(const ClusterBatch& batch, std::size_t cluster, std::size_t n_species) {
  const std::size_t first = batch.offsets[cluster], n = batch.offsets[cluster + 1] - first;
  SortedAtoms sorted;
  sorted.order.resize(n);
  std::iota(sorted.order.begin(), sorted.order.end(), first);
  if (batch.species) {
    std::stable_sort(sorted.order.begin(), sorted.order.end(),
                     [&](std::size_t i, std::size_t j) { return batch.species[i] < batch.species[j]; });
  }
  sorted.bounds.assign(n_species + 1, 0);
  // The loops over pairs read whole blocks.
  for (auto* axis : {&sorted.x, &sorted.y, &sorted.z}) axis->assign(n + lanes, 0.0);
  if (batch.u) sorted.u.resize(n);
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t i = sorted.order[k];
    sorted.x[k] = batch.positions[3 * i];
    sorted.y[k] = batch.positions[3 * i + 1];
    sorted.z[k] = batch.positions[3 * i + 2];
    if (batch.u) sorted.u[k] = batch.u[i];
    ++sorted.bounds[(batch.species ? static_cast<std::size_t>(batch.species[i]) : 0) + 1];
  }
  std::partial_sum(sorted.bounds.begin(), sorted.bounds.end(), sorted.bounds.begin());
  return sorted;
}

}  // namespace hpcpdf

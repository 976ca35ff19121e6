// One cluster with its atoms sorted by species, as separate coordinate arrays.
#pragma once

#include <cstddef>
#include <vector>

#include "hpcpdf/debye.hpp"

namespace hpcpdf {

struct SortedAtoms {
  std::vector<double> x, y, z, u;   // u stays empty when the batch has none
  std::vector<std::size_t> order;   // where each atom was in the batch
  std::vector<std::size_t> bounds;  // atoms of species s: bounds[s] ... bounds[s + 1] - 1

  std::size_t size() const { return order.size(); }
};

SortedAtoms sort_by_species(const ClusterBatch& batch, std::size_t cluster, std::size_t n_species);

}  // namespace hpcpdf

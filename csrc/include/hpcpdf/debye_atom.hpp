// What one atom of a cluster adds to its Debye sum: a change of one atom costs n - 1 pairs instead of all of them.
#pragma once

#include <cstddef>

#include "hpcpdf/debye.hpp"

namespace hpcpdf {

// out[k] = sum over the other atoms j of 2 f_i f_j exp(-sigma_ij^2 Q_k^2 / 2) sin(Q_k d_ij) / d_ij for i = `atom`, with
// the limits and the truncation of debye_f but not its normalisation. `cluster` holds one cluster, whose species are
// below n_species; `factors` (n_species x grid.n), null for unit scattering.
void debye_atom(const ClusterBatch& cluster, std::size_t atom, const DebyeSettings& settings, const double* factors,
                std::size_t n_species, double* out);

}  // namespace hpcpdf

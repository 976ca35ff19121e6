// Checked arrays that describe clusters to the core.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <stdexcept>

#include "hpcpdf/debye.hpp"

namespace hpcpdf_bindings {

namespace py = pybind11;

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Ints = py::array_t<int, py::array::c_style | py::array::forcecast>;
using Offsets = py::array_t<std::size_t, py::array::c_style | py::array::forcecast>;

inline void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

inline void check_batch(const Doubles& positions, const Offsets& offsets) {
  require(positions.ndim() == 2 && positions.shape(1) == 3, "positions: expected shape (atoms, 3)");
  require(offsets.ndim() == 1 && offsets.size() >= 1 && offsets.at(0) == 0, "offsets: expected 0, ..., atoms");
  for (py::ssize_t b = 0; b + 1 < offsets.size(); ++b) {
    require(offsets.at(b) <= offsets.at(b + 1), "offsets: expected ascending values");
  }
  require(offsets.at(offsets.size() - 1) == static_cast<std::size_t>(positions.shape(0)),
          "offsets: the last one is not the number of atoms");
}

inline hpcpdf::DebyeSettings debye_settings(double qstep, std::size_t n_q, double d_min, double d_max, double delta1,
                                            double delta2, double qbroad, double precision) {
  hpcpdf::DebyeSettings settings;
  settings.grid = {qstep, n_q};
  settings.width = {delta1, delta2, qbroad};
  settings.d_min = d_min;
  settings.d_max = d_max;
  settings.precision = precision;
  return settings;
}

// A batch of clusters together with the arrays it points into.
struct Clusters {
  Doubles positions, u, factors;
  Offsets offsets;
  Ints species;
  std::size_t n_species = 1;
  hpcpdf::ClusterBatch batch;

  Clusters(const Doubles& at, const Offsets& ends, const py::object& kinds, const py::object& table, std::size_t n_q)
      : positions(at), offsets(ends) {
    check_batch(positions, offsets);
    require(kinds.is_none() == table.is_none(), "species and factors: give both or none");
    batch.positions = positions.data();
    batch.offsets = offsets.data();
    batch.size = static_cast<std::size_t>(offsets.size()) - 1;
    if (table.is_none()) return;
    species = kinds.cast<Ints>();
    factors = table.cast<Doubles>();
    require(species.ndim() == 1 && species.size() == positions.shape(0), "species: expected one value per atom");
    require(factors.ndim() == 2 && static_cast<std::size_t>(factors.shape(1)) == n_q,
            "factors: expected (species, n_q)");
    n_species = static_cast<std::size_t>(factors.shape(0));
    for (py::ssize_t i = 0; i < species.size(); ++i) {
      require(species.at(i) >= 0 && static_cast<std::size_t>(species.at(i)) < n_species,
              "species: not a row of factors");
    }
    batch.species = species.data();
  }

  const double* table() const { return batch.species ? factors.data() : nullptr; }
};

}  // namespace hpcpdf_bindings

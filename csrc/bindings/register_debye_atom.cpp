#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>

#include "hpcpdf/debye_atom.hpp"

namespace py = pybind11;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Ints = py::array_t<int, py::array::c_style | py::array::forcecast>;

void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

py::array_t<double> debye_atom(const Doubles& positions, const Doubles& u, const py::object& species,
                               const py::object& factors, std::size_t atom, double qstep, std::size_t n_q, double d_min,
                               double d_max, double delta1, double delta2, double qbroad, double precision) {
  require(positions.ndim() == 2 && positions.shape(1) == 3, "positions: expected shape (atoms, 3)");
  const auto n_atoms = positions.shape(0);
  require(u.ndim() == 1 && u.size() == n_atoms, "u: expected one value per atom");
  require(atom < static_cast<std::size_t>(n_atoms), "atom: not an index of the positions");
  require(species.is_none() == factors.is_none(), "species and factors: give both or none");
  Ints kinds;
  Doubles table;
  std::size_t n_species = 1;
  if (!factors.is_none()) {
    kinds = species.cast<Ints>();
    table = factors.cast<Doubles>();
    require(kinds.ndim() == 1 && kinds.size() == n_atoms, "species: expected one value per atom");
    require(table.ndim() == 2 && static_cast<std::size_t>(table.shape(1)) == n_q, "factors: expected (species, n_q)");
    n_species = static_cast<std::size_t>(table.shape(0));
    for (py::ssize_t i = 0; i < n_atoms; ++i) {
      require(kinds.at(i) >= 0 && static_cast<std::size_t>(kinds.at(i)) < n_species, "species: not a row of factors");
    }
  }
  const std::size_t offsets[2] = {0, static_cast<std::size_t>(n_atoms)};
  hpcpdf::ClusterBatch cluster;
  cluster.positions = positions.data();
  cluster.u = u.data();
  cluster.species = factors.is_none() ? nullptr : kinds.data();
  cluster.offsets = offsets;
  cluster.size = 1;
  hpcpdf::DebyeSettings settings;
  settings.grid = {qstep, n_q};
  settings.width = {delta1, delta2, qbroad};
  settings.d_min = d_min;
  settings.d_max = d_max;
  settings.precision = precision;
  py::array_t<double> out(static_cast<py::ssize_t>(n_q));
  double* result = out.mutable_data();
  const double* rows = factors.is_none() ? nullptr : table.data();
  {
    const py::gil_scoped_release release;
    hpcpdf::debye_atom(cluster, atom, settings, rows, n_species, result);
  }
  return out;
}

}  // namespace

void register_debye_atom(py::module_& m) {
  using py::arg;
  m.def("debye_atom", &debye_atom, arg("positions"), arg("u"), arg("species").none(true), arg("factors").none(true),
        arg("atom"), arg("qstep"), arg("n_q"), arg("d_min"), arg("d_max"), arg("delta1"), arg("delta2"), arg("qbroad"),
        arg("precision"), "Pairs of one atom with the others in the Debye sum, not normalised; shape (n_q,).");
}

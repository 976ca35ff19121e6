#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "clusters.hpp"
#include "hpcpdf/debye_atom.hpp"

namespace py = pybind11;

namespace {

using namespace hpcpdf_bindings;

py::array_t<double> debye_atom(const Doubles& positions, const Doubles& u, const py::object& species,
                               const py::object& factors, std::size_t atom, double qstep, std::size_t n_q, double d_min,
                               double d_max, double delta1, double delta2, double qbroad, double precision) {
  const py::ssize_t n_atoms = positions.ndim() > 0 ? positions.shape(0) : 0;
  Offsets ends(2);
  ends.mutable_at(0) = 0;
  ends.mutable_at(1) = static_cast<std::size_t>(n_atoms);
  Clusters cluster(positions, ends, species, factors, n_q);
  require(u.ndim() == 1 && u.size() == n_atoms, "u: expected one value per atom");
  require(atom < static_cast<std::size_t>(n_atoms), "atom: not an index of the positions");
  cluster.batch.u = u.data();
  const auto settings = debye_settings(qstep, n_q, d_min, d_max, delta1, delta2, qbroad, precision);
  py::array_t<double> out(static_cast<py::ssize_t>(n_q));
  double* result = out.mutable_data();
  {
    const py::gil_scoped_release release;
    hpcpdf::debye_atom(cluster.batch, atom, settings, cluster.table(), cluster.n_species, result);
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

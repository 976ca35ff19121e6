#include <pybind11/pybind11.h>

#include "hpcpdf/version.hpp"

namespace py = pybind11;

// One register_*.cpp per room of the core; each adds its functions to the module.
void register_pdf(py::module_& m);
void register_debye_atom(py::module_& m);
void register_pdf_plan(py::module_& m);
void register_lattice(py::module_& m);
void register_shells(py::module_& m);
void register_lbfgsb(py::module_& m);
void register_trilaterate(py::module_& m);

PYBIND11_MODULE(_core, m) {
  m.doc() = "Compiled kernels of hpcpdf.";
  m.def("compiled_instruction_level", &hpcpdf::compiled_instruction_level);
  register_pdf(m);
  register_debye_atom(m);
  register_pdf_plan(m);
  register_lattice(m);
  register_shells(m);
  register_lbfgsb(m);
  register_trilaterate(m);
}

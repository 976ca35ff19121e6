#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "hpcpdf/lbfgsb.hpp"

namespace py = pybind11;
using hpcpdf::Lbfgsb;

namespace {

using Vector = py::array_t<double, py::array::c_style | py::array::forcecast>;

const double* checked(const Vector& values, std::size_t n, const char* name) {
  if (static_cast<std::size_t>(values.size()) != n) {
    throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(n) + " values, got " +
                                std::to_string(values.size()));
  }
  return values.data();
}

py::array_t<double> copied(const double* values, std::size_t n) {
  return py::array_t<double>(static_cast<py::ssize_t>(n), values);
}

py::tuple pairs(const Lbfgsb& solver) {
  const auto& memory = solver.memory();
  const auto n = static_cast<py::ssize_t>(solver.dimension());
  py::array_t<double> s({static_cast<py::ssize_t>(memory.size()), n});
  py::array_t<double> y({static_cast<py::ssize_t>(memory.size()), n});
  for (int i = 0; i < memory.size(); ++i) {
    memory.copy_pair(i, s.mutable_data() + i * n, y.mutable_data() + i * n);
  }
  return py::make_tuple(s, y);
}

}  // namespace

void register_lbfgsb(py::module_& m) {
  py::enum_<Lbfgsb::Task>(m, "LbfgsbTask")
      .value("evaluate", Lbfgsb::Task::evaluate)
      .value("new_iterate", Lbfgsb::Task::new_iterate)
      .value("gradient_small", Lbfgsb::Task::gradient_small)
      .value("reduction_small", Lbfgsb::Task::reduction_small)
      .value("abnormal", Lbfgsb::Task::abnormal);

  py::class_<Lbfgsb>(m, "Lbfgsb")
      .def(py::init([](std::size_t n, int memory, double ftol, double gtol, int max_line_search) {
             hpcpdf::LbfgsbOptions options;
             options.memory = memory;
             options.ftol = ftol;
             options.gtol = gtol;
             options.max_line_search = max_line_search;
             return Lbfgsb(n, options);
           }),
           py::arg("n"), py::kw_only(), py::arg("memory"), py::arg("ftol"), py::arg("gtol"), py::arg("max_line_search"))
      .def(
          "start",
          [](Lbfgsb& self, const Vector& x0, const Vector& lower, const Vector& upper) {
            const std::size_t n = self.dimension();
            return self.start(checked(x0, n, "x0"), checked(lower, n, "lower"), checked(upper, n, "upper"));
          },
          py::arg("x0"), py::arg("lower"), py::arg("upper"))
      .def(
          "advance",
          [](Lbfgsb& self, double f, const Vector& gradient) {
            return self.advance(f, checked(gradient, self.dimension(), "gradient"));
          },
          py::arg("f"), py::arg("gradient"))
      .def("proceed", &Lbfgsb::proceed)
      .def_property_readonly("x", [](const Lbfgsb& self) { return copied(self.x(), self.dimension()); })
      .def_property_readonly("f", &Lbfgsb::f)
      .def_property_readonly("gradient", [](const Lbfgsb& self) { return copied(self.gradient(), self.dimension()); })
      .def_property_readonly("projected_gradient", &Lbfgsb::projected_gradient)
      .def_property_readonly("iterations", &Lbfgsb::iterations)
      .def_property_readonly("evaluations", &Lbfgsb::evaluations)
      .def_property_readonly("pairs", &pairs);
}

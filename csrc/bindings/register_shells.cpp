#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>

#include "clusters.hpp"
#include "lattice/shell_waves.hpp"

namespace py = pybind11;

namespace {

using namespace hpcpdf_bindings;
using hpcpdf::ShellWaves;

std::unique_ptr<ShellWaves> make_waves(double qstep, std::size_t n_q, std::size_t k_first, double d_min, double d_max,
                                       const Doubles& r) {
  require(r.ndim() == 1, "r: expected one dimension");
  return std::make_unique<ShellWaves>(hpcpdf::QGrid{qstep, n_q}, k_first, d_min, d_max, r.data(),
                                      static_cast<std::size_t>(r.size()));
}

void check_shells(const ShellWaves& waves, const Doubles& distance, const Doubles& damping, const Doubles& weight) {
  require(distance.ndim() == 1 && damping.ndim() == 1 && damping.size() == distance.size(),
          "damping: expected one value per distance");
  require(weight.ndim() == 1 && static_cast<std::size_t>(weight.size()) == waves.points(),
          "weight: expected one value per padded point");
}

py::array_t<double> columns(const ShellWaves& waves, const Doubles& distance, const Doubles& damping,
                            const Doubles& weight) {
  check_shells(waves, distance, damping, weight);
  py::array_t<double> out({distance.size(), weight.size()});
  double* result = out.mutable_data();
  {
    const py::gil_scoped_release release;
    waves.columns(distance.data(), damping.data(), static_cast<std::size_t>(distance.size()), weight.data(), result);
  }
  return out;
}

py::array_t<double> slopes(const ShellWaves& waves, const Doubles& distance, const Doubles& damping,
                           const Doubles& factor, const Doubles& stretch, const Doubles& rate, const Doubles& weight) {
  check_shells(waves, distance, damping, weight);
  require(factor.ndim() == 1 && factor.size() == distance.size(), "factor: expected one value per distance");
  require(stretch.ndim() == 2 && stretch.shape(1) == distance.size(), "stretch: expected shape (slopes, shells)");
  require(rate.ndim() == 2 && rate.shape(0) == stretch.shape(0) && rate.shape(1) == distance.size(),
          "rate: expected shape (slopes, shells)");
  py::array_t<double> out({stretch.shape(0), weight.size()});
  waves.slopes(distance.data(), damping.data(), factor.data(), static_cast<std::size_t>(distance.size()),
               stretch.data(), rate.data(), static_cast<std::size_t>(stretch.shape(0)), weight.data(),
               out.mutable_data());
  return out;
}

}  // namespace

void register_shells(py::module_& m) {
  using py::arg;
  py::class_<ShellWaves>(m, "ShellWaves", "G(r) of shells on the points of a PDF.")
      .def(py::init(&make_waves), py::kw_only(), arg("qstep"), arg("n_q"), arg("k_first"), arg("d_min"), arg("d_max"),
           arg("r"))
      .def("columns", &columns, py::kw_only(), arg("distance"), arg("damping"), arg("weight"),
           "As `shell_columns`; shape (shells, padded points).")
      .def("slopes", &slopes, py::kw_only(), arg("distance"), arg("damping"), arg("factor"), arg("stretch"),
           arg("rate"), arg("weight"),
           "Derivatives of sum of factor * columns, from those of log distance and damping; shape (slopes, points).");
}

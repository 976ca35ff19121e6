#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "hpcpdf/trilaterate.hpp"

namespace py = pybind11;
namespace tri = hpcpdf::trilaterate;

namespace {

tri::View view_of(const py::handle& object, py::ssize_t rows, py::ssize_t columns, const char* name,
                  std::size_t index) {
  if (!py::isinstance<py::array>(object)) {
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(index) + "] is not an array");
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (array.ndim() != 2 || array.shape(0) != rows || array.shape(1) != columns) {
    std::string got = "(";
    for (py::ssize_t k = 0; k < array.ndim(); ++k) got += (k ? ", " : "") + std::to_string(array.shape(k));
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(index) + "] has shape " + got +
                                "), expected (" + std::to_string(rows) + ", " + std::to_string(columns) + ")");
  }
  tri::View view;
  if (array.dtype().is(py::dtype::of<double>())) {
    view.wide = true;
  } else if (array.dtype().is(py::dtype::of<float>())) {
    view.wide = false;
  } else {
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(index) + "] is neither float32 nor float64");
  }
  view.data = static_cast<const char*>(array.data());
  view.row = array.strides(0);
  view.column = array.strides(1);
  return view;
}

// Lists of (n_i, n_i) and (n_i, S) arrays in; flat positions (sum n_i, 3) and per-problem outcomes out.
py::tuple trilaterate(const py::list& distances, const py::list& satellite_distances,
                      const py::array_t<double, py::array::c_style | py::array::forcecast>& satellites,
                      const py::object& weights, const py::object& satellite_weights, bool wide, int threads,
                      int max_evaluations, double gradient_tolerance) {
  const std::size_t count = distances.size();
  const py::ssize_t s = satellites.shape(0);
  if (satellite_distances.size() != count) throw std::invalid_argument("one array of satellite distances per problem");
  std::vector<tri::Problem> problems(count);
  std::size_t total = 0;
  for (std::size_t k = 0; k < count; ++k) {
    const auto first = py::reinterpret_borrow<py::object>(distances[k]);
    const py::ssize_t n =
        py::isinstance<py::array>(first) && first.cast<py::array>().ndim() > 0 ? first.cast<py::array>().shape(0) : 0;
    problems[k].n = static_cast<int>(n);
    problems[k].distances = view_of(first, n, n, "distances", k);
    problems[k].satellites = view_of(satellite_distances[k], n, s, "satellite_distances", k);
    if (!weights.is_none()) problems[k].weights = view_of(weights.cast<py::list>()[k], n, n, "weights", k);
    if (!satellite_weights.is_none()) {
      problems[k].satellite_weights = view_of(satellite_weights.cast<py::list>()[k], n, s, "satellite_weights", k);
    }
    total += static_cast<std::size_t>(n);
  }
  py::array_t<double> positions({static_cast<py::ssize_t>(total), static_cast<py::ssize_t>(3)});
  std::vector<double*> targets(count);
  double* cursor = positions.mutable_data();
  for (std::size_t k = 0; k < count; ++k) {
    targets[k] = cursor;
    cursor += 3 * problems[k].n;
  }
  std::vector<tri::Outcome> outcomes(count);
  tri::Options options;
  options.wide = wide;
  options.threads = threads;
  options.max_evaluations = max_evaluations;
  options.gradient_tolerance = gradient_tolerance;
  bool completed;
  {
    const py::gil_scoped_release release;
    completed = tri::solve(problems.data(), count, satellites.data(), static_cast<int>(s), options, targets.data(),
                           outcomes.data(), [] {
                             const py::gil_scoped_acquire acquire;
                             return PyErr_CheckSignals() != 0;
                           });
  }
  if (!completed) throw py::error_already_set();
  const auto size = static_cast<py::ssize_t>(count);
  py::array_t<double> cost(size), gradient(size);
  py::array_t<int> evaluations(size), status(size);
  for (py::ssize_t k = 0; k < size; ++k) {
    cost.mutable_at(k) = outcomes[k].cost;
    gradient.mutable_at(k) = outcomes[k].projected_gradient;
    evaluations.mutable_at(k) = outcomes[k].evaluations;
    status.mutable_at(k) = static_cast<int>(outcomes[k].status);
  }
  return py::make_tuple(positions, cost, gradient, evaluations, status);
}

}  // namespace

void register_trilaterate(py::module_& m) {
  m.def("trilaterate", &trilaterate, py::arg("distances"), py::arg("satellite_distances"), py::arg("satellites"),
        py::kw_only(), py::arg("weights"), py::arg("satellite_weights"), py::arg("wide"), py::arg("threads"),
        py::arg("max_evaluations"), py::arg("gradient_tolerance"));
}

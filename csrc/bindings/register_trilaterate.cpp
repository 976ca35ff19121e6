#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "hpcpdf/trilaterate.hpp"

namespace py = pybind11;
namespace tri = hpcpdf::trilaterate;

namespace {

std::string shape_text(const py::array& array) {
  std::string text = "(";
  for (py::ssize_t k = 0; k < array.ndim(); ++k) text += (k ? ", " : "") + std::to_string(array.shape(k));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

// One argument: a sequence of matrices, one per problem, or one three-dimensional array. Whatever is not float32 or
// float64 in native order is converted once; `keep` holds what the views point to.
class Matrices {
 public:
  Matrices(const py::object& source, const char* name, std::size_t count) : name_(name) {
    if (py::isinstance<py::array>(source) && source.cast<py::array>().ndim() == 3) {
      block_ = number_array(source, 0);
      keep_.push_back(block_);
      count_ = static_cast<std::size_t>(block_.shape(0));
      whole_ = true;
    } else {
      // A list or tuple of the arrays themselves, so that looking one up costs nothing.
      items_ = py::reinterpret_steal<py::object>(PySequence_Fast(source.ptr(), "expected a sequence of matrices"));
      if (!items_) throw py::error_already_set();
      count_ = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items_.ptr()));
    }
    if (count != kAny && count_ != count) {
      throw std::invalid_argument("trilaterate: " + name_ + " holds " + std::to_string(count_) +
                                  " problems, expected " + std::to_string(count));
    }
  }

  static constexpr std::size_t kAny = static_cast<std::size_t>(-1);

  std::size_t count() const { return count_; }
  bool whole() const { return whole_; }
  py::ssize_t padded_rows() const { return block_.shape(1); }

  // Asks for what view() will read a few problems later: arrays lie anywhere in memory, and waiting for them would take
  // longer than looking at them. The last ones of a list are not worth the trouble.
  void ask_ahead(std::size_t k) const {
    constexpr std::size_t kObject = 24, kShape = 12;
    if (whole_ || k + kObject >= count_) return;
    const char* object = reinterpret_cast<const char*>(item(k + kObject));
    __builtin_prefetch(object);
    __builtin_prefetch(object + 64);
    const py::handle array(item(k + kShape));
    if (py::isinstance<py::array>(array)) __builtin_prefetch(py::reinterpret_borrow<py::array>(array).shape());
  }

  // Makes `out` the matrix of problem k with `rows` rows (-1: all) and `columns` columns (-1: as many as rows); returns
  // the number of rows.
  py::ssize_t view(std::size_t k, py::ssize_t rows, py::ssize_t columns, tri::View& out) {
    if (whole_) {
      if (rows < 0) rows = block_.shape(1);
      const py::ssize_t expected = columns < 0 ? block_.shape(1) : columns;
      if (block_.shape(1) < rows || block_.shape(2) != expected) {
        throw std::invalid_argument("trilaterate: " + name_ + " has shape " + shape_text(block_) + ", expected (" +
                                    std::to_string(count_) + ", N, " + (columns < 0 ? "N" : std::to_string(columns)) +
                                    ")");
      }
      set_view(block_, static_cast<const char*>(block_.data()) + static_cast<py::ssize_t>(k) * block_.strides(0), 1,
               out);
      return rows;
    }
    const py::array array = number_array(item(k), k);
    if (rows < 0 && array.ndim() > 0) rows = array.shape(0);
    const py::ssize_t expected = columns < 0 ? rows : columns;
    const bool nothing = rows == 0 && array.size() == 0;
    if (!nothing && (array.ndim() != 2 || array.shape(0) != rows || array.shape(1) != expected)) {
      throw std::invalid_argument("trilaterate: " + name_ + "[" + std::to_string(k) + "] has shape " +
                                  shape_text(array) + ", expected (" + (rows < 0 ? "n" : std::to_string(rows)) + ", " +
                                  (expected < 0 ? "n" : std::to_string(expected)) + ")");
    }
    if (!nothing) set_view(array, static_cast<const char*>(array.data()), 0, out);
    return rows;
  }

 private:
  PyObject* item(std::size_t k) const { return PySequence_Fast_GET_ITEM(items_.ptr(), static_cast<py::ssize_t>(k)); }

  py::array number_array(const py::handle& item, std::size_t k) {
    if (py::isinstance<py::array>(item)) {
      auto array = py::reinterpret_borrow<py::array>(item);
      if (type_of(array) != native_.ptr() && is_native(array.dtype())) {
        native_ = array.dtype();
        native_wide_ = array.itemsize() == sizeof(double);
      }
      const bool aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
      if (aligned && type_of(array) == native_.ptr()) return array;
      const py::dtype type = array.dtype();
      if (type.kind() != 'f' && type.kind() != 'i' && type.kind() != 'u' && type.kind() != 'b') refuse(k);
    }
    auto converted = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(item);
    if (!converted) {
      PyErr_Clear();
      refuse(k);
    }
    keep_.push_back(converted);
    return converted;
  }

  // By its number: arrays from files often bring a type object of their own.
  bool is_native(const py::dtype& type) const {
    return (type.num() == double_ || type.num() == float_) && type.byteorder() == '=';
  }

  // Without counting a reference: that would be the same count for each array, and each would wait for the one before.
  static const PyObject* type_of(const py::array& array) { return py::detail::array_proxy(array.ptr())->descr; }

  [[noreturn]] void refuse(std::size_t k) const {
    throw std::invalid_argument("trilaterate: " + name_ + "[" + std::to_string(k) +
                                "] is not an array of real numbers");
  }

  void set_view(const py::array& array, const char* data, py::ssize_t first, tri::View& out) const {
    out.data = data;
    out.row = array.strides(first);
    out.column = array.strides(first + 1);
    out.wide = type_of(array) == native_.ptr() ? native_wide_ : array.itemsize() == sizeof(double);
  }

  std::string name_;
  py::object items_;
  py::array block_;
  std::size_t count_ = 0;
  bool whole_ = false;
  std::vector<py::object> keep_;
  py::object native_;  // the last type that was one
  bool native_wide_ = false;
  int double_ = py::dtype::of<double>().num(), float_ = py::dtype::of<float>().num();
};

// Rows of `whole` as an array of their own; without the vectors that py::array takes its shape in, of which there would
// be several for every structure.
PyObject* rows_of(const py::array& whole, const py::dtype& type, py::ssize_t rows, void* data) {
  const auto& numpy = py::detail::npy_api::get();
  const Py_intptr_t shape[] = {rows, 3};
  auto part = py::reinterpret_steal<py::object>(
      numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, type.inc_ref().ptr(), 2, shape, nullptr, data,
                                  py::detail::npy_api::NPY_ARRAY_WRITEABLE_, nullptr));
  if (!part || numpy.PyArray_SetBaseObject_(part.ptr(), whole.inc_ref().ptr()) != 0) throw py::error_already_set();
  return part.release().ptr();
}

void fill_with_nan(void* numbers, py::ssize_t begin, py::ssize_t end, const tri::Options& options) {
  for (py::ssize_t i = begin; i < end; ++i) {
    if (options.wide) {
      static_cast<double*>(numbers)[i] = std::numeric_limits<double>::quiet_NaN();
    } else {
      static_cast<float*>(numbers)[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

// `counts` is None or the number of atoms of each problem of a three-dimensional `distances`.
py::tuple trilaterate(const py::object& distances, const py::object& satellite_distances,
                      const py::array_t<double, py::array::c_style | py::array::forcecast>& satellites,
                      const py::object& counts, const py::object& weights, const py::object& satellite_weights,
                      const tri::Options& options) {
  if (satellites.ndim() != 2 || satellites.shape(1) != 3) {
    throw std::invalid_argument("trilaterate: satellites have shape " + shape_text(satellites) + ", expected (S, 3)");
  }
  const py::ssize_t s = satellites.shape(0);
  Matrices d(distances, "distances", Matrices::kAny);
  const std::size_t count = d.count();
  Matrices a(satellite_distances, "satellite_distances", count);
  const auto optional = [count](const py::object& source, const char* name) {
    return Matrices(source.is_none() ? py::object(py::tuple(count)) : source, name, count);
  };
  Matrices w = optional(weights, "weights"), v = optional(satellite_weights, "satellite_weights");
  std::vector<py::ssize_t> sizes;
  if (!counts.is_none()) sizes = counts.cast<std::vector<py::ssize_t>>();

  std::vector<tri::Problem> problems(count);
  std::vector<tri::View> pair_weights(weights.is_none() ? 0 : count);
  std::vector<tri::View> anchor_weights(satellite_weights.is_none() ? 0 : count);
  std::size_t total = 0;
  for (std::size_t k = 0; k < count; ++k) {
    d.ask_ahead(k);
    a.ask_ahead(k);
    tri::Problem& problem = problems[k];
    const py::ssize_t n = d.view(k, sizes.empty() ? -1 : sizes[k], -1, problem.distances);
    problem.n = static_cast<int>(n);
    a.view(k, n, s, problem.satellites);
    if (!pair_weights.empty()) {
      w.view(k, n, -1, pair_weights[k]);
      problem.weights = &pair_weights[k];
    }
    if (!anchor_weights.empty()) {
      v.view(k, n, s, anchor_weights[k]);
      problem.satellite_weights = &anchor_weights[k];
    }
    total += static_cast<std::size_t>(n);
  }

  const py::dtype type = options.wide ? py::dtype::of<double>() : py::dtype::of<float>();
  const auto stride = static_cast<std::size_t>(3 * type.itemsize());
  py::array positions = d.whole() ? py::array(type, {static_cast<py::ssize_t>(count), d.padded_rows(), py::ssize_t(3)})
                                  : py::array(type, {static_cast<py::ssize_t>(total), py::ssize_t(3)});
  std::vector<void*> targets(count);
  char* cursor = static_cast<char*>(positions.mutable_data());
  for (std::size_t k = 0; k < count; ++k) {
    targets[k] = cursor;
    cursor += stride * static_cast<std::size_t>(d.whole() ? d.padded_rows() : problems[k].n);
  }
  // What is left to do with arrays is done while the other threads are at work.
  py::object placed = positions;
  const auto meanwhile = [&] {
    if (d.whole()) {
      for (std::size_t k = 0; k < count; ++k)
        fill_with_nan(targets[k], 3 * problems[k].n, 3 * d.padded_rows(), options);
      return;
    }
    const py::gil_scoped_acquire acquire;
    py::list parts(count);
    for (std::size_t k = 0; k < count; ++k) {
      PyList_SET_ITEM(parts.ptr(), static_cast<py::ssize_t>(k), rows_of(positions, type, problems[k].n, targets[k]));
    }
    placed = parts;
  };
  const auto interrupted = [] {
    const py::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
  };
  std::vector<tri::Outcome> outcomes(count);
  bool completed;
  {
    const py::gil_scoped_release release;
    completed = tri::solve(problems.data(), count, satellites.data(), static_cast<int>(s), options, targets.data(),
                           outcomes.data(), meanwhile, interrupted);
  }
  if (!completed) throw py::error_already_set();

  const auto size = static_cast<py::ssize_t>(count);
  py::array_t<double> cost(size), gradient(size);
  py::array_t<std::int32_t> evaluations(size), status(size);
  double *costs = cost.mutable_data(), *gradients = gradient.mutable_data();
  std::int32_t *counted = evaluations.mutable_data(), *statuses = status.mutable_data();
  for (std::size_t k = 0; k < count; ++k) {
    costs[k] = outcomes[k].cost;
    gradients[k] = outcomes[k].projected_gradient;
    counted[k] = outcomes[k].evaluations;
    statuses[k] = static_cast<std::int32_t>(outcomes[k].status);
  }
  return py::make_tuple(placed, cost, gradient, evaluations, status);
}

}  // namespace

void register_trilaterate(py::module_& m) {
  py::class_<tri::Options>(m, "TrilaterationOptions")
      .def(py::init<>())
      .def_readwrite("sequential", &tri::Options::sequential)
      .def_readwrite("general", &tri::Options::general)
      .def_readwrite("wide", &tri::Options::wide)
      .def_readwrite("threads", &tri::Options::threads)
      .def_readwrite("level", &tri::Options::level)
      .def_readwrite("max_evaluations", &tri::Options::max_evaluations)
      .def_readwrite("gradient_tolerance", &tri::Options::gradient_tolerance);
  m.def("trilaterate", &trilaterate, py::arg("distances"), py::arg("satellite_distances"), py::arg("satellites"),
        py::arg("counts"), py::arg("weights"), py::arg("satellite_weights"), py::arg("options"));
  m.def("trilateration_levels", &tri::instruction_levels);
}

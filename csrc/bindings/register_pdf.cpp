#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>

#include "clusters.hpp"
#include "hpcpdf/debye.hpp"
#include "hpcpdf/instruction_level.hpp"
#include "hpcpdf/nodes.hpp"

namespace py = pybind11;

namespace {

using namespace hpcpdf_bindings;

py::array_t<double> debye_f(const Doubles& positions, const Offsets& offsets, const Doubles& u,
                            const py::object& species, const py::object& factors, double qstep, std::size_t n_q,
                            double d_min, double d_max, double delta1, double delta2, double qbroad, double precision,
                            int n_threads) {
  Clusters clusters(positions, offsets, species, factors, n_q);
  require(u.ndim() == 1 && u.size() == positions.shape(0), "u: expected one value per atom");
  clusters.batch.u = u.data();
  const auto settings = debye_settings(qstep, n_q, d_min, d_max, delta1, delta2, qbroad, precision);
  py::array_t<double> out({static_cast<py::ssize_t>(clusters.batch.size), static_cast<py::ssize_t>(n_q)});
  double* result = out.mutable_data();
  {
    const py::gil_scoped_release release;
    hpcpdf::debye_f(clusters.batch, settings, clusters.table(), clusters.n_species, result, n_threads);
  }
  return out;
}

py::array_t<double> sine_transform(const Doubles& f, double qstep, std::size_t k_first, const Doubles& r,
                                   int n_threads) {
  require(f.ndim() == 2, "f: expected shape (rows, n_q)");
  require(r.ndim() == 1, "r: expected one dimension");
  py::array_t<double> out({f.shape(0), r.size()});
  double* result = out.mutable_data();
  const auto n_rows = static_cast<std::size_t>(f.shape(0)), n_q = static_cast<std::size_t>(f.shape(1));
  {
    const py::gil_scoped_release release;
    hpcpdf::sine_transform(f.data(), n_rows, {qstep, n_q}, k_first, r.data(), static_cast<std::size_t>(r.size()),
                           result, n_threads);
  }
  return out;
}

hpcpdf::NodeRange node_range(double step, std::size_t n_nodes, double d_min, double d_max) {
  require(step > 0.0, "step: expected a value above 0");
  require(n_nodes >= 8, "n_nodes: expected at least 8");
  hpcpdf::NodeRange nodes;
  nodes.step = step;
  nodes.count = n_nodes;
  nodes.d_min = d_min;
  nodes.d_max = d_max;
  return nodes;
}

hpcpdf::ClusterBatch bare_batch(const Doubles& positions, const Offsets& offsets) {
  check_batch(positions, offsets);
  hpcpdf::ClusterBatch batch;
  batch.positions = positions.data();
  batch.offsets = offsets.data();
  batch.size = static_cast<std::size_t>(offsets.size()) - 1;
  return batch;
}

py::array_t<double> spread(const Doubles& positions, const Offsets& offsets, double step, std::size_t n_nodes,
                           double d_min, double d_max, int n_threads) {
  const auto batch = bare_batch(positions, offsets);
  const auto nodes = node_range(step, n_nodes, d_min, d_max);
  py::array_t<double> out({batch.size, n_nodes});
  double* result = out.mutable_data();
  {
    const py::gil_scoped_release release;
    hpcpdf::spread(batch, nodes, result, n_threads);
  }
  return out;
}

py::tuple gather(const Doubles& positions, const Offsets& offsets, const Doubles& field, double step, double d_min,
                 double d_max, int n_threads) {
  const auto batch = bare_batch(positions, offsets);
  require(field.ndim() == 2 && static_cast<std::size_t>(field.shape(0)) == batch.size,
          "field: expected one row of node values per cluster");
  const auto nodes = node_range(step, static_cast<std::size_t>(field.shape(1)), d_min, d_max);
  py::array_t<double> energy(static_cast<py::ssize_t>(batch.size));
  py::array_t<double> gradient({positions.shape(0), py::ssize_t{3}});
  double *energies = energy.mutable_data(), *gradients = gradient.mutable_data();
  {
    const py::gil_scoped_release release;
    hpcpdf::gather(batch, nodes, field.data(), energies, gradients, n_threads);
  }
  return py::make_tuple(energy, gradient);
}

py::array_t<double> debye_lines(const Doubles& distance, const Doubles& count, double u, double qstep, std::size_t n_q,
                                double delta1, double delta2, double qbroad) {
  require(distance.ndim() == 1 && count.ndim() == 1 && count.size() == distance.size(),
          "count: expected one value per distance");
  hpcpdf::Lines lines;
  lines.distance.assign(distance.data(), distance.data() + distance.size());
  lines.count.assign(count.data(), count.data() + count.size());
  lines.msd.assign(lines.distance.size(), 2.0 * u);
  py::array_t<double> out(static_cast<py::ssize_t>(n_q));
  double* result = out.mutable_data();
  std::fill(result, result + n_q, 0.0);
  const py::gil_scoped_release release;
  hpcpdf::debye_sum(lines, {delta1, delta2, qbroad}, {qstep, n_q}, 0.0, nullptr, result);
  return out;
}

py::tuple wave_tables(const Doubles& distance, const Doubles& a, double qstep, std::size_t n_q, int n_threads) {
  require(distance.ndim() == 1 && a.ndim() == 1 && a.size() == distance.size(), "a: expected one value per distance");
  const auto n = static_cast<std::size_t>(distance.size());
  py::array_t<double> sine({n, n_q}), cosine({n, n_q});
  double *s = sine.mutable_data(), *c = cosine.mutable_data();
  {
    const py::gil_scoped_release release;
    hpcpdf::wave_tables(distance.data(), a.data(), n, {qstep, n_q}, s, c, n_threads);
  }
  return py::make_tuple(sine, cosine);
}

}  // namespace

void register_pdf(py::module_& m) {
  using py::arg;
  m.def(
      "instruction_level", [] { return hpcpdf::name(hpcpdf::instruction_level()); },
      "Vector instructions in use: baseline, avx2 or avx512.");
  m.def("debye_f", &debye_f, arg("positions"), arg("offsets"), arg("u"), arg("species").none(true),
        arg("factors").none(true), arg("qstep"), arg("n_q"), arg("d_min"), arg("d_max"), arg("delta1"), arg("delta2"),
        arg("qbroad"), arg("precision"), arg("n_threads"),
        "F(Q_k), k = 0 ... n_q - 1, of clusters stored one after another; shape (clusters, n_q).");
  m.def("debye_lines", &debye_lines, arg("distance"), arg("count"), arg("u"), arg("qstep"), arg("n_q"), arg("delta1"),
        arg("delta2"), arg("qbroad"), "F(Q_k) of `count` pairs an atom at each distance; (n_q,).");
  m.def("sine_transform", &sine_transform, arg("f"), arg("qstep"), arg("k_first"), arg("r"), arg("n_threads"),
        "Sum over k >= k_first of f[b, k] sin(k qstep r_i); shape (rows, points).");
  m.def("spread", &spread, arg("positions"), arg("offsets"), arg("step"), arg("n_nodes"), arg("d_min"), arg("d_max"),
        arg("n_threads"), "Pair distances (weight 2) as interpolation weights on nodes; shape (clusters, n_nodes).");
  m.def("gather", &gather, arg("positions"), arg("offsets"), arg("field"), arg("step"), arg("d_min"), arg("d_max"),
        arg("n_threads"), "Adjoint of spread: energies (clusters,) and their gradient (atoms, 3).");
  m.def("wave_tables", &wave_tables, arg("distance"), arg("a"), arg("qstep"), arg("n_q"), arg("n_threads"),
        "exp(-a k^2) sin(k qstep d) / d and exp(-a k^2) cos(k qstep d); two arrays (distances, n_q).");
}

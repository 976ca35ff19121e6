#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>

#include "clusters.hpp"
#include "hpcpdf/pdf_plan.hpp"

namespace py = pybind11;

namespace {

using namespace hpcpdf_bindings;

// A plan with what its methods must check.
struct Plan {
  hpcpdf::PlanSettings settings;
  hpcpdf::PdfPlan plan;

  explicit Plan(const hpcpdf::PlanSettings& given) : settings(given), plan(given) {}
};

std::unique_ptr<Plan> make_plan(double qstep, std::size_t n_q, std::size_t k_first, double delta1, double delta2,
                                double qbroad, double u, double d_min, double d_max, double length, double rstep,
                                std::size_t first, std::size_t count, bool adjoint) {
  hpcpdf::PlanSettings settings;
  settings.grid = {qstep, n_q};
  settings.k_first = k_first;
  settings.width = {delta1, delta2, qbroad};
  settings.u = u;
  settings.d_min = d_min;
  settings.d_max = d_max;
  settings.length = length;
  settings.r_step = rstep;
  settings.first = first;
  settings.count = count;
  settings.adjoint = adjoint;
  const py::gil_scoped_release release;
  return std::make_unique<Plan>(settings);
}

double plan_bytes(double qstep, std::size_t n_q, double length, double rstep, std::size_t count, bool adjoint) {
  hpcpdf::PlanSettings settings;
  settings.grid = {qstep, n_q};
  settings.length = length;
  settings.r_step = rstep;
  settings.count = count;
  settings.adjoint = adjoint;
  return hpcpdf::PdfPlan::bytes(settings);
}

py::tuple simulate(const Plan& plan, const Doubles& positions, const Offsets& offsets, const py::object& species,
                   const py::object& factors, const Doubles& envelope, int n_threads) {
  const Clusters clusters(positions, offsets, species, factors, plan.settings.grid.n);
  require(static_cast<std::size_t>(envelope.size()) == plan.settings.count, "envelope: expected one value a point");
  py::array_t<double> g({clusters.batch.size, plan.settings.count});
  py::array_t<bool> served(static_cast<py::ssize_t>(clusters.batch.size));
  double* rows = g.mutable_data();
  auto* flags = reinterpret_cast<unsigned char*>(served.mutable_data());
  {
    const py::gil_scoped_release release;
    plan.plan.simulate(clusters.batch, clusters.table(), clusters.n_species, envelope.data(), rows, flags, n_threads);
  }
  return py::make_tuple(g, served);
}

py::dict gradient(const Plan& plan, const Doubles& positions, const Offsets& offsets, const py::object& species,
                  const py::object& factors, const Doubles& envelope, double scale, const Doubles& values, bool misfit,
                  int n_threads) {
  const Clusters clusters(positions, offsets, species, factors, plan.settings.grid.n);
  const std::size_t size = clusters.batch.size, count = plan.settings.count;
  require(plan.settings.adjoint, "gradient: the plan was made without its adjoint");
  require(static_cast<std::size_t>(envelope.size()) == count, "envelope: expected one value a point");
  require(values.ndim() == 2 && static_cast<std::size_t>(values.shape(0)) == size &&
              static_cast<std::size_t>(values.shape(1)) == count,
          "values: expected (clusters, points)");
  const auto one_each = [size] { return py::array_t<double>(static_cast<py::ssize_t>(size)); };
  py::array_t<double> g({size, count}), moved({positions.shape(0), py::ssize_t{3}});
  py::array_t<double> error = one_each(), u = one_each(), delta2 = one_each(), by_scale = one_each(),
                      spread = one_each();
  py::array_t<bool> served(static_cast<py::ssize_t>(size));
  const hpcpdf::PlanGradient out{g.mutable_data(),      error.mutable_data(),    moved.mutable_data(), u.mutable_data(),
                                 delta2.mutable_data(), by_scale.mutable_data(), spread.mutable_data()};
  auto* flags = reinterpret_cast<unsigned char*>(served.mutable_data());
  {
    const py::gil_scoped_release release;
    plan.plan.gradient(clusters.batch, clusters.table(), clusters.n_species, envelope.data(), scale, values.data(),
                       misfit, out, flags, n_threads);
  }
  using py::arg;
  return py::dict(arg("g") = g, arg("misfit") = error, arg("positions") = moved, arg("u") = u, arg("delta2") = delta2,
                  arg("scale") = by_scale, arg("spread") = spread, arg("served") = served);
}

}  // namespace

void register_pdf_plan(py::module_& m) {
  using py::arg;
  py::class_<Plan>(m, "PdfPlan", "Tables that turn clusters into PDFs, for one set of parameters.")
      .def(py::init(&make_plan), py::kw_only(), arg("qstep"), arg("n_q"), arg("k_first"), arg("delta1"), arg("delta2"),
           arg("qbroad"), arg("u"), arg("d_min"), arg("d_max"), arg("length"), arg("rstep"), arg("first"), arg("count"),
           arg("adjoint"))
      .def_static("bytes", &plan_bytes, py::kw_only(), arg("qstep"), arg("n_q"), arg("length"), arg("rstep"),
                  arg("count"), arg("adjoint"), "About what the tables of a plan take.")
      .def_property_readonly(
          "nearest", [](const Plan& plan) { return plan.plan.nearest(); }, "Shorter pairs are not served, Å.")
      .def("simulate", &simulate, arg("positions"), arg("offsets"), arg("species").none(true),
           arg("factors").none(true), arg("envelope"), arg("n_threads"),
           "Envelope times G (clusters, points), and which clusters were served.")
      .def(
          "gradient", &gradient, arg("positions"), arg("offsets"), arg("species").none(true), arg("factors").none(true),
          arg("envelope"), arg("scale"), arg("values"), arg("misfit"), arg("n_threads"),
          "G, served, and derivatives of E by name; dE/dG = values, or E = misfit = sum (values - G)^2 / sum values^2. "
          "spread: sum of dE/dG G r^2.");
}

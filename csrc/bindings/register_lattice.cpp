#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <utility>

#include "clusters.hpp"
#include "lattice/lattice_kernels.hpp"
#include "lattice/nnls.hpp"
#include "lattice/polish.hpp"
#include "lattice/shapes.hpp"
#include "lattice/sites.hpp"
#include "lattice/target.hpp"
#include "lattice/walk.hpp"

namespace py = pybind11;

namespace {

using namespace hpcpdf_bindings;
using hpcpdf::Met;
using hpcpdf::Sites;
using hpcpdf::Target;
using Bytes = py::array_t<unsigned char, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;
using Classes = py::array_t<std::uint16_t, py::array::c_style | py::array::forcecast>;

void require_finite(const Doubles& positions) {
  const double* p = positions.data();
  require(std::all_of(p, p + positions.size(), [](double x) { return std::isfinite(x); }),
          "positions: expected finite numbers");
}

std::unique_ptr<Sites> make_sites(const Doubles& positions, const Indices& neighbours, const Indices& level,
                                  const Doubles& height, const Doubles& normal, const Indices& kind, const Bytes& edge,
                                  double scale, const Classes& table, std::size_t n_classes) {
  require(positions.ndim() == 2 && positions.shape(1) == 3, "positions: expected shape (sites, 3)");
  require_finite(positions);
  const auto n = positions.shape(0);
  require(neighbours.ndim() == 2 && neighbours.shape(0) == n, "neighbours: expected shape (sites, k)");
  require(normal.ndim() == 2 && normal.shape(1) == 3, "normal: expected shape (facets, 3)");
  const auto n_facets = normal.shape(0);
  require(level.ndim() == 2 && level.shape(0) == n_facets && level.shape(1) == n,
          "level: expected shape (facets, sites)");
  require(height.ndim() == 2 && height.shape(0) == n_facets && height.shape(1) == n,
          "height: expected shape (facets, sites)");
  require(kind.ndim() == 1 && kind.size() == n_facets, "kind: expected one value per facet");
  require(edge.ndim() == 1 && edge.size() == n, "edge: expected one value per site");
  hpcpdf::SitesData data{};
  data.positions = positions.data();
  data.neighbour = neighbours.data();
  data.level = level.data();
  data.height = height.data();
  data.normal = normal.data();
  data.kind = kind.data();
  data.edge = edge.data();
  data.n = static_cast<std::size_t>(n);
  data.n_neighbours = static_cast<std::size_t>(neighbours.shape(1));
  data.n_facets = static_cast<std::size_t>(n_facets);
  hpcpdf::PairClasses classes;
  classes.scale = static_cast<float>(scale);
  classes.table.assign(table.data(), table.data() + table.size());
  classes.count = n_classes;
  return std::make_unique<Sites>(data, std::move(classes));
}

std::unique_ptr<Target> make_target(const Doubles& data, const Doubles& shells, const py::object& rho,
                                    double rate_max) {
  require(data.ndim() == 1, "data: expected one dimension");
  require(shells.ndim() == 2 && shells.shape(1) == data.size(), "shells: expected shape (classes, points)");
  const Doubles values = rho.is_none() ? Doubles() : Doubles::ensure(rho);
  require(rho.is_none() || (values.ndim() == 1 && values.size() == data.size()), "rho: expected one value per point");
  return std::make_unique<Target>(data.data(), shells.data(), rho.is_none() ? nullptr : values.data(),
                                  static_cast<std::size_t>(shells.shape(0)), static_cast<std::size_t>(data.size()),
                                  rate_max);
}

void check_match(const Sites& sites, const Target& target) {
  require(sites.classes().count == target.n_classes, "target: expected one shell per class of distances");
}

py::dict as_dict(const Met& met) {
  py::dict out;
  out["misfit"] = met.misfit;
  out["rate"] = met.rate;
  out["energy"] = met.energy;
  out["missing"] = met.missing;
  out["key"] = met.key;
  out["sites"] = Indices(static_cast<py::ssize_t>(met.sites.size()), met.sites.data());
  return out;
}

py::list as_list(const std::vector<Met>& found) {
  py::list out;
  for (const Met& met : found) out.append(as_dict(met));
  return out;
}

py::list as_list(const std::vector<hpcpdf::WalkResult>& results) {
  py::list out;
  for (const auto& result : results) {
    py::dict one;
    one["best"] = as_list(result.best);
    one["steps"] = result.steps;
    one["accepted"] = result.accepted;
    one["exchanged"] = result.exchanged;
    out.append(one);
  }
  return out;
}

std::vector<std::int32_t> as_vector(const Indices& sites) {
  require(sites.ndim() == 1, "sites: expected one dimension");
  return {sites.data(), sites.data() + sites.size()};
}

py::list walks(const Sites& sites, const Target& target, const std::vector<std::vector<Indices>>& starts,
               const std::vector<double>& rates, const std::vector<std::uint64_t>& seeds,
               const std::vector<double>& powers, std::size_t rounds, std::size_t steps,
               const std::array<double, 4>& shares, double bond_cost, double usual_missing, double stop,
               std::size_t least_atoms, std::size_t most_atoms, std::size_t least_bonds, std::size_t keep,
               int n_threads) {
  check_match(sites, target);
  const std::size_t n = starts.size();
  require(rates.size() == n && seeds.size() == n, "rates, seeds: expected one per walk");
  hpcpdf::WalkSettings common;
  common.powers = powers;
  common.rounds = rounds;
  common.steps = steps;
  common.share_facets = shares[0];
  common.share_atoms = shares[1];
  common.share_rows = shares[2];
  common.share_terraces = shares[3];
  common.bond_cost = bond_cost;
  common.usual_missing = usual_missing;
  common.stop = stop;
  common.least_atoms = least_atoms;
  common.most_atoms = most_atoms;
  common.least_bonds = least_bonds;
  common.keep = keep;
  std::vector<hpcpdf::WalkSettings> settings(n, common);
  std::vector<std::vector<std::vector<std::int32_t>>> begin(n);
  for (std::size_t i = 0; i < n; ++i) {
    settings[i].seed = seeds[i];
    for (const Indices& start : starts[i]) begin[i].push_back(as_vector(start));
  }
  std::vector<hpcpdf::WalkResult> results;
  {
    const py::gil_scoped_release release;
    results = hpcpdf::walks(sites, target, begin, rates, settings, n_threads);
  }
  return as_list(results);
}

py::list polish(const Sites& sites, const Target& target, const std::vector<Indices>& starts,
                const std::vector<double>& rates, std::size_t rounds, std::size_t tenure, std::size_t patience,
                std::size_t most_changes, double bond_cost, double usual_missing, double stop, std::size_t least_atoms,
                std::size_t least_bonds, std::size_t keep, int n_threads) {
  check_match(sites, target);
  require(rates.size() == starts.size(), "rates: expected one per start");
  hpcpdf::PolishSettings settings;
  settings.rounds = rounds;
  settings.tenure = tenure;
  settings.patience = patience;
  settings.most_changes = most_changes;
  settings.bond_cost = bond_cost;
  settings.usual_missing = usual_missing;
  settings.stop = stop;
  settings.least_atoms = least_atoms;
  settings.least_bonds = least_bonds;
  settings.keep = keep;
  std::vector<std::vector<std::int32_t>> begin;
  for (const Indices& start : starts) begin.push_back(as_vector(start));
  std::vector<hpcpdf::WalkResult> results;
  {
    const py::gil_scoped_release release;
    results = hpcpdf::polish_all(sites, target, begin, rates, settings, n_threads);
  }
  return as_list(results);
}

py::tuple score(const Target& target, const Indices& counts, double rate) {
  require(counts.ndim() == 1 && static_cast<std::size_t>(counts.size()) == target.n_classes,
          "counts: expected one value per shell");
  const auto found = hpcpdf::score(target, counts.data(), rate);
  return py::make_tuple(found.misfit, found.rate);
}

py::list shapes(const Sites& sites, const Target& target, std::uint64_t seed, std::size_t count,
                std::size_t least_atoms, std::size_t most_atoms, const Doubles& centres, double off_centre, double rate,
                double bond_cost, double usual_missing, std::size_t keep, int n_threads) {
  check_match(sites, target);
  require(centres.ndim() == 2 && centres.shape(1) == 3, "centres: expected shape (n, 3)");
  hpcpdf::ShapeSettings settings;
  settings.seed = seed;
  settings.count = count;
  settings.least_atoms = least_atoms;
  settings.most_atoms = most_atoms;
  settings.centres = centres.data();
  settings.n_centres = static_cast<std::size_t>(centres.shape(0));
  settings.off_centre = off_centre;
  settings.keep = keep;
  settings.bond_cost = bond_cost;
  settings.usual_missing = usual_missing;
  std::vector<Met> found;
  {
    const py::gil_scoped_release release;
    found = hpcpdf::shapes(sites, target, settings, rate, n_threads);
  }
  return as_list(found);
}

py::tuple nnls(const Doubles& columns, const Doubles& data, double tolerance, const std::vector<std::size_t>& start) {
  require(columns.ndim() == 2 && data.ndim() == 1 && columns.shape(1) == data.size(),
          "columns: expected shape (n, points)");
  require(static_cast<std::size_t>(data.size()) % hpcpdf::wide == 0, "data: expected a multiple of 16 points");
  auto used = start;
  py::array_t<double> weights(columns.shape(0));
  double left;
  double* x = weights.mutable_data();
  {
    const py::gil_scoped_release release;
    left = hpcpdf::nnls(columns.data(), static_cast<std::size_t>(columns.shape(0)),
                        static_cast<std::size_t>(data.size()), data.data(), tolerance, used, x);
  }
  return py::make_tuple(weights, used, left);
}

py::tuple classes_of_pairs(const Doubles& positions, double scale, double reach) {
  require(positions.ndim() == 2 && positions.shape(1) == 3, "positions: expected shape (sites, 3)");
  require_finite(positions);
  std::vector<double> distance;
  hpcpdf::PairClasses classes;
  {
    const py::gil_scoped_release release;
    classes = hpcpdf::classes_of_pairs(positions.data(), static_cast<std::size_t>(positions.shape(0)), scale, reach,
                                       distance);
  }
  return py::make_tuple(Classes(static_cast<py::ssize_t>(classes.table.size()), classes.table.data()),
                        Doubles(static_cast<py::ssize_t>(distance.size()), distance.data()));
}

Indices shell_counts(const Sites& sites, const Indices& occupied) {
  const auto counts = hpcpdf::shell_counts(sites, as_vector(occupied));
  return Indices(static_cast<py::ssize_t>(counts.size()), counts.data());
}

}  // namespace

void register_lattice(py::module_& m) {
  using py::arg;
  py::class_<Sites>(m, "LatticeSites", "Sites of a template, with neighbours, facets and classes of distances.")
      .def(py::init(&make_sites), py::kw_only(), arg("positions"), arg("neighbours"), arg("level"), arg("height"),
           arg("normal"), arg("kind"), arg("edge"), arg("scale"), arg("table"), arg("n_classes"))
      .def("shell_counts", &shell_counts, arg("occupied"), "Pairs of each class among occupied sites.");
  py::class_<Target>(m, "LatticeTarget", "A weighted PDF and the weighted shells that may make it up.")
      .def(py::init(&make_target), py::kw_only(), arg("data"), arg("shells"), arg("rho").none(true), arg("rate_max"));
  m.def("lattice_walks", &walks, py::kw_only(), arg("sites"), arg("target"), arg("starts"), arg("rates"), arg("seeds"),
        arg("powers"), arg("rounds"), arg("steps"), arg("shares"), arg("bond_cost"), arg("usual_missing"), arg("stop"),
        arg("least_atoms"), arg("most_atoms"), arg("least_bonds"), arg("keep"), arg("n_threads"),
        "Walks of replicas among structures, a list of starts each; the best of each walk.");
  m.def("lattice_polish", &polish, py::kw_only(), arg("sites"), arg("target"), arg("starts"), arg("rates"),
        arg("rounds"), arg("tenure"), arg("patience"), arg("most_changes"), arg("bond_cost"), arg("usual_missing"),
        arg("stop"), arg("least_atoms"), arg("least_bonds"), arg("keep"), arg("n_threads"),
        "Descents by the best changes of one or two atoms, and on by tabu search; the best of each.");
  m.def("lattice_score", &score, arg("target"), arg("counts"), arg("rate"),
        "Misfit of shell counts, and the rate of the envelope that goes with it.");
  m.def("lattice_shapes", &shapes, py::kw_only(), arg("sites"), arg("target"), arg("seed"), arg("count"),
        arg("least_atoms"), arg("most_atoms"), arg("centres"), arg("off_centre"), arg("rate"), arg("bond_cost"),
        arg("usual_missing"), arg("keep"), arg("n_threads"), "The best of many random facet shapes.");
  m.def("nnls", &nnls, arg("columns"), arg("data"), arg("tolerance") = 0.0, arg("start") = std::vector<std::size_t>(),
        "Weights (n,) >= 0 of columns (n, points), the columns in use, and the norm of what is left.");
  m.def("classes_of_pairs", &classes_of_pairs, arg("positions"), arg("scale"), arg("reach"),
        "Table of classes by scale * d^2, and the distance of each class.");
}

#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "hpcpdf/debye.hpp"
#include "hpcpdf/nodes.hpp"
#include "hpcpdf/pdf_kernels.hpp"
#include "numbers.hpp"

namespace {

using hpcpdf::ClusterBatch;
using hpcpdf::DebyeSettings;
using hpcpdf::InstructionLevel;
using hpcpdf::Lines;

constexpr InstructionLevel levels[] = {InstructionLevel::baseline, InstructionLevel::avx2, InstructionLevel::avx512};

std::vector<double> random_positions(std::size_t n) {
  Numbers numbers;
  std::vector<double> positions(3 * n);
  for (double& x : positions) x = 20.0 * numbers();
  return positions;
}

double distance(const std::vector<double>& p, std::size_t i, std::size_t j) {
  return std::hypot(p[3 * i] - p[3 * j], p[3 * i + 1] - p[3 * j + 1], p[3 * i + 2] - p[3 * j + 2]);
}

void waves_follow_the_functions() {
  const std::size_t n_k = 2000;
  std::vector<double> sine(n_k), cosine(n_k);
  for (const InstructionLevel level : levels) {
    if (!hpcpdf::is_supported(level)) continue;
    for (const double x : {0.0, 1e-9, 0.3, 2.9, 13.0}) {
      for (const double a : {0.0, 1e-8, 1e-5, 3e-3}) {
        hpcpdf::pdf_kernels(level).wave_table(2.0, x, a, n_k, sine.data(), cosine.data());
        for (std::size_t k = 0; k < n_k; ++k) {
          const double q = static_cast<double>(k), envelope = std::exp(-a * q * q);
          // The phase itself is only known to rounding.
          const double tolerance = 2e-13 + 4e-16 * q * x;
          CHECK(check::near(sine[k], 2.0 * envelope * std::sin(q * x), 2.0 * tolerance));
          CHECK(check::near(cosine[k], envelope * std::cos(q * x), tolerance));
        }
        hpcpdf::pdf_kernels(level).wave_table(1.0, 0.0, a, n_k, sine.data(), cosine.data());
        for (std::size_t k = 0; k < n_k; ++k) {
          const double q = static_cast<double>(k), envelope = std::exp(-a * q * q);
          CHECK(check::near(cosine[k], envelope, 1e-12 * envelope + 1e-300));
        }
      }
    }
  }
}

// Everything that the loops of one level compute from the same input, in one list.
std::vector<double> all_outputs(const hpcpdf::PdfKernels& kernels) {
  Numbers numbers;
  constexpr std::size_t n = 37, n_k = 777;
  std::vector<double> weight(n), x(n), a(n), t(n), y(n), z(n);
  std::vector<std::size_t> lengths(n), first(n);
  for (std::size_t i = 0; i < n; ++i) {
    weight[i] = numbers();
    x[i] = 3.0 * numbers();
    y[i] = numbers();
    z[i] = numbers();
    a[i] = 1e-5 * numbers();
    t[i] = numbers() - 0.5;
    lengths[i] = i % 3 == 0 ? n_k - i : n_k;
    first[i] = static_cast<std::size_t>(700.0 * numbers());
  }
  std::vector<double> all;
  const auto keep = [&all](const std::vector<double>& part) { all.insert(all.end(), part.begin(), part.end()); };
  std::vector<double> sum(n_k, 0.0), damped(n_k, 0.0), row(n_k, 0.5), value(n), slope(n), block(4 * 8);
  kernels.add_lines(weight.data(), x.data(), lengths.data(), n, sum.data());
  kernels.add_damped_lines(weight.data(), x.data(), a.data(), lengths.data(), n, damped.data());
  const double* const rows[4] = {sum.data(), damped.data(), sum.data(), damped.data()};
  kernels.sine_rows(rows, x.data(), 5, n_k, block.data());
  kernels.distances(x.data(), y.data(), z.data(), 2, n, value.data());
  keep(std::vector<double>(value.begin() + 3, value.end()));
  hpcpdf::StencilWeights stencils;
  for (auto& coefficients : stencils.value) {
    for (double& c : coefficients) c = numbers();
  }
  for (auto& coefficients : stencils.slope) {
    for (double& c : coefficients) c = numbers();
  }
  kernels.add_stencils(stencils, first.data(), t.data(), n, row.data());
  kernels.read_stencils(stencils, first.data(), t.data(), n, sum.data(), value.data(), slope.data());
  for (const auto& part : {sum, damped, row, value, slope, block}) keep(part);
  return all;
}

// The same for the loops of a plan.
std::vector<double> plan_outputs(const hpcpdf::PdfKernels& kernels) {
  Numbers numbers;
  const auto random = [&numbers](std::size_t n) {
    std::vector<double> values(n);
    for (double& value : values) value = numbers();
    return values;
  };
  constexpr std::size_t n = 100, n_bins = 30, n_nodes = 3 * (n_bins - 1) + 8, n_blocks = 5, cells = 9, spread = 11;
  const auto x = random(n + 8), y = random(n + 8), z = random(n + 8);
  const hpcpdf::Coordinates atoms{x.data(), y.data(), z.data()};
  const hpcpdf::Bins bins{0.1, 1.2, 60.0, 20.0, n_bins};
  std::vector<double> all;
  const auto keep = [&all](const std::vector<double>& part) { all.insert(all.end(), part.begin(), part.end()); };
  std::vector<double> moments((n_bins + 1) * 8), nodes(n_nodes), coefficients((n_bins + 1) * 8, 0.0);
  kernels.add_moments(atoms, 3, 7, n, bins, moments.data());
  kernels.moments_to_nodes(hpcpdf::stencil_weights(), moments.data(), 0, n_bins, nodes.data());
  kernels.nodes_to_slopes(hpcpdf::stencil_weights(), nodes.data(), 60.0, 0, n_bins, coefficients.data());
  std::vector<double> force[3] = {x, y, z};
  double* const forces[3] = {force[0].data(), force[1].data(), force[2].data()};
  kernels.add_pulls(atoms, 3, 7, n, bins, coefficients.data(), forces);
  for (const auto& part : {moments, nodes, coefficients, force[0], force[1], force[2]}) keep(part);
  const auto table = random(n_blocks * n_nodes * 8), rows = random(n_nodes * 16);
  for (const std::size_t n_rows : {1, 2, 7, 16}) {
    std::vector<double> out(n_blocks * 8 * 16, 0.0);
    kernels.table_product(table.data(), n_nodes, 5, n_nodes - 3, 1, n_blocks, rows.data(), n_rows, out.data());
    // Columns beyond n_rows may hold anything.
    for (std::size_t k = 0; k < n_blocks * 8; ++k) all.insert(all.end(), &out[k * 16], &out[k * 16] + n_rows);
  }
  const auto coarse = random(cells + 12), taps = random(12 * 16), taps_back = random(spread * 16);
  std::vector<double> fine(cells * spread + 16), back(cells + 16);
  kernels.interpolate(coarse.data(), cells, taps.data(), spread, 16, fine.data());
  fine.resize(cells * spread);
  kernels.gather_taps(fine.data(), cells, taps_back.data(), spread, back.data());
  keep(fine);
  keep(back);
  return all;
}

void every_level_gives_the_same_bits() {
  const auto expected = all_outputs(hpcpdf::pdf_kernels(InstructionLevel::baseline));
  const auto expected_of_plan = plan_outputs(hpcpdf::pdf_kernels(InstructionLevel::baseline));
  for (const InstructionLevel level : levels) {
    if (!hpcpdf::is_supported(level)) continue;
    CHECK(all_outputs(hpcpdf::pdf_kernels(level)) == expected);
    CHECK(plan_outputs(hpcpdf::pdf_kernels(level)) == expected_of_plan);
  }
}

void equal_distances_are_merged() {
  // A cube: 12 edges, 12 face diagonals, 4 space diagonals.
  std::vector<double> cube;
  for (int corner = 0; corner < 8; ++corner) {
    for (int axis = 0; axis < 3; ++axis) cube.push_back(2.7 * ((corner >> axis) & 1));
  }
  const Lines lines = hpcpdf::pair_lines(cube.data(), nullptr, 8, 0.0, 100.0);
  CHECK(lines.size() == 3);
  double total = 0.0;
  for (const double count : lines.count) total += count;
  CHECK(total == 28.0);
  const double u[8] = {1, 1, 1, 1, 1, 1, 1, 2};
  CHECK(hpcpdf::pair_lines(cube.data(), u, 8, 0.0, 100.0).size() == 6);
  CHECK(hpcpdf::pair_lines(cube.data(), nullptr, 8, 0.0, 3.0).size() == 1);
  CHECK(hpcpdf::pair_lines(cube.data(), nullptr, 0, 0.0, 3.0).size() == 0);
  const std::vector<double> twice{1.0, 2.0, 3.0, 1.0, 2.0, 3.0};
  CHECK(hpcpdf::pair_lines(twice.data(), nullptr, 2, 0.0, 3.0).size() == 0);
}

std::vector<double> structure_function(const std::vector<double>& positions, const std::vector<double>& u,
                                       const DebyeSettings& settings, int n_threads) {
  const std::vector<std::size_t> offsets{0, u.size()};
  ClusterBatch batch;
  batch.positions = positions.data();
  batch.u = u.data();
  batch.offsets = offsets.data();
  batch.size = 1;
  std::vector<double> f(settings.grid.n);
  hpcpdf::debye_f(batch, settings, nullptr, 1, f.data(), n_threads);
  return f;
}

void debye_sum_is_the_double_sum() {
  const std::size_t n = 30;
  const auto positions = random_positions(n);
  for (const double delta2 : {0.0, 4.0}) {
    for (const std::size_t n_q : {std::size_t{1}, std::size_t{13}, std::size_t{256}, std::size_t{1300}}) {
      DebyeSettings settings;
      settings.grid = {0.02, n_q};
      settings.width.delta2 = delta2;
      settings.d_max = 100.0;
      const std::vector<double> u(n, 0.005);
      const auto f = structure_function(positions, u, settings, 1);
      double worst = 0.0, largest = 0.0;
      for (std::size_t k = 0; k < n_q; ++k) {
        const double q = settings.grid.step * static_cast<double>(k);
        double expected = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t j = 0; j < n; ++j) {
            if (i == j) continue;
            const double d = distance(positions, i, j);
            expected += std::exp(-0.5 * settings.width.variance(d, 0.01) * q * q) * std::sin(q * d) / d;
          }
        }
        expected /= static_cast<double>(n);
        worst = std::fmax(worst, std::fabs(f[k] - expected));
        largest = std::fmax(largest, std::fabs(expected));
      }
      CHECK(worst <= 1e-12 * std::fmax(largest, 1.0));
    }
  }
}

void huge_displacements_end_the_sum_quietly() {
  const auto positions = random_positions(5);
  DebyeSettings settings;
  settings.grid = {0.1, 300};
  settings.width.qbroad = 0.5;
  settings.d_max = 100.0;
  const auto f = structure_function(positions, std::vector<double>(5, 50.0), settings, 1);
  for (const double value : f) CHECK(std::isfinite(value));
  CHECK(f[0] == 0.0);
  CHECK(f.back() == 0.0);
}

void threads_give_the_same_bits() {
  const std::size_t n = 700;  // several units of parallel work
  const auto positions = random_positions(n);
  DebyeSettings settings;
  settings.grid = {0.1, 40};
  settings.d_max = 100.0;
  const std::vector<double> u(n, 0.004);
  CHECK(structure_function(positions, u, settings, 1) == structure_function(positions, u, settings, 3));
}

void sine_transform_is_the_sum() {
  Numbers numbers;
  const std::size_t rows = 5, n_q = 700, n_r = 21;
  std::vector<double> f(rows * n_q), r(n_r), out(rows * n_r);
  for (double& value : f) value = numbers() - 0.5;
  for (double& value : r) value = 30.0 * numbers();
  hpcpdf::sine_transform(f.data(), rows, {0.05, n_q}, 9, r.data(), n_r, out.data(), 2);
  for (std::size_t b = 0; b < rows; ++b) {
    for (std::size_t i = 0; i < n_r; ++i) {
      double expected = 0.0;
      for (std::size_t k = 9; k < n_q; ++k) expected += f[b * n_q + k] * std::sin(0.05 * static_cast<double>(k) * r[i]);
      CHECK(check::near(out[b * n_r + i], expected, 1e-11));
    }
  }
}

void nodes_reproduce_polynomials() {
  const auto positions = random_positions(20);
  const std::vector<std::size_t> offsets{0, 20};
  ClusterBatch batch;
  batch.positions = positions.data();
  batch.offsets = offsets.data();
  batch.size = 1;
  hpcpdf::NodeRange nodes;
  nodes.count = 64 * 40;
  nodes.d_max = 100.0;
  std::vector<double> histogram(nodes.count), field(nodes.count), gradient(60);
  hpcpdf::spread(batch, nodes, histogram.data(), 1);
  double cubes = 0.0, expected = 0.0, energy = 0.0;
  for (std::size_t m = 0; m < nodes.count; ++m) {
    const double x = static_cast<double>(m) * nodes.step;
    field[m] = x * x;
    cubes += histogram[m] * x * x * x;
  }
  hpcpdf::gather(batch, nodes, field.data(), &energy, gradient.data(), 1);
  double squares = 0.0;
  for (std::size_t i = 0; i < 20; ++i) {
    double slope = 0.0;
    for (std::size_t j = 0; j < 20; ++j) {
      const double d = distance(positions, i, j);
      expected += d * d * d;
      squares += d * d;
      slope += 4.0 * (positions[3 * i] - positions[3 * j]);
    }
    CHECK(check::near(gradient[3 * i], slope, 1e-7));
  }
  CHECK(check::near(cubes, expected, 1e-9 * expected));
  CHECK(check::near(energy, squares, 1e-9 * squares));
}

}  // namespace

int main() {
  waves_follow_the_functions();
  every_level_gives_the_same_bits();
  equal_distances_are_merged();
  debye_sum_is_the_double_sum();
  huge_displacements_end_the_sum_quietly();
  threads_give_the_same_bits();
  sine_transform_is_the_sum();
  nodes_reproduce_polynomials();
  return check::failures;
}

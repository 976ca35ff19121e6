#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "hpcpdf/pdf_plan.hpp"
#include "numbers.hpp"

namespace {

using hpcpdf::ClusterBatch;
using hpcpdf::PdfPlan;
using hpcpdf::PlanSettings;

constexpr double pi = 3.14159265358979323846;

std::vector<double> random_positions(std::size_t n) {
  Numbers numbers;
  std::vector<double> positions(3 * n);
  for (double& x : positions) x = numbers(0.0, 20.0);
  return positions;
}

PlanSettings settings_for(double r_step, std::size_t count) {
  PlanSettings settings;
  settings.grid = {pi / 40.0, 300};
  settings.k_first = 9;
  settings.u = 0.004;
  settings.width.qbroad = 0.01;
  settings.d_max = 40.0;
  settings.length = 36.0;
  settings.r_step = r_step;
  settings.first = 3;
  settings.count = count;
  return settings;
}

std::vector<double> simulate(const PlanSettings& settings, const std::vector<double>& positions,
                             const std::vector<std::size_t>& offsets, int n_threads) {
  ClusterBatch batch;
  batch.positions = positions.data();
  batch.offsets = offsets.data();
  batch.size = offsets.size() - 1;
  const std::vector<double> envelope(settings.count, 1.0);
  std::vector<double> g(batch.size * settings.count);
  std::vector<unsigned char> served(batch.size);
  PdfPlan(settings).simulate(batch, nullptr, 1, envelope.data(), g.data(), served.data(), n_threads);
  for (const unsigned char flag : served) CHECK(flag == 1);
  return g;
}

void a_plan_gives_the_direct_sum() {
  const auto positions = random_positions(40);
  for (const double r_step : {0.3, 0.05, 0.01, 0.001}) {
    const PlanSettings settings = settings_for(r_step, 200);
    const auto g = simulate(settings, positions, {0, 40}, 1);
    hpcpdf::DebyeSettings debye;
    debye.grid = settings.grid;
    debye.width = settings.width;
    debye.d_max = settings.d_max;
    const std::vector<double> u(40, settings.u);
    const std::vector<std::size_t> offsets{0, 40};
    ClusterBatch batch;
    batch.positions = positions.data();
    batch.u = u.data();
    batch.offsets = offsets.data();
    batch.size = 1;
    std::vector<double> f(settings.grid.n), r(settings.count), expected(settings.count);
    hpcpdf::debye_f(batch, debye, nullptr, 1, f.data(), 1);
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = r_step * static_cast<double>(settings.first + i);
    hpcpdf::sine_transform(f.data(), 1, settings.grid, settings.k_first, r.data(), r.size(), expected.data(), 1);
    double worst = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < r.size(); ++i) {
      expected[i] *= 2.0 / pi * settings.grid.step;
      worst = std::fmax(worst, std::fabs(g[i] - expected[i]));
      largest = std::fmax(largest, std::fabs(expected[i]));
    }
    CHECK(worst <= 3e-7 * largest);
  }
}

// A batch with a cluster that is cut into parts, on several threads, and each cluster alone.
void batches_threads_and_lengths_give_the_same_bits() {
  const auto positions = random_positions(1700 + 30 + 20);
  const std::vector<std::size_t> offsets{0, 30, 1730, 1750};
  const PlanSettings settings = settings_for(0.02, 400);
  const auto together = simulate(settings, positions, offsets, 1);
  CHECK(simulate(settings, positions, offsets, 3) == together);
  PlanSettings longer = settings;
  longer.length = 40.0;
  for (std::size_t b = 0; b < 3; ++b) {
    const std::vector<double> own(positions.begin() + 3 * static_cast<std::ptrdiff_t>(offsets[b]),
                                  positions.begin() + 3 * static_cast<std::ptrdiff_t>(offsets[b + 1]));
    const auto alone = simulate(longer, own, {0, offsets[b + 1] - offsets[b]}, 2);
    CHECK(alone == std::vector<double>(together.begin() + static_cast<std::ptrdiff_t>(b * settings.count),
                                       together.begin() + static_cast<std::ptrdiff_t>((b + 1) * settings.count)));
  }
}

}  // namespace

int main() {
  a_plan_gives_the_direct_sum();
  batches_threads_and_lengths_give_the_same_bits();
  return check::failures;
}

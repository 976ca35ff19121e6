#include "shell_columns.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hpcpdf/pdf_kernels.hpp"
#include "lattice_kernels.hpp"

namespace hpcpdf {

void sine_table(const QGrid& grid, std::size_t k_first, const double* r, std::size_t n_r, std::size_t points,
                double* sine) {
  std::vector<double> s(grid.n), c(grid.n);
  for (std::size_t p = 0; p < n_r; ++p) {
    pdf_kernels().wave_table(1.0, grid.step * r[p], 0.0, grid.n, s.data(), c.data());
    for (std::size_t k = 0; k < grid.n; ++k) sine[k * points + p] = k < k_first ? 0.0 : s[k];
  }
}

void shell_columns(const double* distance, const double* damping, std::size_t n, const QGrid& grid, double d_min,
                   double d_max, const double* sine, const double* weight, std::size_t points, double* out) {
  // As many shells at a time as stay in the cache with their waves.
  constexpr std::size_t block = 32;
  std::vector<double> waves(block * grid.n), cosine(grid.n);
  for (std::size_t begin = 0; begin < n; begin += block) {
    const std::size_t count = std::min(block, n - begin);
    for (std::size_t i = 0; i < count; ++i) {
      const double d = distance[begin + i];
      double* wave = &waves[i * grid.n];
      if (d < d_min || d > d_max || d <= 0.0) {
        std::fill(wave, wave + grid.n, 0.0);
      } else {
        pdf_kernels().wave_table(1.0 / d, grid.step * d, damping[begin + i], grid.n, wave, cosine.data());
      }
    }
    double* rows = out + begin * points;
    lattice_kernels().multiply(waves.data(), count, grid.n, sine, points, rows);
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t p = 0; p < points; ++p) rows[i * points + p] *= weight[p];
    }
  }
}

}  // namespace hpcpdf

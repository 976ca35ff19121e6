#include "hpcpdf/debye.hpp"

#include <algorithm>
#include <cmath>

#include "hpcpdf/parallel.hpp"
#include "hpcpdf/pdf_kernels.hpp"
#include "sorted_atoms.hpp"

namespace hpcpdf {
namespace {

// Pairs of one unit of parallel work: fixed, so that sums are added in the same order for any number of threads.
constexpr std::size_t chunk_pairs = 65536;
// exp(-700) is still a normal number; beyond it a contribution is nothing, and subnormal arithmetic is slow.
constexpr double negligible_exponent = 700.0;

// Where lines end: at the first k with |amplitude ff[k] exp(-a k^2)| <= precision, and where the Gaussian is nothing.
class Ends {
 public:
  Ends(double precision, const double* ff, std::size_t n) : precision_(precision), ff_(ff), n_(n) {
    for (std::size_t k = 0; ff && k + 1 < n && decreasing_; ++k) decreasing_ = std::fabs(ff[k + 1]) <= std::fabs(ff[k]);
  }

  std::size_t of(double amplitude, double a) const {
    std::size_t end = n_;
    if (a > 0.0) end = std::min(end, static_cast<std::size_t>(std::sqrt(negligible_exponent / a)) + 1);
    return precision_ > 0.0 ? std::min(end, first_below(amplitude, a)) : end;
  }

 private:
  bool below(double amplitude, double a, std::size_t k) const {
    const double q = static_cast<double>(k);
    return std::fabs(amplitude * (ff_ ? ff_[k] : 1.0) * std::exp(-a * q * q)) <= precision_;
  }

  std::size_t first_below(double amplitude, double a) const {
    if (!decreasing_) {
      std::size_t k = 0;
      while (k < n_ && !below(amplitude, a, k)) ++k;
      return k;
    }
    if (!below(amplitude, a, n_ - 1)) return n_;
    std::size_t low = 0, high = n_ - 1;  // below(high) holds
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (below(amplitude, a, middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  double precision_;
  const double* ff_;
  std::size_t n_;
  bool decreasing_ = true;
};

}  // namespace

double PeakWidth::variance(double distance, double msd) const {
  const double b = qbroad * distance;
  const double factor = 1.0 - delta1 / distance - delta2 / (distance * distance) + b * b;
  return factor > 0.0 && msd > 0.0 ? factor * msd : 0.0;
}

void debye_sum(const Lines& lines, const PeakWidth& width, const QGrid& grid, double precision, const double* ff,
               double* sum) {
  const std::size_t n_lines = lines.size();
  if (n_lines == 0 || grid.n == 0) return;
  const double half_step2 = 0.5 * grid.step * grid.step;
  const bool plain = width.delta1 == 0.0 && width.delta2 == 0.0 && width.qbroad == 0.0;
  std::vector<double> a(n_lines), own(grid.n, 0.0), weight(n_lines), x(n_lines);
  bool common = true;
  for (std::size_t i = 0; i < n_lines; ++i) {
    const double msd = lines.msd[i];
    a[i] = half_step2 * (plain ? std::fmax(msd, 0.0) : width.variance(lines.distance[i], msd));
    common = common && a[i] == a[0];
  }
  const Ends ends(precision, ff, grid.n);
  // Of lines with a common width the longest distance, with the smallest amplitude, ends first.
  const double longest = *std::max_element(lines.distance.begin(), lines.distance.end());
  const std::size_t n_all = ends.of(2.0 / longest, a[0]);
  std::vector<std::size_t> n_k(n_lines, grid.n);
  for (std::size_t i = 0; i < n_lines; ++i) {
    const double amplitude = 2.0 / lines.distance[i];
    weight[i] = amplitude * lines.count[i];
    x[i] = grid.step * lines.distance[i];
    if (!common || n_all < grid.n) n_k[i] = ends.of(amplitude, a[i]);
  }
  const PdfKernels& kernels = pdf_kernels();
  if (common) {
    kernels.add_lines(weight.data(), x.data(), n_k.data(), n_lines, own.data());
  } else {
    kernels.add_damped_lines(weight.data(), x.data(), a.data(), n_k.data(), n_lines, own.data());
  }
  for (std::size_t k = 0; k < grid.n; ++k) {
    const double q = static_cast<double>(k);
    sum[k] += common && a[0] > 0.0 ? own[k] * std::exp(-a[0] * q * q) : own[k];
  }
}

namespace {

// Rows [row_first, row_last) of the pair triangle of one cluster.
struct Chunk {
  std::size_t cluster, row_first, row_last;
};

std::vector<Chunk> make_chunks(const ClusterBatch& batch) {
  std::vector<Chunk> chunks;
  for (std::size_t b = 0; b < batch.size; ++b) {
    const std::size_t n = batch.offsets[b + 1] - batch.offsets[b];
    std::size_t first = 0, pairs = 0;
    for (std::size_t i = 0; i < n; ++i) {
      pairs += n - 1 - i;
      if (pairs >= chunk_pairs || i + 1 == n) {
        chunks.push_back({b, first, i + 1});
        first = i + 1;
        pairs = 0;
      }
    }
  }
  return chunks;
}

// Lines between rows [i0, i1) and atoms [j0, j1), j > i.
Lines block_lines(const SortedAtoms& atoms, std::size_t i0, std::size_t i1, std::size_t j0, std::size_t j1,
                  double d_min, double d_max) {
  LineBuilder builder;
  std::vector<double> distance(atoms.size());
  const PdfKernels& kernels = pdf_kernels();
  for (std::size_t i = i0; i < i1; ++i) {
    kernels.distances(atoms.x.data(), atoms.y.data(), atoms.z.data(), i, j1, distance.data());
    for (std::size_t j = std::max(j0, i + 1); j < j1; ++j) {
      const double d = distance[j];
      if (d > coincident && d >= d_min && d <= d_max) builder.add(d, atoms.u[i] + atoms.u[j]);
    }
  }
  return builder.finish();
}

// Contribution of one chunk to v(Q), scattering factors included.
void chunk_sum(const SortedAtoms& atoms, const Chunk& chunk, const DebyeSettings& settings, const double* factors,
               double* v) {
  const std::size_t n_q = settings.grid.n, n_species = atoms.bounds.size() - 1;
  std::vector<double> part(n_q), ff(factors ? n_q : 0);
  for (std::size_t s = 0; s < n_species; ++s) {
    const std::size_t i0 = std::max(chunk.row_first, atoms.bounds[s]);
    const std::size_t i1 = std::min(chunk.row_last, atoms.bounds[s + 1]);
    if (i0 >= i1) continue;
    for (std::size_t t = s; t < n_species; ++t) {
      const Lines lines =
          block_lines(atoms, i0, i1, atoms.bounds[t], atoms.bounds[t + 1], settings.d_min, settings.d_max);
      for (std::size_t k = 0; k < ff.size(); ++k) ff[k] = factors[s * n_q + k] * factors[t * n_q + k];
      std::fill(part.begin(), part.end(), 0.0);
      debye_sum(lines, settings.width, settings.grid, settings.precision, factors ? ff.data() : nullptr, part.data());
      for (std::size_t k = 0; k < n_q; ++k) v[k] += factors ? ff[k] * part[k] : part[k];
    }
  }
}

// v / (N <f>^2) in place.
void normalise(const SortedAtoms& atoms, const double* factors, std::size_t n_q, double* v) {
  const double n = static_cast<double>(atoms.size());
  for (std::size_t k = 0; k < n_q; ++k) {
    double mean = 1.0;
    if (factors) {
      double total = 0.0;
      for (std::size_t s = 0; s + 1 < atoms.bounds.size(); ++s) {
        total += static_cast<double>(atoms.bounds[s + 1] - atoms.bounds[s]) * factors[s * n_q + k];
      }
      mean = total / n;
    }
    const double denominator = n * mean * mean;
    v[k] = denominator == 0.0 && v[k] == 0.0 ? 0.0 : v[k] / denominator;
  }
}

}  // namespace

void debye_f(const ClusterBatch& batch, const DebyeSettings& settings, const double* factors, std::size_t n_species,
             double* out, int n_threads) {
  const std::size_t n_q = settings.grid.n;
  std::vector<SortedAtoms> sorted(batch.size);
  parallel_for(batch.size, n_threads, [&](std::size_t b) { sorted[b] = sort_by_species(batch, b, n_species); });
  const std::vector<Chunk> chunks = make_chunks(batch);
  // A cluster with one chunk writes straight into its row; the parts of larger ones are added afterwards, in order.
  std::vector<std::size_t> n_chunks(batch.size, 0);
  for (const Chunk& chunk : chunks) ++n_chunks[chunk.cluster];
  std::vector<std::vector<double>> parts(chunks.size());
  std::fill(out, out + batch.size * n_q, 0.0);
  parallel_for(chunks.size(), n_threads, [&](std::size_t c) {
    const Chunk& chunk = chunks[c];
    const bool only = n_chunks[chunk.cluster] == 1;
    if (!only) parts[c].assign(n_q, 0.0);
    double* v = only ? out + chunk.cluster * n_q : parts[c].data();
    chunk_sum(sorted[chunk.cluster], chunk, settings, factors, v);
    if (only) normalise(sorted[chunk.cluster], factors, n_q, v);
  });
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    double* v = out + chunks[c].cluster * n_q;
    for (std::size_t k = 0; k < parts[c].size(); ++k) v[k] += parts[c][k];
  }
  for (std::size_t b = 0; b < batch.size; ++b) {
    if (n_chunks[b] > 1) normalise(sorted[b], factors, n_q, out + b * n_q);
  }
}

void sine_transform(const double* f, std::size_t n_rows, const QGrid& grid, std::size_t k_first, const double* r,
                    std::size_t n_r, double* out, int n_threads) {
  const std::size_t row_blocks = (n_rows + row_block - 1) / row_block, r_blocks = (n_r + lanes - 1) / lanes;
  const PdfKernels& kernels = pdf_kernels();
  parallel_for(row_blocks * r_blocks, n_threads, [&](std::size_t task) {
    const std::size_t row0 = task / r_blocks * row_block, i0 = task % r_blocks * lanes;
    const std::size_t rows = std::min(row_block, n_rows - row0), points = std::min(lanes, n_r - i0);
    const double* row[row_block];
    double x[lanes], block[row_block * lanes];
    for (std::size_t b = 0; b < row_block; ++b) row[b] = f + (row0 + std::min(b, rows - 1)) * grid.n;
    for (std::size_t l = 0; l < lanes; ++l) x[l] = grid.step * r[i0 + std::min(l, points - 1)];
    kernels.sine_rows(row, x, k_first, grid.n, block);
    for (std::size_t b = 0; b < rows; ++b) {
      std::copy(block + b * lanes, block + b * lanes + points, out + (row0 + b) * n_r + i0);
    }
  });
}

}  // namespace hpcpdf

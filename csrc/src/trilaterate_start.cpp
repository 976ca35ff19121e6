// Starts for problems that the closed form does not cover, by classical scaling.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "trilaterate_dense.hpp"

namespace hpcpdf::trilaterate {
namespace {

constexpr int kVectors = 6;   // of the subspace iteration, twice what is wanted
constexpr int kRounds = 100;  // enough for a start: eigenvalues 10 % apart are told apart to 1e-4

// Pairwise distances of atoms and satellites, infinite where nothing is known, then shortest paths.
std::vector<double> complete_distances(const Dense& q, const std::vector<int>& used) {
  const int total = q.n + static_cast<int>(used.size());
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> d(static_cast<std::size_t>(total) * total, infinity);
  const auto set = [&](int i, int j, double value) {
    d[static_cast<std::size_t>(i) * total + j] = d[static_cast<std::size_t>(j) * total + i] = std::max(value, 0.0);
  };
  bool missing = false;
  for (int i = 0; i < total; ++i) set(i, i, 0.0);
  for (int i = 0; i < q.n; ++i) {
    for (int j = 0; j < i; ++j) {
      if (q.weight(i, j) > 0.0) {
        set(i, j, q.distance(i, j));
      } else {
        missing = true;
      }
    }
    for (std::size_t k = 0; k < used.size(); ++k) {
      if (q.anchor_weight(i, used[k]) > 0.0) {
        set(i, q.n + static_cast<int>(k), q.anchor(i, used[k]));
      } else {
        missing = true;
      }
    }
  }
  for (std::size_t k = 0; k < used.size(); ++k) {
    for (std::size_t l = 0; l < k; ++l) {
      const double* a = q.points + 3 * used[k];
      const double* b = q.points + 3 * used[l];
      set(q.n + static_cast<int>(k), q.n + static_cast<int>(l), std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]));
    }
  }
  if (!missing) return d;
  for (int k = 0; k < total; ++k) {
    const double* through = d.data() + static_cast<std::size_t>(k) * total;
    for (int i = 0; i < total; ++i) {
      double* row = d.data() + static_cast<std::size_t>(i) * total;
      const double first = row[k];
      if (first == infinity) continue;
      for (int j = 0; j < total; ++j) row[j] = std::min(row[j], first + through[j]);
    }
  }
  // Parts without any connection: some distance of the size of the box.
  for (double& value : d) value = value == infinity ? 1.5 : value;
  return d;
}

void orthonormalise(std::vector<double>& v, int rows) {
  for (int k = 0; k < kVectors; ++k) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int l = 0; l < k; ++l) {
        double dot = 0.0;
        for (int i = 0; i < rows; ++i) dot += v[i * kVectors + k] * v[i * kVectors + l];
        for (int i = 0; i < rows; ++i) v[i * kVectors + k] -= dot * v[i * kVectors + l];
      }
    }
    double norm = 0.0;
    for (int i = 0; i < rows; ++i) norm += v[i * kVectors + k] * v[i * kVectors + k];
    norm = norm > 1e-200 ? 1.0 / std::sqrt(norm) : 0.0;
    for (int i = 0; i < rows; ++i) v[i * kVectors + k] *= norm;
  }
}

// Coordinates (rows, 3) whose scalar products are nearest to the double-centred squared distances.
std::vector<double> embed(std::vector<double>& d, int rows) {
  std::vector<double> mean(rows, 0.0);
  double all = 0.0;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < rows; ++j) {
      double& value = d[static_cast<std::size_t>(i) * rows + j];
      value *= value;
      mean[i] += value / rows;
    }
    all += mean[i] / rows;
  }
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < rows; ++j) {
      double& value = d[static_cast<std::size_t>(i) * rows + j];
      value = -0.5 * (value - mean[i] - mean[j] + all);
    }
  }
  // A fixed start that no structure is orthogonal to.
  std::vector<double> v(static_cast<std::size_t>(rows) * kVectors), next(v.size());
  for (std::size_t k = 0; k < v.size(); ++k) {
    const double t = (k + 1) * 0.7548776662466927;
    v[k] = t - std::floor(t) - 0.5;
  }
  orthonormalise(v, rows);
  const auto multiply = [&] {
    for (int i = 0; i < rows; ++i) {
      double sum[kVectors] = {};
      for (int j = 0; j < rows; ++j) {
        for (int k = 0; k < kVectors; ++k) sum[k] += d[static_cast<std::size_t>(i) * rows + j] * v[j * kVectors + k];
      }
      std::copy(sum, sum + kVectors, next.begin() + static_cast<std::ptrdiff_t>(i) * kVectors);
    }
  };
  for (int round = 0; round < kRounds; ++round) {
    multiply();
    v.swap(next);
    orthonormalise(v, rows);
  }
  multiply();
  double small[kVectors * kVectors] = {}, values[kVectors], axes[kVectors * kVectors];
  for (int i = 0; i < rows; ++i) {
    for (int k = 0; k < kVectors; ++k) {
      for (int l = 0; l < kVectors; ++l) {
        small[k * kVectors + l] +=
            0.5 * (v[i * kVectors + k] * next[i * kVectors + l] + v[i * kVectors + l] * next[i * kVectors + k]);
      }
    }
  }
  symmetric_eigen(kVectors, small, values, axes);
  std::vector<double> x(static_cast<std::size_t>(rows) * 3, 0.0);
  for (int c = 0; c < 3; ++c) {
    const int k = kVectors - 1 - c;
    const double length = std::sqrt(std::max(values[k], 0.0));
    for (int i = 0; i < rows; ++i) {
      for (int l = 0; l < kVectors; ++l) x[3 * i + c] += length * v[i * kVectors + l] * axes[l * kVectors + k];
    }
  }
  return x;
}

// The orthogonal matrix R that brings `from` nearest to `to` (both (count, 3) about their means): R = argmin |R f - t|.
// Horn's quaternions give the best rotation; with `reflect`, the best one of the reflected points. Returns the overlap.
double best_rotation(const double* from, const double* to, int count, bool reflect, double (&r)[9]) {
  double m[9] = {};
  for (int k = 0; k < count; ++k) {
    for (int a = 0; a < 3; ++a) {
      for (int b = 0; b < 3; ++b) m[3 * a + b] += (reflect ? -1.0 : 1.0) * from[3 * k + a] * to[3 * k + b];
    }
  }
  double q[16] = {m[0] + m[4] + m[8], m[5] - m[7],        m[6] - m[2],        m[1] - m[3],
                  m[5] - m[7],        m[0] - m[4] - m[8], m[1] + m[3],        m[6] + m[2],
                  m[6] - m[2],        m[1] + m[3],        m[4] - m[0] - m[8], m[5] + m[7],
                  m[1] - m[3],        m[6] + m[2],        m[5] + m[7],        m[8] - m[0] - m[4]};
  double values[4], vectors[16];
  symmetric_eigen(4, q, values, vectors);
  const double w = vectors[3], x = vectors[7], y = vectors[11], z = vectors[15], s = reflect ? -1.0 : 1.0;
  const double rotation[9] = {
      w * w + x * x - y * y - z * z, 2 * (x * y - w * z),           2 * (x * z + w * y),
      2 * (x * y + w * z),           w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
      2 * (x * z - w * y),           2 * (y * z + w * x),           w * w - x * x - y * y + z * z};
  for (int k = 0; k < 9; ++k) r[k] = s * rotation[k];
  return values[3];
}

}  // namespace

void scaling_start(const Dense& q, bool mirrored, double* x) {
  std::vector<int> used;
  for (int s = 0; s < q.satellites; ++s) {
    bool any = false;
    for (int i = 0; i < q.n; ++i) any = any || q.anchor_weight(i, s) > 0.0;
    if (any) used.push_back(s);
  }
  const int n = q.n, known = static_cast<int>(used.size()), rows = n + known;
  std::vector<double> d = complete_distances(q, used);
  std::vector<double> y = embed(d, rows);
  if (known == 0) {
    const double sign = mirrored ? -1.0 : 1.0;
    for (int k = 0; k < 3 * n; ++k) x[k] = std::clamp(sign * y[k], -1.0, 1.0);
    return;
  }
  double from_mean[3] = {}, to_mean[3] = {};
  for (int k = 0; k < known; ++k) {
    for (int c = 0; c < 3; ++c) {
      from_mean[c] += y[3 * (n + k) + c] / known;
      to_mean[c] += q.points[3 * used[k] + c] / known;
    }
  }
  std::vector<double> from(3 * used.size()), to(3 * used.size());
  for (int k = 0; k < known; ++k) {
    for (int c = 0; c < 3; ++c) {
      from[3 * k + c] = y[3 * (n + k) + c] - from_mean[c];
      to[3 * k + c] = q.points[3 * used[k] + c] - to_mean[c];
    }
  }
  // Satellites on a line or a single one leave a rotation open: turn the structure's middle towards that of the box.
  const Moments span(to.data(), nullptr, known);
  int pairs = known;
  if (span.rank(kExactlyFlat) < 2) {
    for (int c = 0; c < 3; ++c) {
      double middle = 0.0;
      for (int i = 0; i < n; ++i) middle += (y[3 * i + c] - from_mean[c]) / n;
      from.push_back(0.1 * middle);
      to.push_back(-0.1 * to_mean[c]);
    }
    ++pairs;
  }
  double plain[9], reflected[9];
  const double as_is = best_rotation(from.data(), to.data(), pairs, false, plain);
  const double turned = best_rotation(from.data(), to.data(), pairs, true, reflected);
  // Satellites in a plane fit either way up to rounding: then the caller asks for both, one after the other.
  const bool open = std::fabs(as_is - turned) <= 0.05 * std::max(as_is, turned);
  const double* r = (open ? mirrored : turned > as_is) ? reflected : plain;
  for (int i = 0; i < n; ++i) {
    for (int c = 0; c < 3; ++c) {
      double value = to_mean[c];
      for (int e = 0; e < 3; ++e) value += r[3 * c + e] * (y[3 * i + e] - from_mean[e]);
      x[3 * i + c] = std::clamp(value, -1.0, 1.0);
    }
  }
}

}  // namespace hpcpdf::trilaterate

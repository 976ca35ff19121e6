#include "trilaterate_dense.hpp"

#include <algorithm>
#include <cmath>

namespace hpcpdf::trilaterate {
namespace {

constexpr double kTiny = 1e-48;  // keeps 1/r finite for coincident atoms

double square(const double* p) { return p[0] * p[0] + p[1] * p[1] + p[2] * p[2]; }

// Adds one distance term at separation e: returns its cost.
double term(const double (&e)[3], double distance, double weight, double (&force)[3]) {
  const double r = std::sqrt(square(e) + kTiny);
  const double k = 2.0 * weight * (1.0 - distance / r);
  for (int c = 0; c < 3; ++c) force[c] = k * e[c];
  return weight * (r - distance) * (r - distance);
}

// The point at given distances from known ones by the linear equations; false when those do not span space.
bool linear_position(const std::vector<double>& points, const std::vector<double>& distances,
                     const std::vector<double>& weights, double* x) {
  const int count = static_cast<int>(distances.size());
  if (count < 4) return false;
  const Moments moments(points.data(), weights.data(), count);
  if (moments.rank(kTooFlat) < 3) return false;
  double total = 0.0, right[3] = {};
  for (const double w : weights) total += w;
  for (int s = 0; s < count; ++s) {
    const double b = square(&points[3 * s]) - distances[s] * distances[s];
    for (int c = 0; c < 3; ++c) right[c] += 0.5 * weights[s] / total * b * (points[3 * s + c] - moments.mean[c]);
  }
  double in_axes[3] = {};
  for (int k = 0; k < 3; ++k) {
    for (int c = 0; c < 3; ++c) in_axes[k] += moments.vectors[3 * c + k] * right[c] / moments.values[k];
  }
  for (int c = 0; c < 3; ++c) {
    double value = 0.0;
    for (int k = 0; k < 3; ++k) value += moments.vectors[3 * c + k] * in_axes[k];
    x[c] = std::clamp(value, -1.0, 1.0);
  }
  return true;
}

}  // namespace

void symmetric_eigen(int order, double* a, double* values, double* v) {
  for (int i = 0; i < order; ++i) {
    for (int j = 0; j < order; ++j) v[i * order + j] = i == j ? 1.0 : 0.0;
  }
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0.0, on = 0.0;
    for (int i = 0; i < order; ++i) {
      on += a[i * order + i] * a[i * order + i];
      for (int j = 0; j < i; ++j) off += a[i * order + j] * a[i * order + j];
    }
    if (off <= 1e-32 * on) break;
    for (int p = 0; p < order; ++p) {
      for (int q = p + 1; q < order; ++q) {
        const double apq = a[p * order + q];
        if (apq == 0.0) continue;
        const double theta = (a[q * order + q] - a[p * order + p]) / (2.0 * apq);
        const double t = (theta >= 0.0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1.0));
        const double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
        for (int k = 0; k < order; ++k) {
          const double x = a[k * order + p], y = a[k * order + q];
          a[k * order + p] = c * x - s * y;
          a[k * order + q] = s * x + c * y;
        }
        for (int k = 0; k < order; ++k) {
          const double x = a[p * order + k], y = a[q * order + k];
          a[p * order + k] = c * x - s * y;
          a[q * order + k] = s * x + c * y;
          const double u = v[k * order + p], w = v[k * order + q];
          v[k * order + p] = c * u - s * w;
          v[k * order + q] = s * u + c * w;
        }
      }
    }
  }
  for (int k = 0; k < order; ++k) values[k] = a[k * order + k];
  for (int k = 0; k < order; ++k) {
    const int least = static_cast<int>(std::min_element(values + k, values + order) - values);
    std::swap(values[k], values[least]);
    for (int i = 0; i < order; ++i) std::swap(v[i * order + k], v[i * order + least]);
  }
}

Moments::Moments(const double* points, const double* weights, int count) {
  double total = 0.0;
  for (int s = 0; s < count; ++s) {
    const double w = weights == nullptr ? 1.0 : weights[s];
    total += w;
    for (int c = 0; c < 3; ++c) mean[c] += w * points[3 * s + c];
  }
  if (!(total > 0.0)) return;
  for (double& m : mean) m /= total;
  double matrix[9] = {};
  for (int s = 0; s < count; ++s) {
    const double w = (weights == nullptr ? 1.0 : weights[s]) / total;
    for (int c = 0; c < 3; ++c) {
      for (int e = 0; e < 3; ++e)
        matrix[3 * c + e] += w * (points[3 * s + c] - mean[c]) * (points[3 * s + e] - mean[e]);
    }
  }
  symmetric_eigen(3, matrix, values, vectors);
}

int Moments::rank(double share) const {
  int r = 0;
  for (const double v : values) r += v > share * share * std::max(values[2], 1e-12) ? 1 : 0;
  return r;
}

void Dense::load(const Problem& q, const double* satellite_points, int n_satellites) {
  n = q.n;
  satellites = n_satellites;
  points = satellite_points;
  const std::size_t size = n, pairs = size * size;
  distances.assign(pairs, 0.0);
  weights.assign(pairs, 0.0);
  anchors.assign(size * satellites, 0.0);
  anchor_weights.assign(size * satellites, 0.0);
  sound = complete = true;
  const auto check = [this](double w, double d) {
    sound = sound && std::isfinite(w) && w >= 0.0 && (w == 0.0 || std::isfinite(d));
  };
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) {
      const double w[2] = {q.weights ? q.weights->at(i, j) : 1.0, q.weights ? q.weights->at(j, i) : 1.0};
      const double d[2] = {q.distances.at(i, j), q.distances.at(j, i)};
      double total = 0.0, product = 0.0;
      for (int k = 0; k < 2; ++k) {
        check(w[k], d[k]);
        total += w[k];
        product += w[k] == 0.0 ? 0.0 : w[k] * d[k];
      }
      complete = complete && total != 0.0;
      weights[i * size + j] = weights[j * size + i] = 0.5 * total;
      distances[i * size + j] = distances[j * size + i] = total > 0.0 ? product / total : 0.0;
    }
    for (int s = 0; s < satellites; ++s) {
      const double v = q.satellite_weights ? q.satellite_weights->at(i, s) : 1.0;
      const double a = q.satellites.at(i, s);
      check(v, a);
      complete = complete && v != 0.0;
      anchor_weights[i * static_cast<std::size_t>(satellites) + s] = v;
      anchors[i * static_cast<std::size_t>(satellites) + s] = v == 0.0 ? 0.0 : a;
    }
  }
}

double Dense::evaluate_atom(int i, const double* x, double* gradient) const {
  double f = 0.0, force[3];
  const double* xi = x + 3 * i;
  std::fill(gradient, gradient + 3, 0.0);
  for (int j = 0; j < i; ++j) {
    const double e[3] = {xi[0] - x[3 * j], xi[1] - x[3 * j + 1], xi[2] - x[3 * j + 2]};
    f += term(e, distance(i, j), weight(i, j), force);
    for (int c = 0; c < 3; ++c) gradient[c] += force[c];
  }
  for (int s = 0; s < satellites; ++s) {
    const double e[3] = {xi[0] - points[3 * s], xi[1] - points[3 * s + 1], xi[2] - points[3 * s + 2]};
    f += term(e, anchor(i, s), anchor_weight(i, s), force);
    for (int c = 0; c < 3; ++c) gradient[c] += force[c];
  }
  return f;
}

double Dense::evaluate(const double* x, double* gradient) const {
  double f = 0.0;
  std::fill(gradient, gradient + 3 * n, 0.0);
  for (int i = 0; i < n; ++i) {
    const double* xi = x + 3 * i;
    double force[3];
    for (int j = 0; j < i; ++j) {
      const double e[3] = {xi[0] - x[3 * j], xi[1] - x[3 * j + 1], xi[2] - x[3 * j + 2]};
      f += term(e, distance(i, j), weight(i, j), force);
      for (int c = 0; c < 3; ++c) {
        gradient[3 * i + c] += force[c];
        gradient[3 * j + c] -= force[c];
      }
    }
    for (int s = 0; s < satellites; ++s) {
      const double e[3] = {xi[0] - points[3 * s], xi[1] - points[3 * s + 1], xi[2] - points[3 * s + 2]};
      f += term(e, anchor(i, s), anchor_weight(i, s), force);
      for (int c = 0; c < 3; ++c) gradient[3 * i + c] += force[c];
    }
  }
  return f;
}

// Subtracting the mean of the equations |x|^2 - 2 p_s.x + |p_s|^2 = A_s^2 leaves 2 (p_s - mean).x = b_s - mean b with
// b_s = |p_s|^2 - A_s^2; the pseudo-inverse applied to b needs no mean of b, since its rows sum to zero.
Field make_field(const double* points, int count, std::vector<double>& matrix) {
  Field field;
  field.count = count;
  field.points = points;
  const Moments moments(points, nullptr, count);
  field.rank = count > 0 ? moments.rank(kExactlyFlat) : -1;
  field.good = field.rank == 3 && moments.rank(kTooFlat) == 3;
  matrix.assign(3 * static_cast<std::size_t>(count), 0.0);
  for (int s = 0; s < count; ++s) {
    double in_axes[3] = {};
    for (int k = 0; k < 3; ++k) {
      for (int c = 0; c < 3; ++c) in_axes[k] += moments.vectors[3 * c + k] * (points[3 * s + c] - moments.mean[c]);
    }
    for (int c = 0; c < 3; ++c) {
      double m = 0.0;
      for (int k = 3 - std::max(field.rank, 0); k < 3; ++k) {
        m += moments.vectors[3 * c + k] * in_axes[k] / moments.values[k];
      }
      m /= 2.0 * count;
      matrix[static_cast<std::size_t>(c) * count + s] = -m;
      field.offset[c] += m * square(points + 3 * s);
    }
  }
  field.matrix = matrix.data();
  return field;
}

bool multilaterate(const Dense& q, std::vector<char>& solved, double* x) {
  solved.assign(q.n, 0);
  int left = q.n;
  std::vector<double> points, distances, weights;
  for (bool grew = true; grew && left > 0;) {
    grew = false;
    for (int i = 0; i < q.n; ++i) {
      if (solved[i]) continue;
      points.clear(), distances.clear(), weights.clear();
      const auto use = [&](const double* p, double distance, double weight) {
        points.insert(points.end(), p, p + 3);
        distances.push_back(distance);
        weights.push_back(weight);
      };
      for (int s = 0; s < q.satellites; ++s) {
        if (q.anchor_weight(i, s) > 0.0) use(q.points + 3 * s, q.anchor(i, s), q.anchor_weight(i, s));
      }
      const bool alone = linear_position(points, distances, weights, x + 3 * i);
      if (!alone) {
        for (int j = 0; j < q.n; ++j) {
          if (solved[j] && q.weight(i, j) > 0.0) use(x + 3 * j, q.distance(i, j), q.weight(i, j));
        }
      }
      if (alone || linear_position(points, distances, weights, x + 3 * i)) {
        solved[i] = 1;
        --left;
        grew = true;
      }
    }
  }
  return left == 0;
}

}  // namespace hpcpdf::trilaterate

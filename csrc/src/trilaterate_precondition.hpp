// The inverse Hessian that L-BFGS starts from.
//
// Gauss-Newton diagonal blocks B_i and an exact correction on the smooth motions Z: three translations, three
// rotations and the breathing of the whole structure. With H the Gauss-Newton Hessian, H Z needs no pair sum: pair
// terms vanish for rigid motions, and for the breathing they are 2 sum_j (x_i - x_j) = 2 n (x_i - centroid). Then
//   z = B^-1 (g - H Z c) + Z c,   c = (Z' H Z)^-1 Z' g.
// Without weights the pair part of B_i is not summed either: 2 sum_j u u' has the trace 2 (n - 1), and its anisotropy
// is close to that of sum_j (x_i - x_j)(x_i - x_j)', which follows from the second moments.
#pragma once

#include <type_traits>

#include "trilaterate_cost.hpp"

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

// One structure a vector: sums over lanes, numbers and branches.
template <class R>
struct SingleMode {
  using V = typename R::V;
  using S = typename R::T;
  using B = bool;
  static HPCPDF_INLINE S total(V v) { return sum_lanes<R>(v); }
  static HPCPDF_INLINE S largest(V v) { return max_lanes<R>(v); }
  static HPCPDF_INLINE V spread(S s) { return splat<R>(s); }
  static HPCPDF_INLINE bool any(B b) { return b; }
  static HPCPDF_INLINE S number(typename R::T t) { return t; }
};

// One structure a lane.
template <class R>
struct LaneMode {
  using V = typename R::V;
  using S = V;
  using B = typename R::M;
  static HPCPDF_INLINE S total(V v) { return v; }
  static HPCPDF_INLINE S largest(V v) { return v; }
  static HPCPDF_INLINE V spread(S s) { return s; }
  static HPCPDF_INLINE bool any(B b) { return any_lane<R>(b); }
  static HPCPDF_INLINE S number(typename R::T t) { return splat<R>(t); }
};

// Symmetric 3x3: xx yy zz xy xz yz.
template <class V>
HPCPDF_INLINE void multiply(const V* a, const V (&v)[3], V (&out)[3]) {
  out[0] = a[0] * v[0] + a[3] * v[1] + a[4] * v[2];
  out[1] = a[3] * v[0] + a[1] * v[1] + a[5] * v[2];
  out[2] = a[4] * v[0] + a[5] * v[1] + a[2] * v[2];
}

template <class V>
HPCPDF_INLINE void invert(const V (&a)[6], V* out) {
  const V xx = a[1] * a[2] - a[5] * a[5], xy = a[4] * a[5] - a[3] * a[2], xz = a[3] * a[5] - a[4] * a[1];
  const V scale = about_one_over(a[0] * xx + a[3] * xy + a[4] * xz);
  out[0] = xx * scale;
  out[1] = (a[0] * a[2] - a[4] * a[4]) * scale;
  out[2] = (a[0] * a[1] - a[3] * a[3]) * scale;
  out[3] = xy * scale;
  out[4] = xz * scale;
  out[5] = (a[3] * a[4] - a[0] * a[5]) * scale;
}

template <class R, bool kLanes>
struct Preconditioner {
  using Mode = std::conditional_t<kLanes, LaneMode<R>, SingleMode<R>>;
  using T = typename R::T;
  using V = typename R::V;
  using S = typename Mode::S;
  using B = typename Mode::B;
  static constexpr int kModes = 7;
  // Weight of the moment approximation in the blocks, the rest being isotropic: the choice with fewest evaluations.
  static constexpr T kAnisotropy = T(0.7);

  int elements, satellites;
  S n;  // atoms
  const T* points;
  const V* valid;           // [element]
  const V* anchor_weights;  // [element][satellite] or nullptr
  const V* pair_blocks;     // [element][6], exact pair part of the blocks, or nullptr
  V* centred;               // [element][3]
  V* fixed;                 // [element][6], satellite part of the blocks
  V* inverse;               // [element][6]
  S coarse[kModes][kModes];
  S breathing;  // H z = S z + breathing q for the last mode, 0 without it

  void build(const V* x, bool keep_satellites) {
    centre(x);
    V moment[6] = {};
    for (int e = 0; e < elements; ++e) {
      const V* q = centred + 3 * e;
      moment[0] += q[0] * q[0];
      moment[1] += q[1] * q[1];
      moment[2] += q[2] * q[2];
      moment[3] += q[0] * q[1];
      moment[4] += q[0] * q[2];
      moment[5] += q[1] * q[2];
    }
    V second[6];
    for (int k = 0; k < 6; ++k) second[k] = Mode::spread(Mode::total(moment[k]));
    const V spread = second[0] + second[1] + second[2];
    breathing = pair_blocks == nullptr ? (n > T(1) ? T(2) * n : S{}) : S{};
    V sums[kModes * (kModes + 1) / 2] = {};
    for (int e = 0; e < elements; ++e) {
      if (!keep_satellites) satellite_block(x, e);
      V block[6];
      pair_block(e, second, spread, block);
      const V* s = fixed + 6 * e;
      for (int k = 0; k < 6; ++k) block[k] += s[k];
      // Padding and atoms without weights have nothing but the last term, whose cube must not vanish.
      const V ridge = T(1e-5) * (block[0] + block[1] + block[2]) + T(1e-9);
      for (int k = 0; k < 3; ++k) block[k] += ridge;
      invert(block, inverse + 6 * e);
      add_coarse(e, sums);
    }
    int at = 0;
    for (int k = 0; k < kModes; ++k) {
      for (int l = 0; l <= k; ++l) coarse[k][l] = Mode::total(sums[at++]);
    }
    if (pair_blocks != nullptr) {
      for (int l = 0; l < kModes; ++l) coarse[kModes - 1][l] = S{};
    }
    invert_coarse();
  }

  // q := M (q - factor y) in place; returns its product with y.
  S apply(V* q, const V* y, V factor) const {
    V sums[kModes] = {};
    for (int e = 0; e < elements; ++e) {
      const V* p = centred + 3 * e;
      V* g = q + 3 * e;
      for (int c = 0; c < 3; ++c) g[c] -= factor * y[3 * e + c];
      for (int c = 0; c < 3; ++c) sums[c] += g[c];
      sums[3] += p[1] * g[2] - p[2] * g[1];
      sums[4] += p[2] * g[0] - p[0] * g[2];
      sums[5] += p[0] * g[1] - p[1] * g[0];
      sums[6] += p[0] * g[0] + p[1] * g[1] + p[2] * g[2];
    }
    S t[kModes];
    for (int k = 0; k < kModes; ++k) t[k] = Mode::total(sums[k]);
    V c[kModes];
    for (int k = 0; k < kModes; ++k) {
      S sum = coarse[k][0] * t[0];
      for (int l = 1; l < kModes; ++l) sum += coarse[k][l] * t[l];
      c[k] = Mode::spread(sum);
    }
    const V growth = Mode::spread(breathing) * c[6];
    V product{};
    for (int e = 0; e < elements; ++e) {
      const V* p = centred + 3 * e;
      V* g = q + 3 * e;
      const V move[3] = {c[0] + c[4] * p[2] - c[5] * p[1] + c[6] * p[0], c[1] + c[5] * p[0] - c[3] * p[2] + c[6] * p[1],
                         c[2] + c[3] * p[1] - c[4] * p[0] + c[6] * p[2]};
      V rest[3], z[3];
      multiply(fixed + 6 * e, move, rest);
      for (int k = 0; k < 3; ++k) rest[k] = g[k] - rest[k] - growth * p[k];
      multiply(inverse + 6 * e, rest, z);
      for (int k = 0; k < 3; ++k) {
        g[k] = z[k] + move[k];
        product += y[3 * e + k] * g[k];
      }
    }
    return Mode::total(product);
  }

 private:
  void centre(const V* x) {
    V sums[3] = {};
    for (int e = 0; e < elements; ++e) {
      for (int c = 0; c < 3; ++c) sums[c] += x[3 * e + c];
    }
    V middle[3];
    for (int c = 0; c < 3; ++c) middle[c] = Mode::spread(Mode::total(sums[c]) / n);
    for (int e = 0; e < elements; ++e) {
      for (int c = 0; c < 3; ++c) centred[3 * e + c] = (x[3 * e + c] - middle[c]) * valid[e];
    }
  }

  HPCPDF_INLINE void satellite_block(const V* x, int e) {
    V b[6] = {};
    for (int s = 0; s < satellites; ++s) {
      const V dx = x[3 * e] - points[3 * s], dy = x[3 * e + 1] - points[3 * s + 1],
              dz = x[3 * e + 2] - points[3 * s + 2];
      V w = T(2) * about_one_over(squared<R>(dx, dy, dz));
      if (anchor_weights != nullptr) w *= anchor_weights[static_cast<std::size_t>(e) * satellites + s];
      const V wx = w * dx, wy = w * dy, wz = w * dz;
      b[0] += wx * dx;
      b[1] += wy * dy;
      b[2] += wz * dz;
      b[3] += wx * dy;
      b[4] += wx * dz;
      b[5] += wy * dz;
    }
    for (int k = 0; k < 6; ++k) fixed[6 * e + k] = b[k] * valid[e];
  }

  HPCPDF_INLINE void pair_block(int e, const V (&second)[6], V spread, V (&block)[6]) const {
    if (pair_blocks != nullptr) {
      for (int k = 0; k < 6; ++k) block[k] = pair_blocks[6 * e + k];
      return;
    }
    const V* q = centred + 3 * e;
    const V count = Mode::spread(n);
    const V trace = count * (q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) + spread + R::kTiny;
    const V scale = (kAnisotropy * T(2) * (count - 1)) * about_one_over(trace);
    const V round = ((T(1) - kAnisotropy) * T(2) / T(3)) * (count - 1);
    block[0] = scale * (count * q[0] * q[0] + second[0]) + round;
    block[1] = scale * (count * q[1] * q[1] + second[1]) + round;
    block[2] = scale * (count * q[2] * q[2] + second[2]) + round;
    block[3] = scale * (count * q[0] * q[1] + second[3]);
    block[4] = scale * (count * q[0] * q[2] + second[4]);
    block[5] = scale * (count * q[1] * q[2] + second[5]);
  }

  // Z' H Z of one element, lower triangle in row order.
  HPCPDF_INLINE void add_coarse(int e, V* sums) const {
    const V* q = centred + 3 * e;
    const V* s = fixed + 6 * e;
    const V zero{};
    const V z[4][3] = {
        {zero, V{} - q[2], q[1]}, {q[2], zero, V{} - q[0]}, {V{} - q[1], q[0], zero}, {q[0], q[1], q[2]}};
    V h[4][3];
    for (int k = 0; k < 4; ++k) multiply(s, z[k], h[k]);
    const V b = Mode::spread(breathing);
    sums[0] += s[0];
    sums[1] += s[3];
    sums[2] += s[1];
    sums[3] += s[4];
    sums[4] += s[5];
    sums[5] += s[2];
    int at = 6;
    for (int k = 0; k < 4; ++k) {
      for (int c = 0; c < 3; ++c) sums[at++] += h[k][c];
      for (int l = 0; l <= k; ++l) {
        V dot = h[k][0] * z[l][0] + h[k][1] * z[l][1] + h[k][2] * z[l][2];
        if (k == 3 && l == 3) dot += b * (q[0] * q[0] + q[1] * q[1] + q[2] * q[2]);
        sums[at++] += dot;
      }
    }
  }

  // Sweeps every mode that the distances hold; the others (no satellites, a single atom) get a zero row.
  void invert_coarse() {
    S diagonal[kModes];
    for (int k = 0; k < kModes; ++k) diagonal[k] = coarse[k][k];
    S most = diagonal[0];
    for (int k = 1; k < 3; ++k) most = most > diagonal[k] ? most : diagonal[k];
    for (int k = 0; k < kModes; ++k) {
      const S pivot = coarse[k][k];
      const B good = (pivot > T(1e-4) * diagonal[k]) & (pivot > T(1e-5) * most);
      const S scale = good ? T(1) / pivot : S{};
      S column[kModes];
      for (int i = 0; i < kModes; ++i) column[i] = i >= k ? coarse[i][k] : coarse[k][i];
      for (int i = 0; i < kModes; ++i) {
        if (i == k) continue;
        const S factor = column[i] * scale;
        for (int j = 0; j <= i; ++j) {
          if (j != k) coarse[i][j] -= factor * column[j];
        }
      }
      for (int i = 0; i < kModes; ++i) {
        const S value = column[i] * scale;
        if (i > k) {
          coarse[i][k] = value;
        } else {
          coarse[k][i] = value;
        }
      }
      coarse[k][k] = S{} - scale;
    }
    for (int k = 0; k < kModes; ++k) {
      for (int l = 0; l <= k; ++l) coarse[k][l] = coarse[l][k] = S{} - coarse[k][l];
    }
  }
};

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

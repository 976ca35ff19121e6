// Cost and gradient of the distances, in two layouts.
//
// Single: the lanes of a vector are W atoms of one structure. Atoms fill blocks of W; the pairs of two blocks form a
// tile of W vectors, one for each atom j of the second block. Only tiles of the upper triangle are visited; the forces
// on atom j are kept as one vector of partial sums until the end.
// Lanes: the lanes are W structures of about equal size, so that every atom and every pair has a vector; atoms that a
// structure does not have lie at the origin and count for nothing.
//
// Distances are kept as halves. Either way `Elements` counts vectors of atoms, and coordinates lie as x[3 * element +
// axis].
#pragma once

#include "trilaterate_simd.hpp"

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

template <class R>
struct Force {
  typename R::V x{}, y{}, z{};
};

template <class R>
HPCPDF_INLINE typename R::V squared(typename R::V dx, typename R::V dy, typename R::V dz) {
  return dx * dx + (dy * dy + (dz * dz + R::kTiny));
}

// The residual factor w (1 - D/r) of a pair, given half its distance and y = root_estimate(q); adds to the cost.
template <class R, bool kScaled>
HPCPDF_INLINE typename R::V pull(typename R::V q, typename R::V y, typename R::V half, typename R::V weight,
                                 typename R::V& cost) {
  using V = typename R::V;
  const V k = typename R::T(1) - twice_over_root(half, q, y);
  V kw = k;
  if constexpr (kScaled) kw = k * weight;
  cost += (k * kw) * q;
  return kw;
}

// The same, and half the gradient added to `on`.
template <class R, bool kScaled>
HPCPDF_INLINE typename R::V pair(typename R::V dx, typename R::V dy, typename R::V dz, typename R::V half,
                                 typename R::V weight, Force<R>& on, typename R::V& cost) {
  using V = typename R::V;
  const V q = squared<R>(dx, dy, dz);
  const V f = pull<R, kScaled>(q, root_estimate(q), half, weight, cost);
  on.x += f * dx;
  on.y += f * dy;
  on.z += f * dz;
  return f;
}

template <class R>
struct SingleLayout {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int W = R::W;

  static int elements(int n) { return (n + W - 1) / W; }
  static std::size_t tiles(int n) {
    const std::size_t b = elements(n);
    return b * (b + 1) / 2 * W;
  }
  // First vector of the tile of blocks I <= J.
  static std::size_t tile(int blocks, int i, int j) {
    return (static_cast<std::size_t>(i) * blocks - static_cast<std::size_t>(i) * (i - 1) / 2 + (j - i)) * W;
  }
};

template <class R, bool kWeighted>
struct SingleCost : SingleLayout<R> {
  using Layout = SingleLayout<R>;
  using Layout::W;
  using typename Layout::T;
  using typename Layout::V;

  int n, blocks, satellites;
  const T* points;     // (S, 3)
  const V* distances;  // tiles of halves
  const V* weights;    // tiles, when weighted
  const V* anchors;    // [block][satellite]
  const V* anchor_weights;
  V* reaction;     // [axis][atom], zero beyond atom n
  const V* below;  // below[j]: 1 in the lanes smaller than j
  const V* valid;  // [block]: 1 where there is an atom

  // The forces of tile (i, j) for one or two blocks i0, i0 + 1 against block j.
  template <bool kFirst, int kRows, int kDiagonal>
  HPCPDF_INLINE void tile_forces(const V* x, int i0, int j, Force<R> (&on)[2], V& cost) const {
    const T* other = reinterpret_cast<const T*>(x + 3 * j);
    const int count = j == blocks - 1 ? n - j * W : W;
    const std::size_t t0 = Layout::tile(blocks, i0, j);
    const std::size_t t1 = kRows == 2 ? Layout::tile(blocks, i0 + 1, j) : t0;
    V* rx = reaction + static_cast<std::size_t>(j) * W;
    V* ry = rx + static_cast<std::size_t>(blocks) * W;
    V* rz = ry + static_cast<std::size_t>(blocks) * W;
    const V x0 = x[3 * i0], y0 = x[3 * i0 + 1], z0 = x[3 * i0 + 2];
    const int i1 = kRows == 2 ? i0 + 1 : i0;
    const V x1 = x[3 * i1], y1 = x[3 * i1 + 1], z1 = x[3 * i1 + 2];
    for (int k = 0; k < count; ++k) {
      const V xj = splat<R>(other[k]), yj = splat<R>(other[W + k]), zj = splat<R>(other[2 * W + k]);
      V sx{}, sy{}, sz{};
      if constexpr (!kFirst) {
        sx = rx[k];
        sy = ry[k];
        sz = rz[k];
      }
      {
        const V dx = x0 - xj, dy = y0 - yj, dz = z0 - zj;
        V w{};
        if constexpr (kWeighted) w = weights[t0 + k];
        if constexpr (kDiagonal == 0) w = kWeighted ? w * below[k] : below[k];
        const V f = pair < R, kWeighted || kDiagonal == 0 > (dx, dy, dz, distances[t0 + k], w, on[0], cost);
        sx += f * dx;
        sy += f * dy;
        sz += f * dz;
      }
      if constexpr (kRows == 2) {
        const V dx = x1 - xj, dy = y1 - yj, dz = z1 - zj;
        V w{};
        if constexpr (kWeighted) w = weights[t1 + k];
        if constexpr (kDiagonal == 1) w = kWeighted ? w * below[k] : below[k];
        const V f = pair < R, kWeighted || kDiagonal == 1 > (dx, dy, dz, distances[t1 + k], w, on[1], cost);
        sx += f * dx;
        sy += f * dy;
        sz += f * dz;
      }
      rx[k] = sx;
      ry[k] = sy;
      rz[k] = sz;
    }
  }

  template <bool kFirst>
  HPCPDF_INLINE void rows(const V* x, V* g, int i, V& cost) const {
    Force<R> on[2];
    tile_forces<kFirst, 1, 0>(x, i, i, on, cost);
    if (i + 1 < blocks) {
      tile_forces<kFirst, 2, 1>(x, i, i + 1, on, cost);
      for (int j = i + 2; j < blocks; ++j) tile_forces<kFirst, 2, -1>(x, i, j, on, cost);
    }
    for (int b = 0; b < 2 && i + b < blocks; ++b) {
      g[3 * (i + b)] = on[b].x;
      g[3 * (i + b) + 1] = on[b].y;
      g[3 * (i + b) + 2] = on[b].z;
    }
  }

  // Returns the cost at x in lanes that have to be summed, and writes the gradient.
  V operator()(const V* x, V* g) const {
    V cost{};
    rows<true>(x, g, 0, cost);
    for (int i = 2; i < blocks; i += 2) rows<false>(x, g, i, cost);
    for (int i = 0; i < blocks; ++i) {
      Force<R> on;
      V part{};
      for (int s = 0; s < satellites; ++s) {
        const V dx = x[3 * i] - points[3 * s], dy = x[3 * i + 1] - points[3 * s + 1],
                dz = x[3 * i + 2] - points[3 * s + 2];
        const std::size_t k = static_cast<std::size_t>(i) * satellites + s;
        V w{};
        if constexpr (kWeighted) w = anchor_weights[k];
        pair<R, kWeighted>(dx, dy, dz, anchors[k], w, on, part);
      }
      cost += part * valid[i];
      const V* r = reaction + static_cast<std::size_t>(i) * W;
      const std::size_t stride = static_cast<std::size_t>(blocks) * W;
      g[3 * i] = T(2) * (g[3 * i] + valid[i] * on.x - row_sums<R>(r));
      g[3 * i + 1] = T(2) * (g[3 * i + 1] + valid[i] * on.y - row_sums<R>(r + stride));
      g[3 * i + 2] = T(2) * (g[3 * i + 2] + valid[i] * on.z - row_sums<R>(r + 2 * stride));
    }
    return cost;
  }
};

// Atoms j are taken in blocks that stay in the nearest cache while the atoms i before them pass by.
template <class R>
struct LaneCost {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int kBlock = 32;  // even

  int n, least;  // atoms of the largest and of the smallest structure
  int satellites;
  const T* points;
  const V* valid;      // [atom]: 1 in the lanes that have it
  const V* distances;  // [place(i, j)]
  const V* anchors;    // [atom][satellite]
  bool staged;         // how the work is laid out; the numbers are the same

  static std::size_t pairs(int n) { return static_cast<std::size_t>(n) * (n > 0 ? n - 1 : 0) / 2; }

  // Where the pair i < j lies: block of j after block, in it row i after row.
  static std::size_t place(int n, int i, int j) {
    const int b = j / kBlock * kBlock, width = (b + kBlock < n ? b + kBlock : n) - b;
    const std::size_t first = pairs(b) + static_cast<std::size_t>(i < b ? i : b) * width;
    const int row = i - b;  // within the triangle on the diagonal
    return i < b ? first + (j - b) : first + static_cast<std::size_t>(row) * (2 * width - row - 1) / 2 + (j - i - 1);
  }

  // From place(i, j) to place(i + 1, j), where i + 1 < j and both rows lie on one side of the diagonal block.
  static int to_next_row(int n, int i, int j) {
    const int b = j / kBlock * kBlock, width = (b + kBlock < n ? b + kBlock : n) - b;
    return i < b ? width : width - (i - b) - 2;
  }

  V operator()(const V* x, V* g) const {
    V cost{};
    for (int k = 0; k < 3 * n; ++k) g[k] = V{};
    for (int b = 0; b < n; b += kBlock) block(x, g, b, b + kBlock < n ? b + kBlock : n, cost);
    for (int i = 0; i < n; ++i) anchor(x, g, i, cost);
    return cost;
  }

 private:
  HPCPDF_INLINE void block(const V* x, V* g, int b, int end, V& cost) const {
    const V* d = distances + pairs(b);
    for (int i = 0; i < b; i += 2) {
      two_rows(x, g, i, b, end, d - b, d + (end - b) - b, Force<R>(), Force<R>(), cost);
      d += 2 * (end - b);
    }
    for (int i = b; i + 1 < end; i += 2) {
      Force<R> on0, on1;
      const V dx = x[3 * i] - x[3 * i + 3], dy = x[3 * i + 1] - x[3 * i + 4], dz = x[3 * i + 2] - x[3 * i + 5];
      const V f = pair<R, true>(dx, dy, dz, d[0], valid[i + 1], on0, cost);
      on1.x -= f * dx;
      on1.y -= f * dy;
      on1.z -= f * dz;
      two_rows(x, g, i, i + 2, end, d - (i + 1), d + (end - i - 1) - (i + 2), on0, on1, cost);
      d += (end - i - 1) + (end - i - 2);
    }
  }

  // Atoms i and i + 1 against those of [first, end).
  HPCPDF_INLINE void two_rows(const V* x, V* g, int i, int first, int end, const V* d0, const V* d1, Force<R> on0,
                              Force<R> on1, V& cost) const {
    const int all = least < first ? first : least < end ? least : end;
    if (staged) {
      staged_columns<false>(x, g, i, first, all, d0, d1, on0, on1, cost);
      staged_columns<true>(x, g, i, all, end, d0, d1, on0, on1, cost);
    } else {
      columns<false>(x, g, i, first, all, d0, d1, on0, on1, cost);
      columns<true>(x, g, i, all, end, d0, d1, on0, on1, cost);
    }
    g[3 * i] += on0.x;
    g[3 * i + 1] += on0.y;
    g[3 * i + 2] += on0.z;
    g[3 * i + 3] += on1.x;
    g[3 * i + 4] += on1.y;
    g[3 * i + 5] += on1.z;
  }

  // Two atoms i share the loads and stores of atom j. Masked: not every structure has an atom j.
  template <bool kMasked>
  HPCPDF_INLINE void columns(const V* x, V* g, int i, int first, int end, const V* d0, const V* d1, Force<R>& on0,
                             Force<R>& on1, V& cost) const {
    const V x0 = x[3 * i], y0 = x[3 * i + 1], z0 = x[3 * i + 2];
    const V x1 = x[3 * i + 3], y1 = x[3 * i + 4], z1 = x[3 * i + 5];
    for (int j = first; j < end; ++j) {
      const V xj = x[3 * j], yj = x[3 * j + 1], zj = x[3 * j + 2];
      V dx = x0 - xj, dy = y0 - yj, dz = z0 - zj;
      V f = pair<R, kMasked>(dx, dy, dz, d0[j], valid[j], on0, cost);
      const V gx = g[3 * j] - f * dx, gy = g[3 * j + 1] - f * dy, gz = g[3 * j + 2] - f * dz;
      dx = x1 - xj, dy = y1 - yj, dz = z1 - zj;
      f = pair<R, kMasked>(dx, dy, dz, d1[j], valid[j], on1, cost);
      g[3 * j] = gx - f * dx;
      g[3 * j + 1] = gy - f * dy;
      g[3 * j + 2] = gz - f * dz;
    }
  }

  struct Near {
    V q0, q1, e0, e1;
  };
  struct Pull {
    V f0, f1;
  };

  // The same numbers, three atoms j on their way at once: while the square of the first one's distance is taken, the
  // residual of the second and the forces of the third are. The differences are taken anew for the forces, so that
  // everything on the way stays in registers; that pays where additions do not compete with multiplications.
  template <bool kMasked>
  HPCPDF_INLINE void staged_columns(const V* x, V* g, int i, int first, int end, const V* d0, const V* d1,
                                    Force<R>& on0, Force<R>& on1, V& cost) const {
    const V x0 = x[3 * i], y0 = x[3 * i + 1], z0 = x[3 * i + 2];
    const V x1 = x[3 * i + 3], y1 = x[3 * i + 4], z1 = x[3 * i + 5];
    const auto near = [&](int j) HPCPDF_INLINE_LAMBDA {
      const V xj = x[3 * j], yj = x[3 * j + 1], zj = x[3 * j + 2];
      Near p;
      p.q0 = squared<R>(x0 - xj, y0 - yj, z0 - zj);
      p.q1 = squared<R>(x1 - xj, y1 - yj, z1 - zj);
      p.e0 = root_estimate(p.q0);
      p.e1 = root_estimate(p.q1);
      return p;
    };
    const auto pulled = [&](int j, const Near& p) HPCPDF_INLINE_LAMBDA {
      Pull u;
      u.f0 = pull<R, kMasked>(p.q0, p.e0, d0[j], valid[j], cost);
      u.f1 = pull<R, kMasked>(p.q1, p.e1, d1[j], valid[j], cost);
      return u;
    };
    const auto forces = [&](int j, const Pull& u) HPCPDF_INLINE_LAMBDA {
      const V xj = x[3 * j], yj = x[3 * j + 1], zj = x[3 * j + 2];
      V dx = x0 - xj, dy = y0 - yj, dz = z0 - zj;
      on0.x += u.f0 * dx;
      on0.y += u.f0 * dy;
      on0.z += u.f0 * dz;
      const V gx = g[3 * j] - u.f0 * dx, gy = g[3 * j + 1] - u.f0 * dy, gz = g[3 * j + 2] - u.f0 * dz;
      dx = x1 - xj, dy = y1 - yj, dz = z1 - zj;
      on1.x += u.f1 * dx;
      on1.y += u.f1 * dy;
      on1.z += u.f1 * dz;
      g[3 * j] = gx - u.f1 * dx;
      g[3 * j + 1] = gy - u.f1 * dy;
      g[3 * j + 2] = gz - u.f1 * dz;
    };
    if (end - first < 2) {
      if (first < end) forces(first, pulled(first, near(first)));
      return;
    }
    Pull last = pulled(first, near(first));
    Near next = near(first + 1);
    for (int j = first; j + 2 < end; ++j) {
      const Near p = near(j + 2);
      const Pull u = pulled(j + 1, next);
      forces(j, last);
      next = p;
      last = u;
    }
    forces(end - 2, last);
    forces(end - 1, pulled(end - 1, next));
  }

  HPCPDF_INLINE void anchor(const V* x, V* g, int i, V& cost) const {
    Force<R> on;
    V part{};
    for (int s = 0; s < satellites; ++s) {
      const V dx = x[3 * i] - points[3 * s], dy = x[3 * i + 1] - points[3 * s + 1],
              dz = x[3 * i + 2] - points[3 * s + 2];
      pair<R, false>(dx, dy, dz, anchors[static_cast<std::size_t>(i) * satellites + s], V{}, on, part);
    }
    cost += part * valid[i];
    g[3 * i] = T(2) * (g[3 * i] + valid[i] * on.x);
    g[3 * i + 1] = T(2) * (g[3 * i + 1] + valid[i] * on.y);
    g[3 * i + 2] = T(2) * (g[3 * i + 2] + valid[i] * on.z);
  }
};

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

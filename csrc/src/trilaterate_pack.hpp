// From the caller's matrices to vectors: conversion, symmetry, and the search for NaN and infinity.
#pragma once

#include "hpcpdf/trilaterate.hpp"
#include "trilaterate_cost.hpp"

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

// Row i of a view as numbers of the kernel, zero from `count` to `padded`.
template <class T>
HPCPDF_INLINE void convert_row(const View& view, int i, int count, int padded, T* out) {
  const char* row = view.data + i * view.row;
  if (view.wide && view.column == sizeof(double)) {
    const double* p = reinterpret_cast<const double*>(row);
    for (int j = 0; j < count; ++j) out[j] = static_cast<T>(p[j]);
  } else if (!view.wide && view.column == sizeof(float)) {
    const float* p = reinterpret_cast<const float*>(row);
    for (int j = 0; j < count; ++j) out[j] = static_cast<T>(p[j]);
  } else if (view.wide) {
    for (int j = 0; j < count; ++j) out[j] = static_cast<T>(*reinterpret_cast<const double*>(row + j * view.column));
  } else {
    for (int j = 0; j < count; ++j) out[j] = static_cast<T>(*reinterpret_cast<const float*>(row + j * view.column));
  }
  for (int j = count; j < padded; ++j) out[j] = T(0);
}

// Distances and weights of one structure as tiles.
template <class R, bool kWeighted>
class SinglePacker {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int W = R::W;
  using Layout = SingleLayout<R>;

 public:
  static std::size_t rows(int n) { return static_cast<std::size_t>(Layout::elements(n)) * Layout::elements(n) * W; }
  static std::size_t anchor_rows(int satellites) { return static_cast<std::size_t>((satellites + W - 1) / W) * W; }

  // `rows`, `weight_rows`: room for rows(n) vectors; false when a number is NaN, infinite or a negative weight.
  bool distances(const Problem& q, V* rows, V* weight_rows, V* tiles, V* weight_tiles) {
    const int n = q.n, blocks = Layout::elements(n), padded = blocks * W;
    V check{};
    for (int i = 0; i < padded; ++i) {
      T* row = reinterpret_cast<T*>(rows) + static_cast<std::size_t>(i) * padded;
      T* weight = reinterpret_cast<T*>(weight_rows) + static_cast<std::size_t>(i) * padded;
      convert_row<T>(q.distances, i, i < n ? n : 0, padded, row);
      if (i < n) row[i] = T(0);
      if constexpr (kWeighted) {
        if (q.weights.data != nullptr) {
          convert_row<T>(q.weights, i, i < n ? n : 0, padded, weight);
        } else {
          for (int j = 0; j < padded; ++j) weight[j] = i < n && j < n ? T(1) : T(0);
        }
        if (i < n) weight[i] = T(0);
        weigh(weight, row, padded);
      }
      const V* values = rows + static_cast<std::size_t>(i) * blocks;
      for (int b = 0; b < blocks; ++b) check += values[b] * T(0);
      if constexpr (kWeighted) {
        const V* w = weight_rows + static_cast<std::size_t>(i) * blocks;
        for (int b = 0; b < blocks; ++b) check += w[b] * T(0);
      }
    }
    for (int i = 0; i < blocks; ++i) {
      for (int j = i; j < blocks; ++j) {
        V d[W];
        symmetric_tile(rows, blocks, i, j, d);
        V* out = tiles + Layout::tile(blocks, i, j);
        if constexpr (kWeighted) {
          V w[W];
          symmetric_tile(weight_rows, blocks, i, j, w);
          V* weight_out = weight_tiles + Layout::tile(blocks, i, j);
          for (int k = 0; k < W; ++k) {
            out[k] = w[k] > T(0) ? d[k] / w[k] : V{};
            weight_out[k] = w[k];
          }
        } else {
          for (int k = 0; k < W; ++k) out[k] = d[k];
        }
      }
    }
    return sum_lanes<R>(check) == T(0);
  }

  // Distances to the satellites as [block][satellite]; `row`: room for anchor_rows(S) vectors.
  bool anchors(const Problem& q, int satellites, V* row, V* out, V* weight_out) {
    const int n = q.n, blocks = Layout::elements(n);
    const int columns = (satellites + W - 1) / W, padded = columns * W;
    V check{};
    T* values = reinterpret_cast<T*>(row);
    T* weights = values + static_cast<std::size_t>(padded) * W;
    for (int b = 0; b < blocks; ++b) {
      for (int k = 0; k < W; ++k) {
        const int i = b * W + k, count = i < n ? satellites : 0;
        T* v = values + static_cast<std::size_t>(k) * padded;
        T* w = weights + static_cast<std::size_t>(k) * padded;
        convert_row<T>(q.satellites, i, count, padded, v);
        if constexpr (kWeighted) {
          if (q.satellite_weights.data != nullptr) {
            convert_row<T>(q.satellite_weights, i, count, padded, w);
          } else {
            for (int s = 0; s < padded; ++s) w[s] = s < count ? T(1) : T(0);
          }
          for (int s = 0; s < padded; ++s) v[s] = w[s] == T(0) ? T(0) : v[s];
          for (int s = 0; s < padded; ++s) check += w[s] * T(0) + (w[s] < T(0) ? bad() : T(0));
        }
        for (int s = 0; s < padded; ++s) check += v[s] * T(0);
      }
      for (int s = 0; s < satellites; ++s) {
        const std::size_t at = static_cast<std::size_t>(b) * satellites + s;
        for (int k = 0; k < W; ++k) {
          set_lane<R>(out[at], k, values[static_cast<std::size_t>(k) * padded + s]);
          if constexpr (kWeighted) set_lane<R>(weight_out[at], k, weights[static_cast<std::size_t>(k) * padded + s]);
        }
      }
    }
    return sum_lanes<R>(check) == T(0);
  }

 private:
  static T bad() { return static_cast<T>(__builtin_nanf("")); }

  // Products with the weights, so that a distance of weight 0 may be anything.
  HPCPDF_INLINE static void weigh(T* weight, T* row, int count) {
    for (int j = 0; j < count; ++j) {
      row[j] = weight[j] == T(0) ? T(0) : row[j] * weight[j];
      if (weight[j] < T(0)) row[j] = bad();
    }
  }

  // (m + m^T)/2: the upper tile turned around plus the lower one, whose rows already lie as needed.
  HPCPDF_INLINE static void symmetric_tile(const V* rows, int blocks, int i, int j, V (&out)[W]) {
    for (int k = 0; k < W; ++k) out[k] = rows[(static_cast<std::size_t>(i) * W + k) * blocks + j];
    transpose<R>(out);
    for (int k = 0; k < W; ++k) out[k] = T(0.5) * (out[k] + rows[(static_cast<std::size_t>(j) * W + k) * blocks + i]);
  }
};

// Distances of up to W structures of equal size, one in each lane; lanes without one repeat the first.
template <class R>
class LanePacker {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int W = R::W;

 public:
  static std::size_t rows(int columns) { return static_cast<std::size_t>((columns + W - 1) / W) * W; }

  // Writes pairs in row order and [atom][satellite]; the result is 0 in sound lanes and NaN in the others.
  V operator()(const Task& task, int satellites, V* rows, V* pairs, V* anchors) {
    const int n = task.problems[task.index[0]].n;
    V check{};
    for (int i = 0; i < n; ++i) {
      read(task, i, n, false, rows);
      V* mine = pairs + static_cast<std::size_t>(i) * (2 * n - i - 1) / 2 - i - 1;
      for (int b = 0; b < n; b += W) {
        V part[W];
        take(rows, b, n, part);
        for (int k = 0; k < W && b + k < n; ++k) {
          const int j = b + k;
          check += part[k] * T(0);
          if (j > i) {
            mine[j] = T(0.5) * part[k];
          } else if (j < i) {
            pairs[static_cast<std::size_t>(j) * (2 * n - j - 1) / 2 + (i - j - 1)] += T(0.5) * part[k];
          }
        }
      }
      read(task, i, satellites, true, rows);
      for (int b = 0; b < satellites; b += W) {
        V part[W];
        take(rows, b, satellites, part);
        for (int k = 0; k < W && b + k < satellites; ++k) {
          check += part[k] * T(0);
          anchors[static_cast<std::size_t>(i) * satellites + b + k] = part[k];
        }
      }
    }
    return check;
  }

 private:
  static void read(const Task& task, int i, int columns, bool anchor, V* rows) {
    const int padded = (columns + W - 1) / W * W;
    for (int l = 0; l < W; ++l) {
      const Problem& q = task.problems[task.index[l < task.count ? l : 0]];
      T* row = reinterpret_cast<T*>(rows) + static_cast<std::size_t>(l) * padded;
      convert_row<T>(anchor ? q.satellites : q.distances, i, columns, padded, row);
      if (!anchor) row[i] = T(0);
    }
  }
  static void take(const V* rows, int b, int columns, V (&part)[W]) {
    const int blocks = (columns + W - 1) / W;
    for (int l = 0; l < W; ++l) part[l] = rows[static_cast<std::size_t>(l) * blocks + b / W];
    transpose<R>(part);
  }
};

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

// From the caller's matrices to vectors of half distances: conversion, symmetry, and the search for NaN and infinity.
#pragma once

#include "hpcpdf/trilaterate.hpp"
#include "trilaterate_cost.hpp"
#include "trilaterate_level.hpp"

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
        if (q.weights != nullptr) {
          convert_row<T>(*q.weights, i, i < n ? n : 0, padded, weight);
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
            out[k] = w[k] > T(0) ? T(0.5) * d[k] / w[k] : V{};
            weight_out[k] = w[k];
          }
        } else {
          for (int k = 0; k < W; ++k) out[k] = T(0.5) * d[k];
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
          if (q.satellite_weights != nullptr) {
            convert_row<T>(*q.satellite_weights, i, count, padded, w);
          } else {
            for (int s = 0; s < padded; ++s) w[s] = s < count ? T(1) : T(0);
          }
          for (int s = 0; s < padded; ++s) v[s] = w[s] == T(0) ? T(0) : v[s];
          for (int s = 0; s < padded; ++s) check += w[s] * T(0) + (w[s] < T(0) ? bad() : T(0));
        }
        for (int c = 0; c < columns; ++c) check += row[k * columns + c] * T(0);
      }
      for (int s = 0; s < satellites; ++s) {
        const std::size_t at = static_cast<std::size_t>(b) * satellites + s;
        for (int k = 0; k < W; ++k) {
          set_lane<R>(out[at], k, T(0.5) * values[static_cast<std::size_t>(k) * padded + s]);
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

// Distances of up to W structures of about equal size, one in each lane; lanes without one repeat the first.
template <class R>
class LanePacker {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int W = R::W;
  using Cost = LaneCost<R>;
  static_assert(Cost::kBlock % W == 0, "W columns lie in one block of the cost");

 public:
  LanePacker(const Task& task, int satellites) : satellites_(satellites) {
    for (int l = 0; l < W; ++l) {
      const Problem& q = task.problems[task.index[l < task.count ? l : 0]];
      between_.add(l, q.distances, q.n, q.n);
      to_satellites_.add(l, q.satellites, q.n, satellites);
    }
  }

  // Writes distances by LaneCost::place and [atom][satellite], zero where a structure has no atom; the result is 0 in
  // sound lanes and NaN in the others.
  V operator()(int n, V* pairs, V* anchors) {
    for (int i = 0; i < n; ++i) {
      for (int b = 0; b < n; b += W) {
        V part[W];
        between_.take(i, b, part);
        const int count = n - b < W ? n - b : W;
        right_of(i, b, count, n, part, pairs);
        left_of(i, b, i - b < count ? i - b : count, n, part, pairs);
      }
      for (int b = 0; b < satellites_; b += W) {
        V part[W];
        to_satellites_.take(i, b, part);
        for (int k = 0; k < W && b + k < satellites_; ++k) {
          anchors[static_cast<std::size_t>(i) * satellites_ + b + k] = checked(T(0.5) * part[k], k);
        }
      }
      between_.next_row();
      to_satellites_.next_row();
    }
    return (check_[0] + check_[1]) + (check_[2] + check_[3]);
  }

 private:
  // One matrix of every structure, read row by row.
  class Source {
   public:
    void add(int l, const View& view, int rows, int columns) {
      at_[l] = view.data;
      step_[l] = view.row;
      column_[l] = view.column;
      wide_[l] = view.wide;
      rows_[l] = rows;
      columns_[l] = columns;
      all_rows_ = l == 0 || rows < all_rows_ ? rows : all_rows_;
      all_columns_ = l == 0 || columns < all_columns_ ? columns : all_columns_;
      floats_ = floats_ && !view.wide && view.column == sizeof(float);
      doubles_ = doubles_ && view.wide && view.column == sizeof(double);
    }

    // Columns b ... b + W - 1 of the current row i, one vector a column; zero beyond what there is.
    HPCPDF_INLINE void take(int i, int b, V (&part)[W]) const {
      if (floats_) {
        load_all<float>(i, b, part);
      } else if (doubles_) {
        load_all<double>(i, b, part);
      } else {
        for (int l = 0; l < W; ++l) {
          part[l] = V{};
          const int count = have(l, i, b);
          for (int k = 0; k < count; ++k) set_lane<R>(part[l], k, number(l, b + k));
        }
      }
      transpose<R>(part);
    }

    void next_row() {
      for (int l = 0; l < W; ++l) at_[l] += step_[l];
    }

   private:
    // Numbers of row i from column b on, W at most.
    HPCPDF_INLINE int have(int l, int i, int b) const {
      const int count = i < rows_[l] ? columns_[l] - b : 0;
      return count < 0 ? 0 : count < W ? count : W;
    }

    template <class X>
    HPCPDF_INLINE void load_all(int i, int b, V (&part)[W]) const {
      if (i < all_rows_ && b + W <= all_columns_) {
        for (int l = 0; l < W; ++l) part[l] = load_first<R>(reinterpret_cast<const X*>(at_[l]) + b, W);
      } else {
        for (int l = 0; l < W; ++l) part[l] = load_first<R>(reinterpret_cast<const X*>(at_[l]) + b, have(l, i, b));
      }
      // Matrices come from far away: a row to come is asked for while this one is turned.
      for (int l = 0; l < W; ++l) {
        const X* ahead = reinterpret_cast<const X*>(at_[l] + kAhead<X> * step_[l]) + b;
        for (std::size_t k = 0; k < W; k += kLine / sizeof(X)) __builtin_prefetch(ahead + k);
      }
    }

    T number(int l, int j) const {
      const char* p = at_[l] + j * column_[l];
      return wide_[l] ? static_cast<T>(*reinterpret_cast<const double*>(p))
                      : static_cast<T>(*reinterpret_cast<const float*>(p));
    }

    template <class X>
    static constexpr int kAhead = sizeof(X) == sizeof(float) ? 3 : 2;  // rows, as measured
    static constexpr std::size_t kLine = 64;                           // bytes

    const char* at_[W];  // the current row
    std::ptrdiff_t step_[W], column_[W];
    bool wide_[W];
    int rows_[W], columns_[W];
    int all_rows_ = 0, all_columns_ = 0;  // what every structure has
    bool floats_ = true, doubles_ = true;
  };

  // Half of (m + m^T)/2: the columns after i begin a distance, those before it complete one.
  static HPCPDF_INLINE void right_of(int i, int b, int count, int n, const V (&part)[W], V* pairs) {
    const int first = b > i ? 0 : i + 1 - b;
    if (first >= count) return;
    V* row = pairs + Cost::place(n, i, b + first);
    for (int k = first; k < count; ++k) row[k - first] = T(0.25) * part[k];
  }

  HPCPDF_INLINE void left_of(int i, int b, int count, int n, const V (&part)[W], V* pairs) {
    if (count <= 0) return;
    V* place = pairs + Cost::place(n, b, i);
    for (int k = 0; k < count; ++k) {
      *place = checked(*place + T(0.25) * part[k], k);
      place += Cost::to_next_row(n, b + k, i);
    }
  }

  HPCPDF_INLINE V checked(V value, int k) {
    check_[k % 4] += value * T(0);
    return value;
  }

  int satellites_;
  Source between_, to_satellites_;
  V check_[4] = {};
};

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

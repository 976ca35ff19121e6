// The batch kernel of one instruction level, ready for the table of trilaterate_level.hpp.
#pragma once

#include "trilaterate_optimiser.hpp"
#include "trilaterate_pack.hpp"

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

// Hands out aligned pieces of a block of memory; with no block it only counts.
class Arena {
 public:
  explicit Arena(void* memory) : base_(static_cast<char*>(memory)) {}
  template <class X>
  X* take(std::size_t count) {
    X* piece = base_ == nullptr ? nullptr : reinterpret_cast<X*>(base_ + used_);
    used_ += (count * sizeof(X) + 63) / 64 * 64;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

// Displacement of a start coordinate, different for every atom: parts coincident starts, far below any noise.
template <class T>
HPCPDF_INLINE T jitter(int atom, int axis) {
  const double t = (atom + 1) * (0.6180339887498949 * (axis + 1));
  return static_cast<T>(1e-5 * (t - static_cast<double>(static_cast<long long>(t)) - 0.5));
}

template <class R, bool kLanes>
struct Shared {
  using T = typename R::T;
  using V = typename R::V;

  T *points, *matrix;
  V *valid, *room, *centred, *fixed, *inverse, *anchors;

  void lay_out(Arena& arena, int elements, int satellites) {
    points = arena.take<T>(3 * satellites);
    matrix = arena.take<T>(3 * satellites);
    valid = arena.take<V>(elements);
    room = arena.take<V>(static_cast<std::size_t>(kOptimiserArrays) * 3 * elements);
    centred = arena.take<V>(3 * elements);
    fixed = arena.take<V>(6 * elements);
    inverse = arena.take<V>(6 * elements);
    anchors = arena.take<V>(static_cast<std::size_t>(elements) * satellites);
  }

  void fill(const Field& field) {
    for (int k = 0; k < 3 * field.count; ++k) {
      points[k] = static_cast<T>(field.points[k]);
      matrix[k] = field.matrix == nullptr ? T(0) : static_cast<T>(field.matrix[k]);
    }
  }

  // The closed form: linear in the squared distances.
  void start(const Field& field, int elements, V* x) const {
    for (int e = 0; e < elements; ++e) {
      V p[3];
      for (int c = 0; c < 3; ++c) p[c] = splat<R>(static_cast<T>(field.offset[c]));
      for (int s = 0; s < field.count; ++s) {
        const V half = anchors[static_cast<std::size_t>(e) * field.count + s];
        const V square = (half + half) * (half + half);
        for (int c = 0; c < 3; ++c) p[c] += matrix[c * field.count + s] * square;
      }
      for (int c = 0; c < 3; ++c) x[3 * e + c] = p[c];
    }
  }
  static HPCPDF_INLINE V boxed(V x) { return smaller(larger(x, splat<R>(T(-1))), splat<R>(T(1))); }
};

template <class R>
void refuse(int n, void* positions, Outcome& outcome) {
  using T = typename R::T;
  const T nan = static_cast<T>(__builtin_nanf(""));
  for (int k = 0; k < 3 * n; ++k) static_cast<T*>(positions)[k] = nan;
  outcome = {__builtin_nan(""), __builtin_nan(""), 0, Status::invalid_input};
}

template <class R, bool kWeighted>
class Single {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int W = R::W;
  using Layout = SingleLayout<R>;
  using Packer = SinglePacker<R, kWeighted>;

 public:
  static std::size_t memory(int n, int satellites) {
    Arena arena(nullptr);
    Single kernel;
    kernel.lay_out(arena, n, satellites);
    return arena.used();
  }

  static void solve(const Field& field, const Limits& limits, const Task& task, void* memory) {
    const Problem& q = task.problems[task.index[0]];
    Arena arena(memory);
    Single kernel;
    kernel.lay_out(arena, q.n, field.count);
    kernel.run(field, limits, task, q);
  }

 private:
  void lay_out(Arena& arena, int n, int satellites) {
    const std::size_t blocks = Layout::elements(n);
    shared_.lay_out(arena, static_cast<int>(blocks), satellites);
    below_ = arena.take<V>(W);
    tiles_ = arena.take<V>(Layout::tiles(n));
    weight_tiles_ = arena.take<V>(kWeighted ? Layout::tiles(n) : 0);
    anchor_weights_ = arena.take<V>(kWeighted ? blocks * satellites : 0);
    blocks_ = arena.take<V>(kWeighted ? 6 * blocks : 0);
    reaction_ = arena.take<V>(3 * blocks * W);
    rows_ = arena.take<V>(Packer::rows(n));
    weight_rows_ = arena.take<V>(kWeighted ? Packer::rows(n) : 0);
    anchor_row_ = arena.take<V>(2 * Packer::anchor_rows(satellites));
  }

  void run(const Field& field, const Limits& limits, const Task& task, const Problem& q) {
    const int n = q.n, blocks = Layout::elements(n);
    Packer packer;
    const bool sound = packer.distances(q, rows_, weight_rows_, tiles_, weight_tiles_) &
                       packer.anchors(q, field.count, anchor_row_, shared_.anchors, anchor_weights_);
    Outcome& outcome = task.outcomes[task.index[0]];
    if (!sound) {
      refuse<R>(n, task.positions[task.index[0]], outcome);
      return;
    }
    shared_.fill(field);
    for (int k = 0; k < W; ++k) below_[k] = first_lanes<R>(k);
    for (int b = 0; b < blocks; ++b) shared_.valid[b] = first_lanes<R>(n - b * W < W ? n - b * W : W);
    const int last = (blocks - 1) * W;
    for (int c = 0; c < 3; ++c) {
      for (int j = n; j < blocks * W; ++j) reaction_[c * blocks * W + j] = V{};
    }

    const SingleCost<R, kWeighted> cost{{},
                                        n,
                                        blocks,
                                        field.count,
                                        shared_.points,
                                        tiles_,
                                        weight_tiles_,
                                        shared_.anchors,
                                        anchor_weights_,
                                        reaction_,
                                        below_,
                                        shared_.valid};
    Preconditioner<R, false> preconditioner{blocks,
                                            field.count,
                                            static_cast<T>(n),
                                            shared_.points,
                                            shared_.valid,
                                            kWeighted ? anchor_weights_ : nullptr,
                                            kWeighted ? blocks_ : nullptr,
                                            shared_.centred,
                                            shared_.fixed,
                                            shared_.inverse,
                                            {},
                                            {}};
    Optimiser<R, false, SingleCost<R, kWeighted>> optimiser(cost, preconditioner, blocks, shared_.room);
    V* x = optimiser.x();
    if (task.start == nullptr) {
      shared_.start(field, blocks, x);
    } else {
      for (int k = 0; k < last + W; ++k) {
        for (int c = 0; c < 3; ++c) {
          set_lane<R>(x[3 * (k / W) + c], k % W, k < n ? static_cast<T>(task.start[3 * k + c]) : T(0));
        }
      }
    }
    for (int k = 0; k < blocks * W; ++k) {
      for (int c = 0; c < 3; ++c) {
        V& v = x[3 * (k / W) + c];
        set_lane<R>(v, k % W, lane<R>(v, k % W) + jitter<T>(k, c));
      }
    }
    for (int k = 0; k < 3 * blocks; ++k) x[k] = shared_.boxed(x[k]) * shared_.valid[k / 3];
    T steep = T(4) * static_cast<T>(n) + T(2) * static_cast<T>(field.count);
    if constexpr (kWeighted) steep = exact_blocks(x, n, blocks, field.count);

    const auto result = optimiser.minimise(limits, false, steep);
    T* out = static_cast<T*>(task.positions[task.index[0]]);
    x = optimiser.x();
    for (int k = 0; k < n; ++k) {
      for (int c = 0; c < 3; ++c) out[3 * k + c] = lane<R>(x[3 * (k / W) + c], k % W);
    }
    outcome.cost = result.cost;
    outcome.projected_gradient = result.projected_gradient;
    outcome.evaluations = static_cast<int>(result.evaluations);
    outcome.status = result.converged ? Status::converged : result.stalled ? Status::stalled : Status::evaluation_limit;
  }

  // The pair part of the Gauss-Newton blocks with its weights; returns a bound of the Hessian.
  T exact_blocks(const V* x, int n, int blocks, int satellites) {
    V most{};
    for (int i = 0; i < blocks; ++i) {
      V b[6] = {}, weight{};
      for (int j = 0; j < n; ++j) {
        const int block = j / W, k = j % W;
        // The weight of (i, j) is in the tile of the upper triangle: a row of it, or a column.
        V w;
        if (block >= i) {
          w = weight_tiles_[Layout::tile(blocks, i, block) + k];
        } else {
          const V* tile = weight_tiles_ + Layout::tile(blocks, block, i);
          for (int l = 0; l < W; ++l) set_lane<R>(w, l, lane<R>(tile[l], k));
        }
        const V dx = x[3 * i] - lane<R>(x[3 * block], k), dy = x[3 * i + 1] - lane<R>(x[3 * block + 1], k),
                dz = x[3 * i + 2] - lane<R>(x[3 * block + 2], k);
        const V u = (T(2) * w) / squared<R>(dx, dy, dz);
        b[0] += u * dx * dx;
        b[1] += u * dy * dy;
        b[2] += u * dz * dz;
        b[3] += u * dx * dy;
        b[4] += u * dx * dz;
        b[5] += u * dy * dz;
        weight += w;
      }
      V anchored{};
      for (int s = 0; s < satellites; ++s) anchored += anchor_weights_[static_cast<std::size_t>(i) * satellites + s];
      most = larger(most, T(4) * weight + T(2) * anchored);
      for (int c = 0; c < 6; ++c) blocks_[6 * i + c] = b[c];
    }
    const T bound = max_lanes<R>(most);
    return bound > T(0) ? bound : T(1);
  }

  Shared<R, false> shared_;
  V *below_, *tiles_, *weight_tiles_, *anchor_weights_, *blocks_, *reaction_, *rows_, *weight_rows_, *anchor_row_;
};

template <class R>
class Lanes {
  using T = typename R::T;
  using V = typename R::V;
  static constexpr int W = R::W;

 public:
  static std::size_t memory(int n, int satellites) {
    Arena arena(nullptr);
    Lanes kernel;
    kernel.lay_out(arena, n, satellites);
    return arena.used();
  }

  static void solve(const Field& field, const Limits& limits, const Task& task, void* memory) {
    int n = 0;
    for (int l = 0; l < task.count; ++l) {
      const int own = task.problems[task.index[l]].n;
      n = own > n ? own : n;
    }
    Arena arena(memory);
    Lanes kernel;
    kernel.lay_out(arena, n, field.count);
    kernel.run(field, limits, task, n);
  }

 private:
  void lay_out(Arena& arena, int n, int satellites) {
    shared_.lay_out(arena, n, satellites);
    pairs_ = arena.take<V>(LaneCost<R>::pairs(n));
  }

  // `n`: atoms of the largest.
  void run(const Field& field, const Limits& limits, const Task& task, int n) {
    using Mask = typename R::M;
    LanePacker<R> packer(task, field.count);
    const V check = packer(n, pairs_, shared_.anchors);
    const Mask sound = check == T(0);
    shared_.fill(field);
    V atoms;
    int least = n;
    for (int l = 0; l < W; ++l) {
      const int own = task.problems[task.index[l < task.count ? l : 0]].n;
      set_lane<R>(atoms, l, static_cast<T>(own));
      least = own < least ? own : least;
    }
    for (int k = 0; k < n; ++k) shared_.valid[k] = splat<R>(static_cast<T>(k)) < atoms ? splat<R>(T(1)) : V{};

    const bool staged = kBytes >= 32 && staging_pays();
    const LaneCost<R> cost{n, least, field.count, shared_.points, shared_.valid, pairs_, shared_.anchors, staged};
    Preconditioner<R, true> preconditioner{n,       field.count, atoms,           shared_.points, shared_.valid,
                                           nullptr, nullptr,     shared_.centred, shared_.fixed,  shared_.inverse,
                                           {},      {}};
    Optimiser<R, true, LaneCost<R>> optimiser(cost, preconditioner, n, shared_.room);
    V* x = optimiser.x();
    shared_.start(field, n, x);
    for (int k = 0; k < 3 * n; ++k) x[k] = shared_.boxed(x[k] + jitter<T>(k / 3, k % 3)) * shared_.valid[k / 3];
    const V steep = T(4) * atoms + T(2) * static_cast<T>(field.count);
    const auto result = optimiser.minimise(limits, !sound, steep);

    x = optimiser.x();
    for (int l = 0; l < task.count; ++l) {
      const std::size_t index = task.index[l];
      const int own = task.problems[index].n;
      Outcome& outcome = task.outcomes[index];
      if (!flag<R>(sound, l)) {
        refuse<R>(own, task.positions[index], outcome);
        continue;
      }
      T* out = static_cast<T*>(task.positions[index]);
      for (int k = 0; k < 3 * own; ++k) out[k] = lane<R>(x[k], l);
      outcome.cost = lane<R>(result.cost, l);
      outcome.projected_gradient = lane<R>(result.projected_gradient, l);
      outcome.evaluations = static_cast<int>(lane<R>(result.evaluations, l));
      outcome.status = flag<R>(result.converged, l) ? Status::converged
                       : flag<R>(result.stalled, l) ? Status::stalled
                                                    : Status::evaluation_limit;
    }
  }

  Shared<R, true> shared_;
  V* pairs_;
};

// Up to this size lanes are as fast or faster, as measured; beyond it the working set of W structures leaves the cache.
constexpr int kLaneLimit = 128;

extern const Level level_table;
const Level level_table = {
    HPCPDF_LEVEL_NAME,
    {{{1, &Single<F32, false>::memory, &Single<F32, false>::solve},
      {1, &Single<F32, true>::memory, &Single<F32, true>::solve}},
     {{1, &Single<F64, false>::memory, &Single<F64, false>::solve},
      {1, &Single<F64, true>::memory, &Single<F64, true>::solve}}},
    {{F32::W, &Lanes<F32>::memory, &Lanes<F32>::solve}, {F64::W, &Lanes<F64>::memory, &Lanes<F64>::solve}},
    {kLaneLimit, kLaneLimit}};

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

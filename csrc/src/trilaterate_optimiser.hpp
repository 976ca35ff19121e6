// Projected, preconditioned L-BFGS with two pairs, for one structure or for W structures at once.
//
// The two modes run the same statements. With one structure a vector the decisions are branches; with one structure a
// lane they are masks, and a lane never sees another. A step that is not accepted leaves its lane as it was, so that
// computing the direction again gives the same direction.
#pragma once

#include "trilaterate_level.hpp"
#include "trilaterate_precondition.hpp"

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

constexpr int kOptimiserArrays = 11;

template <class R, bool kLanes, class Cost>
class Optimiser {
 public:
  using Mode = std::conditional_t<kLanes, LaneMode<R>, SingleMode<R>>;
  using T = typename R::T;
  using V = typename R::V;
  using S = typename Mode::S;
  using B = typename Mode::B;

  struct Result {
    S cost, projected_gradient, evaluations;
    B converged, stalled;
  };

  // `room`: kOptimiserArrays * count vectors.
  Optimiser(const Cost& cost, Preconditioner<R, kLanes>& preconditioner, int elements, V* room)
      : cost_(cost), preconditioner_(preconditioner), elements_(elements), count_(3 * elements) {
    V** const arrays[] = {&x_, &g_, &xt_, &gt_, &d_, &s_[0], &s_[1], &s_[2], &y_[0], &y_[1], &y_[2]};
    for (V** array : arrays) {
      *array = room;
      room += count_;
    }
  }

  V* x() { return x_; }

  // From the point in x() until the gradient is small; lanes in `sleeping` are left alone.
  // `steep`: an upper bound of the Hessian's eigenvalues, for a step that cannot fail.
  Result minimise(const Limits& limits, B sleeping, S steep) {
    // A coordinate is known to half a unit in the last place, its gradient to that times the Hessian.
    // Well within what is promised it may stop earlier; small weights make small gradients.
    const S known = T(0.2) * R::kEpsilon * steep, within = T(24) * known, most = Mode::number(R::kEnough);
    const S enough = within < most ? within : most, resolution = known > enough ? known : enough;
    const S wanted = Mode::number(static_cast<T>(limits.gradient));
    const S tolerance = wanted > resolution ? wanted : resolution;
    Result result;
    S f = Mode::total(cost_(x_, g_));
    S gradient = first_gradient();
    result.evaluations = Mode::number(T(1));
    result.converged = gradient <= tolerance;
    result.stalled = sleeping;
    rho_[0] = rho_[1] = S{};
    S alpha = Mode::number(T(1)), failures = S{}, rescue = S{};
    preconditioner_.build(x_, false);
    for (int k = 0; k < 2 * count_; ++k) s_[0][k] = y_[0][k] = V{};
    bool moved = true;
    for (int step = 0; step < limits.evaluations - 1; ++step) {
      B active = !(result.converged | result.stalled);
      if (!Mode::any(active)) break;
      if (rebuild_now(step)) preconditioner_.build(x_, true);
      if (moved || kLanes) direction(rescue, T(1) / steep);
      // A lane that is done stays where it is.
      trial(active ? alpha : S{});
      const S ft = Mode::total(cost_(xt_, gt_));
      S slope, new_slope, length2, new_gradient;
      measure(slope, new_slope, length2, new_gradient);
      result.evaluations += active ? Mode::number(T(1)) : S{};

      // The cost is known to its rounding only; below that the slope at the end of the step decides.
      const S down = slope < T(0) ? slope : S{};
      const B lower = ft <= f + T(1e-4) * down;
      const B level = (ft <= f + T(16) * R::kEpsilon * f) & (new_slope <= T(-0.9) * down);
      const B accepted = active & (lower | level) & (slope < T(0));
      const B rejected = active & !accepted;

      const S sy = new_slope - slope;
      const S curvature = sy > T(1e-4) * (steep * length2) * T(0.1) ? T(1) / sy : S{};
      if (!Mode::any(rejected)) {
        advance_all(active, curvature);
      } else if constexpr (kLanes) {
        advance_some(accepted, curvature);
      }
      f = accepted ? ft : f;
      gradient = accepted ? new_gradient : gradient;
      moved = Mode::any(accepted);
      result.converged = result.converged | (accepted & (new_gradient <= tolerance));

      const S bend = ft - f - slope;
      S shorter = bend > T(0) ? T(-0.5) * slope / bend : Mode::number(T(0.3));
      shorter = shorter < T(0.1) ? Mode::number(T(0.1)) : shorter;
      shorter = shorter > T(0.5) ? Mode::number(T(0.5)) : shorter;
      alpha = rejected ? alpha * shorter : Mode::number(T(1));
      failures = rejected ? failures + T(1) : S{};
      rescue = accepted ? S{} : rescue;
      // After many failures forget the pairs, then descend along the scaled gradient, then give up.
      const B tired = failures > T(kPatience);
      if (Mode::any(tired)) {
        rho_[0] = tired ? S{} : rho_[0];
        rho_[1] = tired ? S{} : rho_[1];
        result.stalled = result.stalled | (tired & (rescue > T(1.5)));
        rescue = tired ? rescue + T(1) : rescue;
        alpha = tired ? Mode::number(T(1)) : alpha;
        failures = tired ? S{} : failures;
        moved = true;
      }
    }
    result.cost = f;
    result.projected_gradient = gradient;
    return result;
  }

 private:
  static constexpr int kPatience = 8;

  // The blocks move with the atoms: once after the first step, seldom later.
  static bool rebuild_now(int step) { return step == 1 || step == 4 || step == 10 || (step > 0 && step % 20 == 0); }

  static HPCPDF_INLINE V projected(V x, V g) { return smaller(larger(V{} - g, T(-1) - x), T(1) - x); }
  static HPCPDF_INLINE V magnitude(V v) { return larger(v, V{} - v); }

  S first_gradient() const {
    V worst{};
    for (int k = 0; k < count_; ++k) worst = larger(worst, magnitude(projected(x_[k], g_[k])));
    return Mode::largest(worst);
  }

  static HPCPDF_INLINE auto held(V x, V g) { return ((x <= T(-1)) & (g > T(0))) | ((x >= T(1)) & (g < T(0))); }

  // One pass over all coordinates: `change(k)`, then the scalar product of d_ with `with`, summed by axis.
  template <class Change>
  HPCPDF_INLINE S pass(const V* with, const Change& change) {
    V sums[3] = {};
    for (int k = 0; k < count_; k += 3) {
      for (int c = 0; c < 3; ++c) {
        change(k + c);
        sums[c] += with[k + c] * d_[k + c];
      }
    }
    return Mode::total(sums[0] + sums[1] + sums[2]);
  }

  // d := - (free part of) H g, with H from the two pairs and the preconditioner. The last change of d and the next
  // product with it share a pass.
  void direction(S rescue, S gentle) {
    const V first1 = Mode::spread(rho_[1] * pass(s_[1], [&](int k) { d_[k] = held(x_[k], g_[k]) ? V{} : g_[k]; }));
    const V first0 = Mode::spread(rho_[0] * pass(s_[0], [&](int k) { d_[k] -= first1 * y_[1][k]; }));
    const S last = preconditioner_.apply(d_, y_[0], first0);
    const V change0 = first0 - Mode::spread(rho_[0] * last);
    const V change1 = first1 - Mode::spread(rho_[1] * pass(y_[1], [&](int k) { d_[k] += change0 * s_[0][k]; }));
    const S total = pass(g_, [&](int k) {
      const V x = x_[k], d = V{} - (d_[k] + change1 * s_[1][k]);
      const auto out = held(x, g_[k]) | ((x <= T(-1)) & (d < T(0))) | ((x >= T(1)) & (d > T(0)));
      d_[k] = (out ? V{} : d) * preconditioner_.valid[k / 3];
    });
    // Clipping can turn the direction uphill; the scaled gradient always descends.
    const B uphill = (total >= T(0)) | (rescue > T(1.5));
    if (Mode::any(uphill)) {
      const V swap = Mode::spread(uphill ? Mode::number(T(1)) : S{});
      for (int k = 0; k < count_; ++k) {
        const V plain = held(x_[k], g_[k]) ? V{} : g_[k] * (V{} - Mode::spread(gentle));
        d_[k] = swap > T(0) ? plain : d_[k];
      }
    }
  }

  // Where the step is 0 nothing moves, so that cost and gradient there come out as before.
  void trial(S alpha) {
    const V a = Mode::spread(alpha);
    for (int k = 0; k < count_; ++k) {
      const V moved = smaller(larger(x_[k] + a * d_[k], splat<R>(T(-1))), splat<R>(T(1)));
      xt_[k] = a > T(0) ? moved : x_[k];
    }
  }

  // Products of the step with the gradients, and the pair it makes. A coordinate that did not move stays out of it, so
  // that the secant equation holds on the free ones.
  void measure(S& slope, S& new_slope, S& length2, S& gradient) {
    V before{}, after{}, square{}, worst{};
    for (int k = 0; k < count_; ++k) {
      const V s = xt_[k] - x_[k];
      before += s * g_[k];
      after += s * gt_[k];
      square += s * s;
      worst = larger(worst, magnitude(projected(xt_[k], gt_[k])));
      s_[2][k] = s;
      y_[2][k] = s == T(0) ? V{} : gt_[k] - g_[k];
    }
    slope = Mode::total(before);
    new_slope = Mode::total(after);
    length2 = Mode::total(square);
    gradient = Mode::largest(worst);
  }

  static HPCPDF_INLINE void swap(V*& a, V*& b) {
    V* const c = a;
    a = b;
    b = c;
  }

  // Pair 1 becomes pair 0, the step becomes pair 1.
  void advance_all(B active, S curvature) {
    for (V** list : {s_, y_}) {
      swap(list[0], list[1]);
      swap(list[1], list[2]);
    }
    rho_[0] = rho_[1];
    rho_[1] = active ? curvature : S{};
    swap(x_, xt_);
    swap(g_, gt_);
  }

  void advance_some(B accepted, S curvature) {
    rho_[0] = accepted ? rho_[1] : rho_[0];
    rho_[1] = accepted ? curvature : rho_[1];
    for (int k = 0; k < count_; ++k) {
      for (V** list : {s_, y_}) {
        list[0][k] = accepted ? list[1][k] : list[0][k];
        list[1][k] = accepted ? list[2][k] : list[1][k];
      }
      x_[k] = accepted ? xt_[k] : x_[k];
      g_[k] = accepted ? gt_[k] : g_[k];
    }
  }

  const Cost& cost_;
  Preconditioner<R, kLanes>& preconditioner_;
  int elements_, count_;
  V *x_, *g_, *xt_, *gt_, *d_, *s_[3], *y_[3];  // the pairs, oldest first, and the step on trial
  S rho_[2];
};

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

#include "hpcpdf/line_search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hpcpdf {
namespace {

constexpr double kMinGrowth = 1.1;  // an unbracketed trial moves on by 1.1 to 4 times the last stretch
constexpr double kMaxGrowth = 4.0;
constexpr double kShrink = 0.66;   // the bracket must shrink by this factor in two trials, else it is halved
constexpr double kRetreat = 0.25;  // share of the way kept when a trial gives NaN or an infinity

// theta of the cubic through two points with values and slopes; sqrt(theta^2 - slope_a * slope_b), scaled against
// overflow. A negative radicand (no stationary point) counts as zero when the caller allows for it.
struct Cubic {
  double theta;
  double root;
};

template <class Point>
Cubic cubic_through(const Point& a, const Point& b, bool may_lack_minimum) {
  const double theta = 3.0 * (a.f - b.f) / (b.step - a.step) + a.slope + b.slope;
  const double scale = std::max({std::fabs(theta), std::fabs(a.slope), std::fabs(b.slope)});
  const double ratio = theta / scale;
  double radicand = ratio * ratio - (a.slope / scale) * (b.slope / scale);
  if (may_lack_minimum) radicand = std::max(0.0, radicand);
  return {theta, scale * std::sqrt(radicand)};
}

}  // namespace

void MoreThuente::start(double f, double slope, double step, double max_step) {
  origin_ = best_ = other_ = {0.0, f, slope};
  bracketed_ = false;
  tilted_ = true;
  step_ = step;
  max_step_ = max_step;
  low_ = 0.0;
  high_ = step + kMaxGrowth * step;
  width_ = max_step;
  older_width_ = 2.0 * max_step;
}

MoreThuente::Verdict MoreThuente::advance(double f, double slope) {
  if (!std::isfinite(f) || !std::isfinite(slope)) {
    retreat();
    return Verdict::evaluate;
  }
  const double tilt = tolerances_.decrease * origin_.slope;
  const double allowed = origin_.f + step_ * tilt;
  if (tilted_ && f <= allowed && slope >= 0.0) tilted_ = false;

  if (f <= allowed && std::fabs(slope) <= -tolerances_.curvature * origin_.slope) return Verdict::accept;
  const bool squeezed = bracketed_ && (step_ <= low_ || step_ >= high_ || high_ - low_ <= tolerances_.interval * high_);
  const bool at_far_end = step_ == max_step_ && f <= allowed && slope <= tilt;
  const bool at_near_end = step_ == 0.0 && (f > allowed || slope >= tilt);
  if (squeezed || at_far_end || at_near_end) return Verdict::stuck;

  // Until a point of sufficient decrease with a non-negative slope is known, the function minus its allowed decrease
  // is the better guide wherever the plain value falls but not far enough.
  const bool use_tilted = tilted_ && f <= best_.f && f > allowed;
  return narrow({step_, f, slope}, use_tilted ? tilt : 0.0) ? Verdict::evaluate : Verdict::stuck;
}

// Takes the trial into the interval and chooses the next one, with `tilt * step` subtracted from the function. False
// when the values are too extreme to choose by.
bool MoreThuente::narrow(const Point& trial, double tilt) {
  const auto lean = [](const Point& p, double by) { return Point{p.step, p.f - p.step * by, p.slope - by}; };
  const Point a = lean(best_, tilt);
  const Point b = lean(other_, tilt);
  const Point t = lean(trial, tilt);
  const bool straddles = t.slope * (a.slope / std::fabs(a.slope)) < 0.0;
  double next = safeguarded_step(a, b, t);
  if (t.f > a.f) {
    other_ = trial;
  } else {
    if (straddles) other_ = best_;
    best_ = trial;
  }

  if (!std::isfinite(next)) {
    if (!bracketed_) return false;
    next = best_.step + 0.5 * (other_.step - best_.step);
  }
  if (bracketed_) {
    const double width = std::fabs(other_.step - best_.step);
    if (width >= kShrink * older_width_) next = best_.step + 0.5 * (other_.step - best_.step);
    older_width_ = width_;
    width_ = width;
    low_ = std::min(best_.step, other_.step);
    high_ = std::max(best_.step, other_.step);
  } else {
    low_ = next + kMinGrowth * (next - best_.step);
    high_ = next + kMaxGrowth * (next - best_.step);
  }
  next = std::min(std::max(next, 0.0), max_step_);
  const bool out_of_room =
      bracketed_ && (next <= low_ || next >= high_ || high_ - low_ <= tolerances_.interval * high_);
  if (out_of_room) next = best_.step;
  step_ = next;
  return true;
}

// The four cases of Moré and Thuente's section 4, told apart by the trial's value and slope against the best point's.
double MoreThuente::safeguarded_step(const Point& best, const Point& other, const Point& trial) {
  const double direction = best.slope / std::fabs(best.slope);
  const double back = best.step - trial.step;

  if (trial.f > best.f) {  // a minimum lies between: cubic, or its mean with the quadratic when that is bolder
    bracketed_ = true;
    const Cubic cubic = cubic_through(best, trial, false);
    const double root = trial.step < best.step ? -cubic.root : cubic.root;
    const double share = ((root - best.slope) + cubic.theta) / (((root - best.slope) + root) + trial.slope);
    const double cubic_step = best.step + share * (trial.step - best.step);
    const double chord = (best.f - trial.f) / (trial.step - best.step);
    const double quadratic_step = best.step + best.slope / (chord + best.slope) / 2.0 * (trial.step - best.step);
    if (std::fabs(cubic_step - best.step) < std::fabs(quadratic_step - best.step)) return cubic_step;
    return cubic_step + (quadratic_step - cubic_step) / 2.0;
  }

  const double secant_step = trial.step + trial.slope / (trial.slope - best.slope) * back;
  if (trial.slope * direction < 0.0) {  // lower, and the slope has turned: the step farther from the trial
    bracketed_ = true;
    const Cubic cubic = cubic_through(best, trial, false);
    const double root = trial.step > best.step ? -cubic.root : cubic.root;
    const double share = ((root - trial.slope) + cubic.theta) / (((root - trial.slope) + root) + best.slope);
    const double cubic_step = trial.step + share * back;
    return std::fabs(cubic_step - trial.step) > std::fabs(secant_step - trial.step) ? cubic_step : secant_step;
  }

  if (std::fabs(trial.slope) <
      std::fabs(best.slope)) {  // lower and flattening: the cubic only if it has a minimum ahead
    const Cubic cubic = cubic_through(best, trial, true);
    const double root = trial.step > best.step ? -cubic.root : cubic.root;
    const double share = ((root - trial.slope) + cubic.theta) / ((root + (best.slope - trial.slope)) + root);
    double cubic_step = trial.step > best.step ? high_ : low_;
    if (share < 0.0 && root != 0.0) cubic_step = trial.step + share * back;
    const bool cubic_is_nearer = std::fabs(cubic_step - trial.step) < std::fabs(secant_step - trial.step);
    const bool cubic_is_farther = std::fabs(cubic_step - trial.step) > std::fabs(secant_step - trial.step);
    if (bracketed_) {
      const double step = cubic_is_nearer ? cubic_step : secant_step;
      const double limit = trial.step + kShrink * (other.step - trial.step);
      return trial.step > best.step ? std::min(limit, step) : std::max(limit, step);
    }
    return std::max(low_, std::min(high_, cubic_is_farther ? cubic_step : secant_step));
  }

  if (bracketed_) {  // lower and no flatter, with the minimum between trial and the other end
    const Cubic cubic = cubic_through(other, trial, false);
    const double root = trial.step > other.step ? -cubic.root : cubic.root;
    const double share = ((root - trial.slope) + cubic.theta) / (((root - trial.slope) + root) + other.slope);
    return trial.step + share * (other.step - trial.step);
  }
  return trial.step > best.step ? high_ : low_;
}

// The function left its domain at the trial: that point closes the interval, and interpolation through it means
// nothing, so come back a good part of the way.
void MoreThuente::retreat() {
  other_ = {step_, std::numeric_limits<double>::infinity(), 0.0};
  bracketed_ = true;
  low_ = std::min(best_.step, other_.step);
  high_ = std::max(best_.step, other_.step);
  width_ = high_ - low_;
  older_width_ = 2.0 * width_;
  step_ = best_.step + kRetreat * (other_.step - best_.step);
}

}  // namespace hpcpdf

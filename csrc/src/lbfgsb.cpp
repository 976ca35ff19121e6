#include "hpcpdf/lbfgsb.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace hpcpdf {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kLongestStep = 1e10;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

double dot(const std::vector<double>& a, const std::vector<double>& b, int length) {
  double sum = 0.0;
  for (int j = 0; j < length; ++j) sum += a[static_cast<std::size_t>(j)] * b[static_cast<std::size_t>(j)];
  return sum;
}

}  // namespace

Lbfgsb::Lbfgsb(std::size_t n, const LbfgsbOptions& options)
    : n_(n), options_(options), memory_(n, options.memory), free_space_(n, options.memory) {
  if (options.max_line_search < 1) throw std::invalid_argument("Lbfgsb: max_line_search must be at least 1");
  if (!(options.ftol >= 0.0)) throw std::invalid_argument("Lbfgsb: ftol must not be negative");
  for (auto* v : {&lower_, &upper_, &x_, &g_, &base_x_, &base_g_, &target_, &cauchy_, &d_, &reduced_})
    v->assign(n, 0.0);
  for (auto* v : {&p_, &c_, &row_, &product_}) v->assign(2 * static_cast<std::size_t>(options.memory), 0.0);
  is_free_.assign(n, 0);
  free_.reserve(n);
  breakpoints_.reserve(n);
}

bool Lbfgsb::has_lower(std::size_t k) const { return lower_[k] > -kInfinity; }
bool Lbfgsb::has_upper(std::size_t k) const { return upper_[k] < kInfinity; }
double Lbfgsb::clamped(std::size_t k, double value) const { return std::min(std::max(value, lower_[k]), upper_[k]); }

Lbfgsb::Task Lbfgsb::start(const double* x0, const double* lower, const double* upper) {
  bounded_ = false;
  boxed_ = true;
  for (std::size_t k = 0; k < n_; ++k) {
    lower_[k] = lower ? lower[k] : -kInfinity;
    upper_[k] = upper ? upper[k] : kInfinity;
    if (!(lower_[k] <= upper_[k]) || lower_[k] == kInfinity || upper_[k] == -kInfinity) {
      throw std::invalid_argument(
          "Lbfgsb: a lower bound is above its upper bound, a bound is NaN, or nothing lies between");
    }
    bounded_ = bounded_ || has_lower(k) || has_upper(k);
    boxed_ = boxed_ && has_lower(k) && has_upper(k);
    x_[k] = clamped(k, x0[k]);
  }
  forget();
  started_ = false;
  iterations_ = evaluations_ = 0;
  f_ = projected_gradient_ = std::numeric_limits<double>::quiet_NaN();
  return Task::evaluate;
}

Lbfgsb::Task Lbfgsb::advance(double f, const double* gradient) {
  ++evaluations_;
  f_ = f;
  std::copy(gradient, gradient + n_, g_.begin());
  if (!started_) {
    started_ = true;
    bool finite = std::isfinite(f);
    for (const double value : g_) finite = finite && std::isfinite(value);
    projected_gradient_ = norm_of_projected_gradient();
    if (!finite) return Task::abnormal;
    if (projected_gradient_ <= options_.gtol) return Task::gradient_small;
    return next_iteration();
  }
  slope_ = dot(g_, d_);
  if (search_.advance(f, slope_) == MoreThuente::Verdict::evaluate) {
    if (searched_ >= options_.max_line_search) return line_search_failed();
    return move_to_trial();
  }
  step_ = search_.step();
  ++iterations_;
  projected_gradient_ = norm_of_projected_gradient();
  return Task::new_iterate;
}

Lbfgsb::Task Lbfgsb::proceed() {
  if (projected_gradient_ <= options_.gtol) return Task::gradient_small;
  if (base_f_ - f_ <= options_.ftol * std::max({std::fabs(base_f_), std::fabs(f_), 1.0})) return Task::reduction_small;
  accept_pair();
  return next_iteration();
}

double Lbfgsb::norm_of_projected_gradient() const {
  double norm = 0.0;
  for (std::size_t k = 0; k < n_; ++k) {
    const double component = g_[k] < 0.0 ? std::max(x_[k] - upper_[k], g_[k]) : std::min(x_[k] - lower_[k], g_[k]);
    norm = std::max(norm, std::fabs(component));
  }
  return norm;
}

void Lbfgsb::forget() {
  memory_.clear();
  free_space_.clear();
}

// Curvature pair of the step just taken, unless it would spoil the positive definiteness of the model.
void Lbfgsb::accept_pair() {
  double yy = 0.0;
  for (std::size_t k = 0; k < n_; ++k) {
    base_g_[k] = g_[k] - base_g_[k];
    d_[k] *= step_;
    yy += base_g_[k] * base_g_[k];
  }
  const double sy = (slope_ - base_slope_) * step_;
  if (!(sy > kEpsilon * -base_slope_ * step_)) return;
  if (memory_.push(d_.data(), base_g_.data(), step_ * step_ * direction_norm2_, sy, yy)) {
    free_space_.pair_replaced(memory_.newest_slot());
  } else {
    forget();
  }
}

Lbfgsb::Task Lbfgsb::next_iteration() {
  while (!find_minimiser_of_model()) forget();
  return begin_line_search() ? move_to_trial() : line_search_failed();
}

// Back to the iterate; then along the projected steepest descent, once.
Lbfgsb::Task Lbfgsb::line_search_failed() {
  x_ = base_x_;
  g_ = base_g_;
  f_ = base_f_;
  if (memory_.size() == 0) return Task::abnormal;
  forget();
  return next_iteration();
}

bool Lbfgsb::find_minimiser_of_model() {
  if (!bounded_ && memory_.size() > 0) {
    target_ = x_;
    std::fill(is_free_.begin(), is_free_.end(), char{1});
  } else {
    cauchy_point();
  }
  free_.clear();
  for (std::size_t k = 0; k < n_; ++k) {
    if (is_free_[k]) free_.push_back(static_cast<int>(k));
  }
  if (memory_.size() == 0 || free_.empty()) return true;
  if (!free_space_.prepare(memory_, is_free_.data())) return false;
  minimise_in_subspace();
  return true;
}

// The first minimiser of the quadratic model along the projected steepest-descent path (section 4 of the 1995 paper).
// Leaves it in target_, the variables that the path left free in is_free_, and W'(target - x) in c_.
void Lbfgsb::cauchy_point() {
  const double theta = memory_.theta();
  const int length = 2 * memory_.size();
  const auto later = [](const Breakpoint& a, const Breakpoint& b) {
    return a.time > b.time || (a.time == b.time && a.variable > b.variable);
  };
  breakpoints_.clear();
  bool endless = false;  // some moving variable never meets a bound
  double f1 = 0.0;       // first and second derivative of the model along the current segment
  for (std::size_t k = 0; k < n_; ++k) {
    const double descent = -g_[k];
    const bool blocked = (x_[k] <= lower_[k] && descent <= 0.0) || (x_[k] >= upper_[k] && descent >= 0.0);
    d_[k] = blocked ? 0.0 : descent;
    is_free_[k] = !blocked;
    if (blocked || descent == 0.0) continue;
    f1 -= descent * descent;
    if (descent < 0.0 && has_lower(k)) {
      breakpoints_.push_back({(x_[k] - lower_[k]) / -descent, static_cast<int>(k)});
    } else if (descent > 0.0 && has_upper(k)) {
      breakpoints_.push_back({(upper_[k] - x_[k]) / descent, static_cast<int>(k)});
    } else {
      endless = true;
    }
  }
  target_ = x_;
  std::fill(c_.begin(), c_.begin() + length, 0.0);
  if (f1 == 0.0) return;
  std::make_heap(breakpoints_.begin(), breakpoints_.end(), later);

  memory_.project(d_.data(), p_.data());
  double f2 = -theta * f1;
  const double f2_at_start = f2;
  memory_.apply_middle(p_.data(), product_.data());
  f2 -= dot(p_, product_, length);

  double ahead = -f1 / f2;  // from the segment's start to the model's minimum on its line
  double time = 0.0;
  while (!breakpoints_.empty()) {
    const double stretch = breakpoints_.front().time - time;
    if (ahead < stretch) break;
    const auto k = static_cast<std::size_t>(breakpoints_.front().variable);
    time = breakpoints_.front().time;
    std::pop_heap(breakpoints_.begin(), breakpoints_.end(), later);
    breakpoints_.pop_back();

    const double speed = d_[k];
    d_[k] = 0.0;
    target_[k] = speed > 0.0 ? upper_[k] : lower_[k];
    is_free_[k] = 0;
    const double moved = target_[k] - x_[k];
    for (int j = 0; j < length; ++j) c_[static_cast<std::size_t>(j)] += stretch * p_[static_cast<std::size_t>(j)];
    if (breakpoints_.empty() && !endless) return;  // every variable that moved has come to rest

    f1 += stretch * f2 + speed * speed - theta * speed * moved;
    f2 -= theta * speed * speed;
    if (length > 0) {
      memory_.row(k, row_.data());
      memory_.apply_middle(row_.data(), product_.data());
      f1 += speed * dot(c_, product_, length);
      f2 += 2.0 * speed * dot(p_, product_, length) - speed * speed * dot(row_, product_, length);
      for (int j = 0; j < length; ++j) p_[static_cast<std::size_t>(j)] -= speed * row_[static_cast<std::size_t>(j)];
    }
    f2 = std::max(kEpsilon * f2_at_start, f2);
    ahead = -f1 / f2;
  }
  ahead = std::max(ahead, 0.0);
  time += ahead;
  for (std::size_t k = 0; k < n_; ++k) {
    if (d_[k] != 0.0) target_[k] = clamped(k, x_[k] + time * d_[k]);
  }
  for (int j = 0; j < length; ++j) c_[static_cast<std::size_t>(j)] += ahead * p_[static_cast<std::size_t>(j)];
}

// From the Cauchy point to the minimiser of the model over the free variables, brought into the box by projection
// where that still descends (Morales and Nocedal 2011), else by shortening the step (1995).
void Lbfgsb::minimise_in_subspace() {
  const double theta = memory_.theta();
  if (bounded_) {
    memory_.apply_middle(c_.data(), product_.data());
    for (std::size_t i = 0; i < free_.size(); ++i) {
      const auto k = static_cast<std::size_t>(free_[i]);
      reduced_[i] = -theta * (target_[k] - x_[k]) - g_[k] + memory_.row_dot(k, product_.data());
    }
  } else {
    for (std::size_t k = 0; k < n_; ++k) reduced_[k] = -g_[k];
  }
  free_space_.solve(memory_, free_.data(), free_.size(), reduced_.data());

  cauchy_ = target_;
  bool hit = false;
  double slope = 0.0;
  for (std::size_t i = 0; i < free_.size(); ++i) {
    const auto k = static_cast<std::size_t>(free_[i]);
    target_[k] = clamped(k, cauchy_[k] + reduced_[i]);
    hit = hit || (has_lower(k) && target_[k] == lower_[k]) || (has_upper(k) && target_[k] == upper_[k]);
  }
  if (!hit) return;
  for (std::size_t k = 0; k < n_; ++k) slope += (target_[k] - x_[k]) * g_[k];
  if (slope <= 0.0) return;

  double share = 1.0;
  std::size_t first_to_stop = free_.size();
  for (std::size_t i = 0; i < free_.size(); ++i) {
    const auto k = static_cast<std::size_t>(free_[i]);
    if (reduced_[i] == 0.0) continue;
    const double room = (reduced_[i] > 0.0 ? upper_[k] : lower_[k]) - cauchy_[k];
    const double limit = room / reduced_[i];
    if (limit < share) {
      share = std::max(limit, 0.0);
      first_to_stop = i;
    }
  }
  for (std::size_t i = 0; i < free_.size(); ++i) {
    const auto k = static_cast<std::size_t>(free_[i]);
    target_[k] = clamped(k, cauchy_[k] + share * reduced_[i]);
    if (i == first_to_stop) target_[k] = reduced_[i] > 0.0 ? upper_[k] : lower_[k];
  }
}

// False when the direction does not descend.
bool Lbfgsb::begin_line_search() {
  double longest = kLongestStep;
  for (std::size_t k = 0; k < n_; ++k) {
    d_[k] = target_[k] - x_[k];
    if (!bounded_) continue;
    if (d_[k] < 0.0 && has_lower(k)) longest = std::min(longest, (lower_[k] - x_[k]) / d_[k]);
    if (d_[k] > 0.0 && has_upper(k)) longest = std::min(longest, (upper_[k] - x_[k]) / d_[k]);
  }
  if (bounded_ && iterations_ == 0) longest = 1.0;
  direction_norm2_ = dot(d_, d_);
  base_x_ = x_;
  base_g_ = g_;
  base_f_ = f_;
  base_slope_ = dot(g_, d_);
  searched_ = 0;
  if (!(base_slope_ < 0.0) || !(longest > 0.0)) return false;
  double first = 1.0;
  if (iterations_ == 0 && !boxed_) first = 1.0 / std::sqrt(direction_norm2_);
  search_.start(f_, base_slope_, std::min(first, longest), longest);
  return true;
}

Lbfgsb::Task Lbfgsb::move_to_trial() {
  ++searched_;
  const double step = search_.step();
  if (step == 1.0) {
    x_ = target_;
  } else {
    for (std::size_t k = 0; k < n_; ++k) x_[k] = clamped(k, base_x_[k] + step * d_[k]);
  }
  return Task::evaluate;
}

}  // namespace hpcpdf

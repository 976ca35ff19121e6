#include "nnls.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lattice_kernels.hpp"

namespace hpcpdf {
namespace {

// Columns that may enter together, and the share of the steepest slope that they need.
constexpr std::size_t together = 8;
constexpr double steep = 0.4;
// Columns that are looked at again before all of them are.
constexpr std::size_t remembered = 32;
// A column that keeps less than this of its length beside those in use depends on them.
constexpr double independent = 1e-9;

// The columns in use as Q R, Q orthonormal, with the data's components along Q.
class Factor {
 public:
  Factor(const double* columns, std::size_t points, const double* data)
      : loops_(lattice_kernels()), columns_(columns), data_(data), points_(points) {}

  std::size_t size() const { return chosen_.size(); }
  const std::vector<std::size_t>& chosen() const { return chosen_; }

  // False if the column depends on those in use.
  bool push(std::size_t column) {
    const std::size_t k = size();
    const double* source = columns_ + column * points_;
    if (q_.size() < (k + 1) * points_) q_.resize((2 * k + 8) * points_);
    double* q = &q_[k * points_];
    std::copy(source, source + points_, q);
    std::vector<double> r(k + 1, 0.0), along(k + 1);
    rows_.resize(k);
    for (std::size_t i = 0; i < k; ++i) rows_[i] = &q_[i * points_];
    double before;
    loops_.products(source, 1, points_, source, &before);
    for (int pass = 0; pass < 2; ++pass) {
      loops_.products(q_.data(), k, points_, q, along.data());
      loops_.subtract_rows(rows_.data(), along.data(), k, points_, q);
      for (std::size_t i = 0; i < k; ++i) r[i] += along[i];
    }
    double left;
    loops_.products(q, 1, points_, q, &left);
    if (!(left > independent * independent * before)) return false;
    left = std::sqrt(left);
    r[k] = left;
    for (std::size_t p = 0; p < points_; ++p) q[p] /= left;
    chosen_.push_back(column);
    r_.push_back(std::move(r));
    double component;
    loops_.products(q, 1, points_, data_, &component);
    along_.push_back(component);
    return true;
  }

  // Takes column number k out again.
  void erase(std::size_t k) {
    chosen_.erase(chosen_.begin() + static_cast<std::ptrdiff_t>(k));
    r_.erase(r_.begin() + static_cast<std::ptrdiff_t>(k));
    // Columns behind it now reach one below the diagonal; rotations of neighbouring rows bring them back.
    for (std::size_t j = k; j < r_.size(); ++j) {
      const double a = r_[j][j], b = r_[j][j + 1], size = std::hypot(a, b);
      const double c = size > 0.0 ? a / size : 1.0, s = size > 0.0 ? b / size : 0.0;
      for (std::size_t m = j; m < r_.size(); ++m) {
        const double x = r_[m][j], y = r_[m][j + 1];
        r_[m][j] = c * x + s * y;
        r_[m][j + 1] = c * y - s * x;
      }
      r_[j].pop_back();
      loops_.rotate(c, s, points_, &q_[j * points_], &q_[(j + 1) * points_]);
      const double x = along_[j], y = along_[j + 1];
      along_[j] = c * x + s * y;
      along_[j + 1] = c * y - s * x;
    }
    along_.pop_back();
  }

  // Least-squares weights of the columns in use.
  std::vector<double> solve() const {
    std::vector<double> x(along_);
    for (std::size_t i = x.size(); i-- > 0;) {
      x[i] /= r_[i][i];
      for (std::size_t j = 0; j < i; ++j) x[j] -= r_[i][j] * x[i];
    }
    return x;
  }

  void residual(const std::vector<double>& x, double* out) {
    std::copy(data_, data_ + points_, out);
    rows_.resize(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) rows_[i] = columns_ + chosen_[i] * points_;
    loops_.subtract_rows(rows_.data(), x.data(), x.size(), points_, out);
  }

 private:
  const LatticeKernels& loops_;
  const double* columns_;
  const double* data_;
  std::size_t points_;
  std::vector<std::size_t> chosen_;
  std::vector<std::vector<double>> r_;  // r_[j][i], i <= j
  std::vector<double> q_, along_;
  std::vector<const double*> rows_;
};

class Solver {
 public:
  Solver(const double* columns, std::size_t n_columns, std::size_t points, const double* data)
      : loops_(lattice_kernels()),
        columns_(columns),
        n_(n_columns),
        points_(points),
        factor_(columns, points, data),
        in_use_(n_columns, 0),
        refused_(n_columns, 0),
        length_(n_columns),
        slope_(n_columns),
        left_(points) {
    for (std::size_t c = 0; c < n_; ++c) {
      loops_.products(columns_ + c * points_, 1, points_, columns_ + c * points_, &length_[c]);
      length_[c] = std::sqrt(length_[c]);
    }
    loops_.products(data, 1, points_, data, &size2_);
  }

  double run(double tolerance, std::vector<std::size_t>& used, double* weights) {
    // Any small positive start will do: the first move goes towards the least-squares weights.
    for (const std::size_t c : used) {
      if (c < n_ && !in_use_[c] && length_[c] > 0.0) enter(c, 1e-9 * std::sqrt(size2_) / length_[c]);
    }
    settle();
    double left2 = look();
    bool one_at_a_time = false;
    for (std::size_t round = 0; round < 3 * n_ + 10 && factor_.size() < points_; ++round) {
      const auto best = steepest(one_at_a_time ? 1 : together, tolerance * left2);
      if (best.empty()) break;
      for (const std::size_t c : best) {
        if (!enter(c, 0.0)) refused_[c] = 1;
      }
      settle();
      const double now = look();
      const bool helped = now < left2 * (1.0 - 1e-12);
      if (!helped && one_at_a_time) refused_[best[0]] = 1;
      one_at_a_time = !helped;
      left2 = std::min(left2, now);
    }
    std::fill(weights, weights + n_, 0.0);
    used.clear();
    for (std::size_t i = 0; i < x_.size(); ++i) {
      weights[factor_.chosen()[i]] = x_[i];
      used.push_back(factor_.chosen()[i]);
    }
    std::sort(used.begin(), used.end());
    return std::sqrt(look());
  }

 private:
  bool enter(std::size_t column, double start) {
    if (!factor_.push(column)) return false;
    in_use_[column] = 1;
    x_.push_back(start);
    return true;
  }

  // Squared norm of what is left, which is brought up to date.
  double look() {
    factor_.residual(x_, left_.data());
    double left2;
    loops_.products(left_.data(), 1, points_, left_.data(), &left2);
    return left2;
  }

  using Slope = std::pair<double, std::size_t>;  // negative, so that the steepest comes first when sorted

  double slope_of(std::size_t c) const {
    if (in_use_[c] || refused_[c] || length_[c] == 0.0) return 0.0;
    double product;
    loops_.products(columns_ + c * points_, 1, points_, left_.data(), &product);
    return product / length_[c];
  }

  // Columns that would take most of what is left, if each came alone: local maxima along the columns. As long as those
  // seen at the last look at all columns are steep enough, the others are left alone.
  std::vector<std::size_t> steepest(std::size_t most, double least) {
    least = std::sqrt(std::max(least, 1e-24 * size2_));
    for (Slope& one : promising_) one.first = -slope_of(one.second);
    std::sort(promising_.begin(), promising_.end());
    if (promising_.empty() || !(-promising_[0].first > std::max(least, steep * seen_))) look_at_all(least);
    std::vector<std::size_t> best;
    for (const Slope& one : promising_) {
      if (best.size() == most || !(-one.first > least) || one.first > steep * promising_[0].first) break;
      best.push_back(one.second);
    }
    return best;
  }

  void look_at_all(double least) {
    loops_.products(columns_, n_, points_, left_.data(), slope_.data());
    for (std::size_t c = 0; c < n_; ++c) {
      slope_[c] = in_use_[c] || refused_[c] || length_[c] == 0.0 ? 0.0 : slope_[c] / length_[c];
    }
    promising_.clear();
    for (std::size_t c = 0; c < n_; ++c) {
      if (!(slope_[c] > least)) continue;
      if ((c > 0 && slope_[c - 1] >= slope_[c]) || (c + 1 < n_ && slope_[c + 1] > slope_[c])) continue;
      promising_.emplace_back(-slope_[c], c);
    }
    std::sort(promising_.begin(), promising_.end());
    if (promising_.size() > remembered) promising_.resize(remembered);
    seen_ = promising_.empty() ? 0.0 : -promising_[0].first;
  }

  // Moves the weights to those of least squares, dropping columns that would turn negative on the way.
  void settle() {
    while (factor_.size() > 0) {
      const auto wanted = factor_.solve();
      double step = 1.0;
      std::size_t first = wanted.size();
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i] > 0.0) continue;
        const double limit = x_[i] / (x_[i] - wanted[i]);
        if (first == wanted.size() || limit < step) {
          step = limit;
          first = i;
        }
      }
      if (first == wanted.size()) {
        x_ = wanted;
        return;
      }
      for (std::size_t i = 0; i < x_.size(); ++i) x_[i] += step * (wanted[i] - x_[i]);
      for (std::size_t i = x_.size(); i-- > 0;) {
        if (i != first && !(wanted[i] <= 0.0 && x_[i] <= 0.0)) continue;
        in_use_[factor_.chosen()[i]] = 0;
        x_.erase(x_.begin() + static_cast<std::ptrdiff_t>(i));
        factor_.erase(i);
      }
    }
  }

  const LatticeKernels& loops_;
  const double* columns_;
  std::size_t n_, points_;
  Factor factor_;
  std::vector<char> in_use_, refused_;
  std::vector<double> length_, slope_, left_;
  std::vector<double> x_;  // of the columns in use, in the factor's order
  double size2_ = 0.0;
  std::vector<Slope> promising_;
  double seen_ = 0.0;  // the steepest when all columns were looked at last
};

}  // namespace

double nnls(const double* columns, std::size_t n_columns, std::size_t points, const double* data, double tolerance,
            std::vector<std::size_t>& used, double* weights) {
  return Solver(columns, n_columns, points, data).run(tolerance, used, weights);
}

}  // namespace hpcpdf

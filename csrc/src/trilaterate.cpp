#include "hpcpdf/trilaterate.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

namespace hpcpdf::trilaterate {
namespace {

constexpr double kTiny = 1e-24;  // keeps 1/r finite for coincident atoms

// Solves A x = b for a symmetric positive definite A of order N, in place; false when A is not.
template <int N>
bool invert_spd(double (&a)[N][N]) {
  double l[N][N] = {};
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j <= i; ++j) {
      double s = a[i][j];
      for (int k = 0; k < j; ++k) s -= l[i][k] * l[j][k];
      if (i == j) {
        if (!(s > 0.0)) return false;
        l[i][i] = std::sqrt(s);
      } else {
        l[i][j] = s / l[j][j];
      }
    }
  }
  double inverse[N][N] = {};
  for (int i = 0; i < N; ++i) {
    inverse[i][i] = 1.0 / l[i][i];
    for (int j = 0; j < i; ++j) {
      double s = 0.0;
      for (int k = j; k < i; ++k) s -= l[i][k] * inverse[k][j];
      inverse[i][j] = s / l[i][i];
    }
  }
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) {
      double s = 0.0;
      for (int k = std::max(i, j); k < N; ++k) s += inverse[k][i] * inverse[k][j];
      a[i][j] = s;
    }
  }
  return true;
}

class Solver {
 public:
  Solver(const double* satellites, int count, const Options& options) : p_(satellites), s_(count), options_(options) {}

  Outcome run(const Problem& problem, double* out) {
    n_ = problem.n;
    Outcome outcome;
    load(problem);
    if (!finite_) {
      std::fill(out, out + 3 * n_, std::numeric_limits<double>::quiet_NaN());
      outcome.cost = outcome.projected_gradient = std::numeric_limits<double>::quiet_NaN();
      outcome.status = Status::invalid_input;
      return outcome;
    }
    start();
    minimise(outcome);
    std::copy(x_.begin(), x_.end(), out);
    return outcome;
  }

 private:
  void load(const Problem& q) {
    const std::size_t pairs = static_cast<std::size_t>(n_) * n_;
    d_.assign(pairs, 0.0);
    w_.assign(pairs, 1.0);
    a_.assign(static_cast<std::size_t>(n_) * s_, 0.0);
    v_.assign(a_.size(), 1.0);
    finite_ = true;
    for (int i = 0; i < n_; ++i) {
      for (int j = 0; j < n_; ++j) {
        if (i == j) continue;
        const double w = q.weights.data ? 0.5 * (q.weights.at(i, j) + q.weights.at(j, i)) : 1.0;
        const double d = w == 0.0 ? 0.0 : 0.5 * (q.distances.at(i, j) + q.distances.at(j, i));
        finite_ = finite_ && std::isfinite(d) && std::isfinite(w) && w >= 0.0;
        d_[i * n_ + j] = d;
        w_[i * n_ + j] = w;
      }
      for (int s = 0; s < s_; ++s) {
        const double v = q.satellite_weights.data ? q.satellite_weights.at(i, s) : 1.0;
        const double a = v == 0.0 ? 0.0 : q.satellites.at(i, s);
        finite_ = finite_ && std::isfinite(a) && std::isfinite(v) && v >= 0.0;
        a_[i * s_ + s] = a;
        v_[i * s_ + s] = v;
      }
    }
  }

  // Subtracting the weighted mean of the satellite equations |x|^2 - 2 p.x + |p|^2 = A^2 removes |x|^2 and leaves a
  // linear system for x.
  void start() {
    x_.assign(3 * n_, 0.0);
    for (int i = 0; i < n_; ++i) {
      double total = 0.0, mean[3] = {}, level = 0.0;
      for (int s = 0; s < s_; ++s) {
        const double v = v_[i * s_ + s];
        total += v;
        for (int k = 0; k < 3; ++k) mean[k] += v * p_[3 * s + k];
        level += v * excess(i, s);
      }
      double m[3][3] = {}, b[3] = {};
      for (int s = 0; s < s_ && total > 0.0; ++s) {
        const double v = v_[i * s_ + s];
        const double e = excess(i, s) - level / total;
        double q[3];
        for (int k = 0; k < 3; ++k) q[k] = p_[3 * s + k] - mean[k] / total;
        for (int k = 0; k < 3; ++k) {
          b[k] += 0.5 * v * q[k] * e;
          for (int l = 0; l < 3; ++l) m[k][l] += v * q[k] * q[l];
        }
      }
      const double trace = m[0][0] + m[1][1] + m[2][2];
      for (int k = 0; k < 3; ++k) m[k][k] += 1e-9 * trace;
      if (invert_spd(m)) {
        for (int k = 0; k < 3; ++k) x_[3 * i + k] = m[k][0] * b[0] + m[k][1] * b[1] + m[k][2] * b[2];
      }
      // A tiny displacement, another one for every atom, parts coincident starts.
      for (int k = 0; k < 3; ++k) {
        const double t = (i + 1) * 0.6180339887498949 * (k + 1);
        x_[3 * i + k] = std::clamp(x_[3 * i + k] + 1e-5 * (t - std::floor(t) - 0.5), -1.0, 1.0);
      }
    }
  }

  double excess(int i, int s) const {
    const double* p = p_ + 3 * s;
    const double a = a_[i * s_ + s];
    return p[0] * p[0] + p[1] * p[1] + p[2] * p[2] - a * a;
  }

  double evaluate(const std::vector<double>& x, std::vector<double>& g) const {
    double f = 0.0;
    g.assign(3 * n_, 0.0);
    for (int i = 0; i < n_; ++i) {
      const double* xi = x.data() + 3 * i;
      for (int j = i + 1; j < n_; ++j) {
        const double* xj = x.data() + 3 * j;
        const double e[3] = {xi[0] - xj[0], xi[1] - xj[1], xi[2] - xj[2]};
        const double r = std::sqrt(e[0] * e[0] + e[1] * e[1] + e[2] * e[2] + kTiny);
        const double w = w_[i * n_ + j], d = d_[i * n_ + j];
        f += w * (r - d) * (r - d);
        const double k = 2.0 * w * (1.0 - d / r);
        for (int c = 0; c < 3; ++c) {
          g[3 * i + c] += k * e[c];
          g[3 * j + c] -= k * e[c];
        }
      }
      for (int s = 0; s < s_; ++s) {
        const double e[3] = {xi[0] - p_[3 * s], xi[1] - p_[3 * s + 1], xi[2] - p_[3 * s + 2]};
        const double r = std::sqrt(e[0] * e[0] + e[1] * e[1] + e[2] * e[2] + kTiny);
        const double v = v_[i * s_ + s], a = a_[i * s_ + s];
        f += v * (r - a) * (r - a);
        const double k = 2.0 * v * (1.0 - a / r);
        for (int c = 0; c < 3; ++c) g[3 * i + c] += k * e[c];
      }
    }
    return f;
  }

  // Gauss-Newton diagonal blocks and the 6x6 matrix of the rigid motions, at x_.
  void precondition() {
    blocks_.assign(9 * n_, 0.0);
    double coarse[6][6] = {};
    centre_[0] = centre_[1] = centre_[2] = 0.0;
    for (int i = 0; i < n_; ++i) {
      for (int c = 0; c < 3; ++c) centre_[c] += x_[3 * i + c] / n_;
    }
    reference_ = x_;
    double largest = 0.0;
    for (int i = 0; i < n_; ++i) {
      double b[3][3] = {};
      for (int s = 0; s < s_; ++s) add_outer(b, &x_[3 * i], p_ + 3 * s, 2.0 * v_[i * s_ + s]);
      double z[3][6];
      modes(i, z);
      for (int k = 0; k < 6; ++k) {
        for (int l = 0; l < 6; ++l) {
          for (int c = 0; c < 3; ++c) {
            for (int e = 0; e < 3; ++e) coarse[k][l] += z[c][k] * b[c][e] * z[e][l];
          }
        }
      }
      for (int j = 0; j < n_; ++j) {
        if (j != i) add_outer(b, &x_[3 * i], &x_[3 * j], 2.0 * w_[i * n_ + j]);
      }
      const double trace = b[0][0] + b[1][1] + b[2][2];
      largest = std::max(largest, trace);
      for (int c = 0; c < 3; ++c) b[c][c] += 1e-3 * trace + 1e-30;
      invert_spd(b);
      for (int c = 0; c < 3; ++c) {
        for (int e = 0; e < 3; ++e) blocks_[9 * i + 3 * c + e] = b[c][e];
      }
    }
    double trace = 0.0;
    for (int k = 0; k < 6; ++k) trace += coarse[k][k];
    use_coarse_ = trace > 0.0;
    if (use_coarse_) {
      for (int k = 0; k < 6; ++k) coarse[k][k] += 1e-6 * trace;
      use_coarse_ = invert_spd(coarse);
    }
    for (int k = 0; k < 6; ++k) {
      for (int l = 0; l < 6; ++l) coarse_[k][l] = coarse[k][l];
    }
  }

  static void add_outer(double (&b)[3][3], const double* x, const double* y, double w) {
    const double e[3] = {x[0] - y[0], x[1] - y[1], x[2] - y[2]};
    const double r2 = e[0] * e[0] + e[1] * e[1] + e[2] * e[2] + kTiny;
    for (int k = 0; k < 3; ++k) {
      for (int l = 0; l < 3; ++l) b[k][l] += w * e[k] * e[l] / r2;
    }
  }

  // Columns: translations along x, y, z and rotations about them through the centroid.
  void modes(int i, double (&z)[3][6]) const {
    const double q[3] = {reference_[3 * i] - centre_[0], reference_[3 * i + 1] - centre_[1],
                         reference_[3 * i + 2] - centre_[2]};
    const double filled[3][6] = {{1, 0, 0, 0, q[2], -q[1]}, {0, 1, 0, -q[2], 0, q[0]}, {0, 0, 1, q[1], -q[0], 0}};
    for (int c = 0; c < 3; ++c) std::copy(filled[c], filled[c] + 6, z[c]);
  }

  void apply_preconditioner(std::vector<double>& q) const {
    double t[6] = {}, u[6] = {};
    if (use_coarse_) {
      for (int i = 0; i < n_; ++i) {
        double z[3][6];
        modes(i, z);
        for (int c = 0; c < 3; ++c) {
          for (int k = 0; k < 6; ++k) t[k] += z[c][k] * q[3 * i + c];
        }
      }
      for (int k = 0; k < 6; ++k) {
        for (int l = 0; l < 6; ++l) u[k] += coarse_[k][l] * t[l];
      }
    }
    for (int i = 0; i < n_; ++i) {
      const double* b = &blocks_[9 * i];
      const double g[3] = {q[3 * i], q[3 * i + 1], q[3 * i + 2]};
      double z[3][6];
      modes(i, z);
      for (int c = 0; c < 3; ++c) {
        double y = b[3 * c] * g[0] + b[3 * c + 1] * g[1] + b[3 * c + 2] * g[2];
        for (int k = 0; k < 6; ++k) y += z[c][k] * u[k];
        q[3 * i + c] = y;
      }
    }
  }

  static double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double s = 0.0;
    for (std::size_t k = 0; k < a.size(); ++k) s += a[k] * b[k];
    return s;
  }

  bool fixed(std::size_t k) const { return (x_[k] <= -1.0 && g_[k] > 0.0) || (x_[k] >= 1.0 && g_[k] < 0.0); }

  double projected_gradient() const {
    double worst = 0.0;
    for (std::size_t k = 0; k < x_.size(); ++k) {
      worst = std::max(worst, std::fabs(std::clamp(x_[k] - g_[k], -1.0, 1.0) - x_[k]));
    }
    return worst;
  }

  // Two-loop recursion on the variables that are free to move.
  void direction() {
    q_ = g_;
    for (std::size_t k = 0; k < q_.size(); ++k) {
      if (fixed(k)) q_[k] = 0.0;
    }
    double alpha[kMemory];
    for (int m = 0; m < stored_; ++m) {
      alpha[m] = dot(s_hist_[m], q_) * rho_[m];
      for (std::size_t k = 0; k < q_.size(); ++k) q_[k] -= alpha[m] * y_hist_[m][k];
    }
    apply_preconditioner(q_);
    for (int m = stored_ - 1; m >= 0; --m) {
      const double beta = rho_[m] * dot(y_hist_[m], q_);
      for (std::size_t k = 0; k < q_.size(); ++k) q_[k] += (alpha[m] - beta) * s_hist_[m][k];
    }
    for (std::size_t k = 0; k < q_.size(); ++k) {
      q_[k] = -q_[k];
      const bool leaves = (x_[k] <= -1.0 && q_[k] < 0.0) || (x_[k] >= 1.0 && q_[k] > 0.0);
      if (fixed(k) || leaves) q_[k] = 0.0;
    }
  }

  void minimise(Outcome& outcome) {
    stored_ = 0;
    double f = evaluate(x_, g_);
    outcome.evaluations = 1;
    precondition();
    bool rebuilt = false;
    double pg = projected_gradient();
    while (pg > options_.gradient_tolerance) {
      direction();
      double slope = dot(q_, g_);
      if (!(slope < 0.0)) {
        stored_ = 0;
        direction();
      }
      double alpha = 1.0;
      bool accepted = false;
      double ft = f;
      for (int tries = 0; tries < 25 && outcome.evaluations < options_.max_evaluations; ++tries) {
        xt_.resize(x_.size());
        for (std::size_t k = 0; k < x_.size(); ++k) xt_[k] = std::clamp(x_[k] + alpha * q_[k], -1.0, 1.0);
        ft = evaluate(xt_, gt_);
        ++outcome.evaluations;
        slope = 0.0;
        for (std::size_t k = 0; k < x_.size(); ++k) slope += g_[k] * (xt_[k] - x_[k]);
        if (ft <= f + 1e-4 * slope + 1e-14 * f) {
          accepted = true;
          break;
        }
        const double curvature = ft - f - slope;
        const double guess = curvature > 0.0 ? -0.5 * slope / curvature : 0.5;
        alpha *= std::clamp(guess, 0.1, 0.5);
      }
      if (!accepted) {
        if (stored_ > 0 && outcome.evaluations < options_.max_evaluations) {
          stored_ = 0;
          continue;
        }
        outcome.status = outcome.evaluations < options_.max_evaluations ? Status::stalled : Status::evaluation_limit;
        break;
      }
      remember();
      x_.swap(xt_);
      g_.swap(gt_);
      f = ft;
      pg = projected_gradient();
      if (!rebuilt) {
        precondition();
        rebuilt = true;
      }
    }
    outcome.cost = f;
    outcome.projected_gradient = pg;
  }

  void remember() {
    std::vector<double> s(x_.size()), y(x_.size());
    for (std::size_t k = 0; k < x_.size(); ++k) {
      s[k] = xt_[k] - x_[k];
      y[k] = s[k] == 0.0 ? 0.0 : gt_[k] - g_[k];
    }
    const double sy = dot(s, y);
    if (!(sy > 1e-12 * dot(y, y))) return;
    for (int m = std::min(stored_, kMemory - 1); m > 0; --m) {
      s_hist_[m].swap(s_hist_[m - 1]);
      y_hist_[m].swap(y_hist_[m - 1]);
      rho_[m] = rho_[m - 1];
    }
    s_hist_[0].swap(s);
    y_hist_[0].swap(y);
    rho_[0] = 1.0 / sy;
    stored_ = std::min(stored_ + 1, kMemory);
  }

  static constexpr int kMemory = 2;
  const double* p_;
  int s_;
  Options options_;
  int n_ = 0;
  bool finite_ = true;
  std::vector<double> d_, w_, a_, v_, x_, g_, xt_, gt_, q_, blocks_, reference_;
  std::vector<double> s_hist_[kMemory], y_hist_[kMemory];
  double rho_[kMemory] = {}, coarse_[6][6] = {}, centre_[3] = {};
  bool use_coarse_ = false;
  int stored_ = 0;
};

}  // namespace

bool solve(const Problem* problems, std::size_t count, const double* satellites, int n_satellites,
           const Options& options, double* const* positions, Outcome* outcomes,
           const std::function<bool()>& interrupted) {
  constexpr std::size_t kChunk = 64;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  const auto work = [&] {
    Solver solver(satellites, n_satellites, options);
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t begin = next.fetch_add(kChunk);
      if (begin >= count) return;
      const std::size_t end = std::min(count, begin + kChunk);
      for (std::size_t k = begin; k < end && !stop.load(std::memory_order_relaxed); ++k) {
        outcomes[k] = solver.run(problems[k], positions[k]);
      }
    }
  };
  const std::size_t chunks = (count + kChunk - 1) / kChunk;
  const int threads =
      static_cast<int>(std::min<std::size_t>(std::max(options.threads, 1), std::max<std::size_t>(chunks, 1)));
  std::mutex mutex;
  std::condition_variable finished;
  int running = threads;
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&] {
      work();
      const std::lock_guard<std::mutex> lock(mutex);
      --running;
      finished.notify_one();
    });
  }
  {
    std::unique_lock<std::mutex> lock(mutex);
    while (!finished.wait_for(lock, std::chrono::milliseconds(100), [&] { return running == 0; })) {
      lock.unlock();
      if (interrupted && interrupted()) stop = true;
      lock.lock();
    }
  }
  for (auto& thread : pool) thread.join();
  return !stop;
}

}  // namespace hpcpdf::trilaterate

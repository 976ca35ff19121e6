// Which way each problem takes, and the threads.
#include "hpcpdf/trilaterate.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <numeric>

#include "hpcpdf/parallel.hpp"
#include "trilaterate_dense.hpp"

namespace hpcpdf::trilaterate {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr int kSingleChunk = 16;      // structures that a thread takes at a time
constexpr int kLaneEvaluations = 40;  // after these the rest of a lane group goes on alone

struct AlignedDelete {
  void operator()(char* p) const { ::operator delete(p, std::align_val_t(kAlignment)); }
};

class Memory {
 public:
  void* at_least(std::size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      data_.reset(static_cast<char*>(::operator new(bytes, std::align_val_t(kAlignment))));
      size_ = bytes;
    }
    return data_.get();
  }

 private:
  std::unique_ptr<char, AlignedDelete> data_;
  std::size_t size_ = 0;
};

struct Batch {
  const Problem* problems;
  Field field;
  Options options;
  const Level* level;
  Limits limits;
  void* const* positions;
  Outcome* outcomes;
};

// Problems that one thread takes at a time: entries [begin, end) of the order.
struct Unit {
  enum Kind : int { dense, single, lanes } kind;
  std::size_t begin, end;
};

bool all_positive(const View& weights, int rows, int columns) {
  for (int i = 0; i < rows; ++i) {
    for (int s = 0; s < columns; ++s) {
      if (!(weights.at(i, s) > 0.0)) return false;
    }
  }
  return true;
}

class Worker {
 public:
  explicit Worker(const Batch& batch) : batch_(batch) {}

  void run(const Unit& unit, const std::size_t* order) {
    if (unit.kind == Unit::lanes) {
      Task task = fresh_task(order + unit.begin);
      task.count = static_cast<int>(unit.end - unit.begin);
      lanes(task);
      return;
    }
    for (std::size_t k = unit.begin; k < unit.end; ++k) {
      if (unit.kind == Unit::single) {
        single(order[k]);
      } else {
        dense(order[k]);
      }
    }
  }

 private:
  const Problem& problem(std::size_t index) const { return batch_.problems[index]; }

  void lanes(const Task& task) {
    const Kernel& kernel = batch_.level->lanes[batch_.options.wide];
    const Limits limits{std::min(kLaneEvaluations, batch_.limits.evaluations), batch_.limits.gradient};
    int n = 0;
    for (int k = 0; k < task.count; ++k) n = std::max(n, problem(task.index[k]).n);
    kernel.solve(batch_.field, limits, task, memory_.at_least(kernel.memory(n, batch_.field.count)));
    for (int k = 0; k < task.count; ++k) go_on(task.index[k]);
  }

  void single(std::size_t index) {
    const Problem& q = problem(index);
    const Kernel& kernel = batch_.level->single[batch_.options.wide][q.weighted()];
    kernel.solve(batch_.field, batch_.limits, fresh_task(&index),
                 memory_.at_least(kernel.memory(q.n, batch_.field.count)));
    go_on(index);
  }

  Task fresh_task(const std::size_t* index) const {
    Task task;
    task.problems = batch_.problems;
    task.index = index;
    task.count = 1;
    task.positions = batch_.positions;
    task.outcomes = batch_.outcomes;
    return task;
  }

  // A problem that float32 or its lane group left unfinished goes on in float64 from where it is.
  void go_on(std::size_t index) {
    Outcome& outcome = batch_.outcomes[index];
    if (outcome.status != Status::evaluation_limit && outcome.status != Status::stalled) return;
    const int left = batch_.limits.evaluations - outcome.evaluations;
    if (left <= 1 || (batch_.options.wide && outcome.status == Status::stalled)) return;
    const int size = 3 * problem(index).n;
    x_.resize(size);
    for (int k = 0; k < size; ++k) x_[k] = position(index, k);
    const int before = outcome.evaluations;
    outcome = wide_kernel(index, {left, batch_.limits.gradient});
    outcome.evaluations += before;
    write(index, x_.data());
  }

  // The float64 kernel from x_ to x_.
  Outcome wide_kernel(std::size_t index, const Limits& limits) {
    const Problem& q = problem(index);
    const Kernel& kernel = batch_.level->single[1][q.weighted()];
    const std::vector<double> start = x_;
    Outcome outcome;
    void* target = x_.data();
    const std::size_t zero = 0;
    Task task;
    task.problems = &q;
    task.index = &zero;
    task.count = 1;
    task.start = start.data();
    task.positions = &target;
    task.outcomes = &outcome;
    kernel.solve(batch_.field, limits, task, memory_.at_least(kernel.memory(q.n, batch_.field.count)));
    return outcome;
  }

  // The float64 kernel, and where it creeps along a flat valley the general L-BFGS-B from there: its longer memory
  // finds the way where the preconditioner, made for well placed satellites, does not.
  Outcome persistent(std::size_t index) {
    const Outcome first = wide_kernel(index, batch_.limits);
    if (first.status != Status::evaluation_limit) return first;
    Outcome outcome = minimise_generally(dense_, x_.data(), batch_.limits);
    outcome.evaluations += first.evaluations;
    return outcome;
  }

  double position(std::size_t index, int k) const {
    const void* p = batch_.positions[index];
    return batch_.options.wide ? static_cast<const double*>(p)[k] : static_cast<const float*>(p)[k];
  }

  void write(std::size_t index, const double* x) const {
    const int size = 3 * problem(index).n;
    for (int k = 0; k < size; ++k) {
      if (batch_.options.wide) {
        static_cast<double*>(batch_.positions[index])[k] = x[k];
      } else {
        static_cast<float*>(batch_.positions[index])[k] = static_cast<float>(x[k]);
      }
    }
  }

  // The way without short cuts: missing distances, satellites that do not span space, other solvers.
  void dense(std::size_t index) {
    Outcome& outcome = batch_.outcomes[index];
    dense_.load(problem(index), batch_.field.points, batch_.field.count);
    const int n = dense_.n;
    x_.assign(3 * static_cast<std::size_t>(n), std::numeric_limits<double>::quiet_NaN());
    if (!dense_.sound) {
      outcome = {x_.empty() ? 0.0 : x_[0], x_.empty() ? 0.0 : x_[0], 0, Status::invalid_input};
      write(index, x_.data());
      return;
    }
    outcome = Outcome();
    if (n == 0) return;
    std::vector<char> solved;
    std::vector<double> linear(x_.size());
    const bool direct = multilaterate(dense_, solved, linear.data());

    const auto attempt = [&](bool mirrored) {
      if (!direct) scaling_start(dense_, mirrored, x_.data());
      for (std::size_t k = 0; k < x_.size(); ++k) {
        x_[k] = std::clamp((solved[k / 3] ? linear[k] : x_[k]) + part(static_cast<int>(k)), -1.0, 1.0);
      }
      if (batch_.options.sequential) {
        return place_one_by_one(dense_, x_.data(), batch_.limits, batch_.options.general);
      }
      return batch_.options.general ? minimise_generally(dense_, x_.data(), batch_.limits) : persistent(index);
    };
    outcome = attempt(false);
    if (!direct && !batch_.field.good) {
      const std::vector<double> first = x_;
      const Outcome second = attempt(true);
      const int evaluations = outcome.evaluations + second.evaluations;
      if (second.cost < outcome.cost * (1.0 - 1e-9)) {
        outcome = second;
      } else {
        x_ = first;
      }
      outcome.evaluations = evaluations;
    }
    write(index, x_.data());
    if (direct) return;
    const Determination held = dense_.complete ? complete_determination(n) : determine(dense_);
    if (!held.rigid) {
      outcome.status = Status::undetermined;
    } else if (outcome.status == Status::converged) {
      outcome.status = !held.framed   ? Status::frame_undefined
                       : !held.handed ? Status::mirror_ambiguous
                                      : Status::converged;
    }
  }

  // The same small displacement of every start as in the kernels.
  static double part(int k) {
    const double t = (k / 3 + 1) * (0.6180339887498949 * (k % 3 + 1));
    return 1e-5 * (t - std::floor(t) - 0.5);
  }

  Determination complete_determination(int n) const {
    const int rank = batch_.field.rank;
    return {true, rank >= 2, rank >= 3 || (rank < 0 && n <= 3)};
  }

  const Batch& batch_;
  Memory memory_;
  Dense dense_;
  std::vector<double> x_;
};

// Problems that need more care, then those that are solved one at a time, then lane groups of about equal size, large
// ones first. The kind depends on the problem alone, so that its result does not depend on its neighbours.
void schedule(const Batch& batch, std::size_t count, std::vector<std::size_t>& order, std::vector<Unit>& units) {
  const bool plain = batch.field.good && !batch.options.sequential && !batch.options.general;
  const Kernel& lanes = batch.level->lanes[batch.options.wide];
  const int limit = batch.level->lane_limit[batch.options.wide];
  const auto place_of = [&](const Problem& q) -> int {
    const bool held = !q.satellite_weights || all_positive(*q.satellite_weights, q.n, batch.field.count);
    if (!plain || q.n == 0 || !held) return Unit::dense;
    return q.weighted() || q.n > limit ? Unit::single : Unit::lanes + limit - q.n;
  };
  std::vector<int> places(count);
  std::vector<std::size_t> begin(Unit::lanes + limit + 1);  // of each place, and the end
  for (std::size_t k = 0; k < count; ++k) ++begin[(places[k] = place_of(batch.problems[k])) + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  const std::size_t ends[] = {begin[Unit::single], begin[Unit::lanes], count};
  order.resize(count);
  for (std::size_t k = 0; k < count; ++k) order[begin[places[k]]++] = k;

  // Neighbours in size share a group: its time is that of the largest, so that a full group is always worth it.
  const std::size_t chunks[] = {4, kSingleChunk, static_cast<std::size_t>(lanes.width)};
  std::size_t at = 0;
  for (const Unit::Kind kind : {Unit::dense, Unit::single, Unit::lanes}) {
    for (; at < ends[kind]; at = units.back().end) units.push_back({kind, at, std::min(ends[kind], at + chunks[kind])});
  }
}

}  // namespace

bool solve(const Problem* problems, std::size_t count, const double* satellites, int n_satellites,
           const Options& options, void* const* positions, Outcome* outcomes, const std::function<void()>& meanwhile,
           const std::function<bool()>& interrupted) {
  std::vector<double> matrix;
  const Batch batch{problems,
                    make_field(satellites, n_satellites, matrix),
                    options,
                    &level(options.level),
                    {options.max_evaluations, options.gradient_tolerance},
                    positions,
                    outcomes};
  std::vector<std::size_t> order;
  std::vector<Unit> units;
  schedule(batch, count, order, units);

  std::atomic<std::size_t> next{0};
  bool stopped = false;
  const auto threads = static_cast<std::size_t>(std::max(options.threads, 1));
  on_threads(std::clamp<std::size_t>(units.size(), 1, threads), [&](std::size_t thread) {
    try {
      const bool calling = thread == 0;
      Worker worker(batch);
      if (calling && meanwhile) meanwhile();
      auto looked = std::chrono::steady_clock::now();
      for (std::size_t k; (k = next++) < units.size();) {
        worker.run(units[k], order.data());
        if (!calling) continue;
        const auto now = std::chrono::steady_clock::now();
        if (now - looked < std::chrono::milliseconds(100)) continue;
        looked = now;
        if (!stopped && interrupted && interrupted()) {
          stopped = true;
          next = units.size();
        }
      }
    } catch (...) {
      next = units.size();
      throw;
    }
  });
  return !stopped;
}

}  // namespace hpcpdf::trilaterate

#pragma once

#include <cstddef>
#include <vector>

#include "hpcpdf/free_space.hpp"
#include "hpcpdf/lbfgs_memory.hpp"
#include "hpcpdf/line_search.hpp"

namespace hpcpdf {

struct LbfgsbOptions {
  int memory = 10;                            // pairs kept ("m", "maxcor")
  double ftol = 1e7 * 2.220446049250313e-16;  // stop when (f_k - f_k+1) / max(|f_k|, |f_k+1|, 1) <= ftol
  double gtol = 1e-5;                         // stop when the largest projected gradient component <= gtol
  int max_line_search = 20;                   // evaluations in one line search
};

// L-BFGS-B 3.0: minimises a smooth f(x) under lower <= x <= upper.
//   R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995) 1190;
//   J. L. Morales, J. Nocedal, ACM Trans. Math. Softw. 38 (2011) 7: projection of the subspace minimiser.
// The caller evaluates, so that the objective may live in any language:
//
//   Lbfgsb solver(n, options);
//   auto task = solver.start(x0, lower, upper);
//   while (!Lbfgsb::finished(task)) {
//     if (task == Lbfgsb::Task::evaluate) {
//       const double f = objective(solver.x(), gradient);
//       task = solver.advance(f, gradient);
//     } else {                      // new_iterate: look at x(), f(), iterations(); stop here if you like
//       task = solver.proceed();
//     }
//   }
//
// or minimise() below. An object serves any number of problems of its dimension; nothing is allocated after
// construction. Every point handed out lies inside the box. Not thread-safe: one object a thread.
class Lbfgsb {
 public:
  enum class Task {
    evaluate,         // wants f and its gradient at x(), through advance()
    new_iterate,      // x() is better than the iterate before it; go on with proceed()
    gradient_small,   // converged
    reduction_small,  // converged: f hardly changes any more
    abnormal          // no lower point found along the last directions, or f or its gradient not finite at the start
  };
  static bool finished(Task task) { return task != Task::evaluate && task != Task::new_iterate; }
  static bool converged(Task task) { return task == Task::gradient_small || task == Task::reduction_small; }

  // Throws std::invalid_argument for memory < 1, max_line_search < 1, or a negative or NaN ftol.
  Lbfgsb(std::size_t n, const LbfgsbOptions& options);

  // x0 is moved into the box. lower, upper: n values, -+infinity where there is no bound, or nullptr for none at all.
  // Throws std::invalid_argument for a lower bound above its upper bound, or NaN in either.
  Task start(const double* x0, const double* lower = nullptr, const double* upper = nullptr);
  Task advance(double f, const double* gradient);
  Task proceed();

  std::size_t dimension() const { return n_; }
  const LbfgsbOptions& options() const { return options_; }
  // The point to evaluate, or the latest iterate.
  const double* x() const { return x_.data(); }
  double f() const { return f_; }
  const double* gradient() const { return g_.data(); }
  double projected_gradient() const { return projected_gradient_; }  // infinity norm at the latest iterate
  int iterations() const { return iterations_; }
  int evaluations() const { return evaluations_; }
  const LbfgsMemory& memory() const { return memory_; }

 private:
  struct Breakpoint {
    double time;
    int variable;
  };

  bool has_lower(std::size_t k) const;
  bool has_upper(std::size_t k) const;
  double clamped(std::size_t k, double value) const;
  double norm_of_projected_gradient() const;

  Task next_iteration();
  Task line_search_failed();
  void forget();
  void accept_pair();
  bool find_minimiser_of_model();
  void cauchy_point();
  void minimise_in_subspace();
  bool begin_line_search();
  Task move_to_trial();

  std::size_t n_;
  LbfgsbOptions options_;
  LbfgsMemory memory_;
  FreeSpace free_space_;
  MoreThuente search_;

  bool bounded_ = false;  // some variable has a bound
  bool boxed_ = false;    // every variable has two
  bool started_ = false;  // f and g at the first point are known
  int iterations_ = 0;
  int evaluations_ = 0;
  int searched_ = 0;  // evaluations in this line search
  double f_ = 0, base_f_ = 0;
  double slope_ = 0, base_slope_ = 0;
  double step_ = 0, direction_norm2_ = 0;
  double projected_gradient_ = 0;

  std::vector<double> lower_, upper_;
  std::vector<double> x_, g_;            // trial point, then iterate
  std::vector<double> base_x_, base_g_;  // where the line search began
  std::vector<double> target_;           // Cauchy point, then minimiser of the model
  std::vector<double> cauchy_;           // Cauchy point, while the minimiser is projected
  std::vector<double> d_;                // direction
  std::vector<double> reduced_;          // reduced gradient, then Newton step, over free variables
  std::vector<char> is_free_;            // at the Cauchy point
  std::vector<int> free_;
  std::vector<Breakpoint> breakpoints_;
  std::vector<double> p_, c_, row_, product_;  // 2m vectors of the Cauchy search; c_ = W'(target - x)
};

struct LbfgsbResult {
  Lbfgsb::Task task;  // new_iterate when a limit stopped it
  double f;
  double projected_gradient;
  int iterations;
  int evaluations;
};

// Runs solver on objective(x, gradient) -> f from x, and leaves the minimiser in x.
template <class Objective>
LbfgsbResult minimise(Lbfgsb& solver, Objective&& objective, double* x, const double* lower, const double* upper,
                      double* gradient, int max_iterations = 15000, int max_evaluations = 15000) {
  Lbfgsb::Task task = solver.start(x, lower, upper);
  while (!Lbfgsb::finished(task)) {
    if (task == Lbfgsb::Task::evaluate) {
      const double f = objective(solver.x(), gradient);
      task = solver.advance(f, gradient);
    } else if (solver.iterations() >= max_iterations || solver.evaluations() > max_evaluations) {
      break;
    } else {
      task = solver.proceed();
    }
  }
  for (std::size_t k = 0; k < solver.dimension(); ++k) x[k] = solver.x()[k];
  return {task, solver.f(), solver.projected_gradient(), solver.iterations(), solver.evaluations()};
}

}  // namespace hpcpdf

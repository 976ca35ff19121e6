#pragma once

namespace hpcpdf {

// Line search of Moré and Thuente (ACM Trans. Math. Softw. 20 (1994) 286): finds a step that satisfies
//   f(step) <= f(0) + decrease * step * f'(0)   and   |f'(step)| <= curvature * |f'(0)|
// inside [0, max_step]. The caller evaluates the function at step() and reports value and slope through advance().
class MoreThuente {
 public:
  enum class Verdict {
    evaluate,  // try step() next
    accept,    // step() satisfies both conditions
    stuck      // no better step can be found in this interval; step() is the best point known and was evaluated last
  };

  struct Tolerances {
    double decrease = 1e-3;
    double curvature = 0.9;
    double interval = 0.1;  // relative width of the bracket at which the search gives in
  };

  MoreThuente() = default;
  explicit MoreThuente(const Tolerances& tolerances) : tolerances_(tolerances) {}

  // slope must be negative and 0 < step <= max_step.
  void start(double f, double slope, double step, double max_step);
  Verdict advance(double f, double slope);
  double step() const { return step_; }

 private:
  struct Point {
    double step;
    double f;
    double slope;
  };

  double safeguarded_step(const Point& best, const Point& other, const Point& trial);
  bool narrow(const Point& trial, double tilt);
  void retreat();

  Tolerances tolerances_;
  Point origin_{};
  Point best_{};   // end of the interval with the least value so far
  Point other_{};  // the opposite end
  bool bracketed_ = false;
  bool tilted_ = true;  // still looking for a point where the tilted function has a non-negative slope
  double step_ = 0, max_step_ = 0;
  double low_ = 0, high_ = 0;  // where the next trial may lie
  double width_ = 0, older_width_ = 0;
};

}  // namespace hpcpdf

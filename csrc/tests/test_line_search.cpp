#include <cmath>
#include <initializer_list>
#include <limits>

#include "check.hpp"
#include "hpcpdf/line_search.hpp"

using hpcpdf::MoreThuente;

namespace {

struct Outcome {
  MoreThuente::Verdict verdict;
  double step;
  int evaluations;
};

template <class Function, class Slope>
Outcome search(Function&& f, Slope&& slope, double first, double longest, const MoreThuente::Tolerances& tolerances) {
  MoreThuente line(tolerances);
  line.start(f(0.0), slope(0.0), first, longest);
  for (int evaluations = 1; evaluations <= 60; ++evaluations) {
    CHECK(line.step() >= 0.0 && line.step() <= longest);
    const auto verdict = line.advance(f(line.step()), slope(line.step()));
    if (verdict != MoreThuente::Verdict::evaluate) return {verdict, line.step(), evaluations};
  }
  return {MoreThuente::Verdict::evaluate, line.step(), 60};
}

// Functions 1 to 4 of section 5 of Moré and Thuente (1994), from first steps over six orders of magnitude. The paper
// needs at most ten evaluations on them (tables I to IV).
void published_functions() {
  const auto strong = [](auto&& f, auto&& slope, const Outcome& found, const MoreThuente::Tolerances& t) {
    return found.verdict == MoreThuente::Verdict::accept &&
           f(found.step) <= f(0.0) + t.decrease * found.step * slope(0.0) &&
           std::fabs(slope(found.step)) <= t.curvature * std::fabs(slope(0.0));
  };
  for (const double first : {1e-3, 1e-1, 1e1, 1e3}) {
    const double beta = 2.0;
    const auto f1 = [&](double a) { return -a / (a * a + beta); };
    const auto g1 = [&](double a) { return (a * a - beta) / ((a * a + beta) * (a * a + beta)); };
    const MoreThuente::Tolerances t1{1e-3, 0.1, 1e-10};
    const auto r1 = search(f1, g1, first, 1e10, t1);
    CHECK(strong(f1, g1, r1, t1) && r1.evaluations <= 10);

    const double small = 0.004;
    const auto f2 = [&](double a) { return std::pow(a + small, 5) - 2.0 * std::pow(a + small, 4); };
    const auto g2 = [&](double a) { return 5.0 * std::pow(a + small, 4) - 8.0 * std::pow(a + small, 3); };
    const MoreThuente::Tolerances t2{0.1, 0.1, 1e-10};
    const auto r2 = search(f2, g2, first, 1e10, t2);
    CHECK(strong(f2, g2, r2, t2) && r2.evaluations <= 12);

    const double b1 = 0.001, b2 = 0.01;  // badly scaled ends
    const auto gamma = [](double b) { return std::sqrt(1.0 + b * b) - b; };
    const auto f4 = [&](double a) {
      return gamma(b1) * std::sqrt((1.0 - a) * (1.0 - a) + b2 * b2) + gamma(b2) * std::sqrt(a * a + b1 * b1);
    };
    const auto g4 = [&](double a) {
      return gamma(b1) * (a - 1.0) / std::sqrt((1.0 - a) * (1.0 - a) + b2 * b2) +
             gamma(b2) * a / std::sqrt(a * a + b1 * b1);
    };
    const MoreThuente::Tolerances t4{1e-3, 1e-3, 1e-10};
    const auto r4 = search(f4, g4, first, 1e10, t4);
    CHECK(strong(f4, g4, r4, t4) && r4.evaluations <= 14);
  }
}

void limits_are_kept() {
  const auto line = [](double a) { return -a; };
  const auto slope = [](double) { return -1.0; };
  const auto found = search(line, slope, 1.0, 7.0, {});
  CHECK(found.verdict == MoreThuente::Verdict::stuck && found.step == 7.0);
}

// Defined only below 1; the minimum is at 0.9.
void undefined_beyond_a_point() {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto f = [&](double a) { return a < 1.0 ? (a - 0.9) * (a - 0.9) - 1e-3 * std::log(1.0 - a) : none; };
  const auto slope = [&](double a) { return a < 1.0 ? 2.0 * (a - 0.9) + 1e-3 / (1.0 - a) : none; };
  for (const double first : {0.5, 1.0, 100.0, 1e6}) {
    const auto found = search(f, slope, first, 1e10, {1e-3, 0.1, 1e-10});
    CHECK(found.verdict == MoreThuente::Verdict::accept && found.step < 1.0 && f(found.step) < f(0.0));
  }
}

}  // namespace

int main() {
  published_functions();
  limits_are_kept();
  undefined_beyond_a_point();
  return check::failures;
}

// Blocks of consecutive grid points of sin(k x) and exp(-a k^2), advanced by recurrence.
//
// The lanes of a block are independent, so that a compiler turns every loop over them into vector code. Recurrences are
// started afresh every `segment` points: rounding grows with the number of steps (about 1e-16 a step for the
// rotation, and with its square for the Gaussian), which keeps both within 1e-12 of the functions themselves.
#pragma once

#include <cmath>
#include <cstddef>

namespace hpcpdf {

constexpr std::size_t lanes = 8;
constexpr std::size_t segment = 512;

// sin and cos of (k + l) x for the lanes l = 0 ... 7.
struct Wave {
  double s[lanes], c[lanes];
  double step_s, step_c;  // sin and cos of lanes * x

  void start(double x, double k) {
    const double sx = std::sin(x), cx = std::cos(x);
    s[0] = std::sin(k * x);
    c[0] = std::cos(k * x);
    for (std::size_t l = 1; l < lanes; ++l) {
      s[l] = s[l - 1] * cx + c[l - 1] * sx;
      c[l] = c[l - 1] * cx - s[l - 1] * sx;
    }
    step_s = std::sin(lanes * x);
    step_c = std::cos(lanes * x);
  }

  void advance() {
    for (std::size_t l = 0; l < lanes; ++l) {
      const double t = s[l] * step_c + c[l] * step_s;
      c[l] = c[l] * step_c - s[l] * step_s;
      s[l] = t;
    }
  }
};

// exp(-a (k + l)^2) for the lanes l = 0 ... 7, a >= 0.
struct Gaussian {
  double e[lanes], ratio[lanes];
  double step;

  void start(double a, double k) {
    const double block = lanes;
    const double across = std::exp(-2.0 * a * block);
    double next = std::exp(-2.0 * a * k - a);  // e(k + 1) / e(k)
    const double bend = std::exp(-2.0 * a);
    e[0] = std::exp(-a * k * k);
    ratio[0] = std::exp(-a * block * (2.0 * k + block));
    for (std::size_t l = 1; l < lanes; ++l) {
      e[l] = e[l - 1] * next;
      next *= bend;
      ratio[l] = ratio[l - 1] * across;
    }
    step = std::exp(-2.0 * a * block * block);
  }

  void advance() {
    for (std::size_t l = 0; l < lanes; ++l) {
      e[l] *= ratio[l];
      ratio[l] *= step;
    }
  }
};

}  // namespace hpcpdf

// A minimal test harness: CHECK reports and counts, main returns the count.
#pragma once

#include <cmath>
#include <cstdio>
#include <functional>

namespace check {
inline int failures = 0;

inline void that(bool ok, const char* what, const char* file, int line) {
  if (!ok) {
    std::printf("%s:%d: failed: %s\n", file, line, what);
    ++failures;
  }
}

inline bool near(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

// Whether a call throws an error of this kind.
template <class Error>
bool throws(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  }
  return false;
}
}  // namespace check

#define CHECK(condition) check::that((condition), #condition, __FILE__, __LINE__)

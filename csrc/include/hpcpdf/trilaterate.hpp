// Coordinates from distances: many independent trilateration problems at once.
//
// Each problem minimises  f(X) = sum_{i<j} w_ij (|x_i - x_j| - D_ij)^2 + sum_{i,s} v_is (|x_i - p_s| - A_is)^2
// over the box -1 <= x <= 1, where p_s are satellites shared by all problems.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace hpcpdf::trilaterate {

enum class Status : int {
  converged = 0,
  mirror_ambiguous = 1,  // converged, but a mirror image of the structure or of a part of it fits as well
  frame_undefined = 2,   // converged, but the satellites leave the structure free to move as a whole
  evaluation_limit = 3,
  stalled = 4,       // no further descent within the precision
  undetermined = 5,  // the distances of non-zero weight leave some atom free to move
  invalid_input = 6,
};

// A matrix as it lies in the caller's memory; strides in bytes, any sign.
struct View {
  const char* data = nullptr;
  std::ptrdiff_t row = 0;
  std::ptrdiff_t column = 0;
  bool wide = true;  // float64, else float32

  double at(int i, int j) const {
    const char* p = data + i * row + j * column;
    return wide ? *reinterpret_cast<const double*>(p) : static_cast<double>(*reinterpret_cast<const float*>(p));
  }
};

struct Problem {
  int n = 0;
  View distances;                           // (n, n); the diagonal is ignored, (D + D^T)/2 is used
  View satellites;                          // (n, S) distances to the satellites
  const View* weights = nullptr;            // (n, n), none means 1
  const View* satellite_weights = nullptr;  // (n, S), none means 1

  bool weighted() const { return weights != nullptr || satellite_weights != nullptr; }
};

struct Options {
  bool sequential = false;  // one atom after another instead of all together
  bool general = false;     // the general L-BFGS-B instead of the batch kernel
  bool wide = false;        // float64 arithmetic and positions
  int threads = 1;
  std::string level;  // instruction level, empty for the highest one
  int max_evaluations = 1000;
  double gradient_tolerance = 5e-6;  // largest component of the projected gradient; not below 1.4e-5 in float32
};

struct Outcome {
  double cost = 0.0;
  double projected_gradient = 0.0;
  int evaluations = 0;
  Status status = Status::converged;
};

// Solves `count` problems. `positions[k]` receives 3 n_k numbers, float or (options.wide) double. The results do not
// depend on the number of threads or on the other problems. The calling thread runs `meanwhile` once while the others
// are already at work, and asks `interrupted` a few times a second; when that returns true, all stop early and the call
// returns false.
// Throws std::invalid_argument for an unknown instruction level.
bool solve(const Problem* problems, std::size_t count, const double* satellites, int n_satellites,
           const Options& options, void* const* positions, Outcome* outcomes, const std::function<void()>& meanwhile,
           const std::function<bool()>& interrupted);

// Names of the instruction levels that this build and this processor have, lowest first.
std::vector<std::string> instruction_levels();

}  // namespace hpcpdf::trilaterate

// What the instruction levels of the batch kernel offer to the code that calls them.
#pragma once

#include <cstddef>
#include <string>

#include "hpcpdf/trilaterate.hpp"

namespace hpcpdf::trilaterate {

// The satellites and what follows from them alone: x = offset + sum_s matrix[.][s] A_s^2 solves the satellite
// equations in the least-squares sense when the satellites span space.
struct Field {
  int count = 0;
  const double* points = nullptr;  // (S, 3)
  const double* matrix = nullptr;  // (3, S)
  double offset[3] = {};
  int rank = -1;      // dimensions that the satellites span about their mean; -1 without any
  bool good = false;  // they span space well enough for the closed form
};

// Problems for one call of a kernel. `start` is nullptr for the closed-form start. Results are float for the
// narrow kernels and double for the wide ones.
struct Task {
  const Problem* problems = nullptr;
  const std::size_t* index = nullptr;  // which problems
  int count = 0;
  const double* start = nullptr;  // (n, 3), for a single problem
  void* const* positions = nullptr;
  Outcome* outcomes = nullptr;
};

struct Limits {
  int evaluations;
  double gradient;
};

struct Kernel {
  int width;  // problems that one call solves together
  // Bytes of working memory, aligned to 64, for problems of up to n atoms.
  std::size_t (*memory)(int n, int satellites);
  void (*solve)(const Field& field, const Limits& limits, const Task& task, void* memory);
};

struct Level {
  const char* name;
  Kernel single[2][2];  // [wide][weighted], one problem a call
  Kernel lanes[2];      // [wide], problems of about equal n, one in each lane
  int lane_limit[2];    // [wide], the largest n that is solved in lanes
};

// The levels this build and this processor have, lowest first.
struct Levels {
  const Level* const* begin;
  int count;
};
Levels available_levels();

// Whether pairs in stages (LaneCost) are worth their additions here: measured on Zen 5, and so taken for all of AMD's.
bool staging_pays();

// The level to use: `name`, or the highest for an empty name. Throws std::invalid_argument for an unknown one.
const Level& level(const std::string& name);

}  // namespace hpcpdf::trilaterate

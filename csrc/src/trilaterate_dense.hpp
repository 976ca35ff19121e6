// Parts of trilateration that need no speed: problems as plain float64 matrices, their starts, and whether their
// distances determine them.
#pragma once

#include <vector>

#include "hpcpdf/trilaterate.hpp"
#include "trilaterate_level.hpp"

namespace hpcpdf::trilaterate {

// One problem with symmetric distances and weights; row i of `anchors` belongs to atom i.
struct Dense {
  int n = 0, satellites = 0;
  const double* points = nullptr;  // (S, 3)
  std::vector<double> distances, weights, anchors, anchor_weights;
  bool sound = true;     // everything with a weight is finite, no weight is negative
  bool complete = true;  // no weight is zero

  // Symmetrised with the weights: a distance given on one side only is used as it is.
  void load(const Problem& problem, const double* points, int satellites);
  double distance(int i, int j) const { return distances[static_cast<std::size_t>(i) * n + j]; }
  double weight(int i, int j) const { return weights[static_cast<std::size_t>(i) * n + j]; }
  double anchor(int i, int s) const { return anchors[static_cast<std::size_t>(i) * satellites + s]; }
  double anchor_weight(int i, int s) const { return anchor_weights[static_cast<std::size_t>(i) * satellites + s]; }

  // Cost and gradient at x (n, 3).
  double evaluate(const double* x, double* gradient) const;
  // The share of atom i given the atoms before it: cost and gradient (3).
  double evaluate_atom(int i, const double* x, double* gradient) const;
};

// Eigenvalues (ascending) and eigenvectors (columns of v, row-major order x order) of a symmetric matrix, which is
// overwritten. Jacobi rotations.
void symmetric_eigen(int order, double* a, double* values, double* v);

// Weighted mean of points, and the eigenvalues (ascending) and axes of their second moments about it.
struct Moments {
  double mean[3] = {}, values[3] = {}, vectors[9] = {};

  // weights == nullptr means 1.
  Moments(const double* points, const double* weights, int count);
  // Dimensions that the points span about their mean: those whose root mean square is at least `share` of the largest.
  // 0 also without any point of non-zero weight.
  int rank(double share) const;
};

// Pseudo-inverse of the satellite equations and how many dimensions the satellites span. `matrix` holds the storage.
Field make_field(const double* points, int count, std::vector<double>& matrix);

// Shares for Moments::rank: below the first, points lie in a plane for all that can be told; below the second, they are
// so flat that the linear equations blow noise up out of proportion.
constexpr double kExactlyFlat = 1e-6, kTooFlat = 0.02;

// Linear solution for every atom that has distances to enough satellites, and then to enough atoms solved before it.
// `solved` tells which; returns whether that is all.
bool multilaterate(const Dense& problem, std::vector<char>& solved, double* x);

// Classical scaling of atoms and satellites together, missing distances completed by shortest paths, moved onto the
// satellites. `mirrored` asks for the other handedness where the satellites do not fix it.
void scaling_start(const Dense& problem, bool mirrored, double* x);

// What the distances of non-zero weight fix, whatever their values.
struct Determination {
  bool rigid = true;   // up to motions of the whole structure
  bool framed = true;  // the satellites in use stop motions of the whole structure
  bool handed = true;  // no mirror image of the structure or of an atom has the same distances
};
Determination determine(const Dense& problem);

// All coordinates together by the general L-BFGS-B, from x.
Outcome minimise_generally(const Dense& problem, double* x, const Limits& limits);

// One atom after another from its start in x, each against the satellites and the atoms before it, by Newton steps or
// the general L-BFGS-B. The gradient reported is the largest one of an atom at its placement.
Outcome place_one_by_one(const Dense& problem, double* x, const Limits& limits, bool general);

}  // namespace hpcpdf::trilaterate

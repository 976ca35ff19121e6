// Non-negative least squares with many more columns than are used.
#pragma once

#include <cstddef>
#include <vector>

namespace hpcpdf {

// Minimises |data - sum over c of x[c] column c| with x >= 0 by active sets (Lawson & Hanson, Solving Least Squares
// Problems, 1974, chapter 23), several columns entering at a time as long as that helps, and the orthogonal factor of
// those in use changed by rotations when one leaves.
//
// columns: n_columns x points, one after another, points a multiple of `wide`. `used` names columns to begin with and
// receives those in use at the end, ascending; weights (n_columns) receives x. Ends when no column alone would take
// more than `tolerance` of what is left (squared). Returns the norm of what is left.
double nnls(const double* columns, std::size_t n_columns, std::size_t points, const double* data, double tolerance,
            std::vector<std::size_t>& used, double* weights);

}  // namespace hpcpdf

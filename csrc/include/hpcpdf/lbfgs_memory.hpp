#pragma once

#include <cstddef>
#include <vector>

namespace hpcpdf {

// The limited-memory BFGS matrix in the compact form of Byrd, Nocedal and Schnabel (Math. Program. 63 (1994) 129):
//   B = theta I - W M W',   W = [Y  theta S],   M = [ -D  L' ; L  theta S'S ]^-1,
// with the last `capacity` pairs s (step) and y (change of gradient), S'Y = L + D + (upper part), D its diagonal, L
// what is below it. Vectors of length 2 size() hold first the Y part, then the S part, oldest pair first.
// Nothing is allocated after construction.
class LbfgsMemory {
 public:
  LbfgsMemory(std::size_t n, int capacity);

  void clear();
  // Takes in a pair (the oldest leaves when full) with ss = s's, sy = s'y > 0 and yy = y'y. False when the middle
  // matrix lost its positive definiteness to rounding: the memory must then be cleared.
  bool push(const double* s, const double* y, double ss, double sy, double yy);

  std::size_t dimension() const { return n_; }
  int capacity() const { return capacity_; }
  int size() const { return size_; }
  double theta() const { return theta_; }

  // out = M v
  void apply_middle(const double* v, double* out) const;
  // out = row k of W
  void row(std::size_t k, double* out) const;
  // (W v)_k
  double row_dot(std::size_t k, const double* v) const;
  // out = W'd, d over all variables, or over the listed ones only
  void project(const double* d, double* out) const;
  void project_listed(const int* listed, std::size_t count, const double* d, double* out) const;

  // Pairs stay where they were put until overwritten, so sums kept elsewhere can be indexed by slot.
  int slot(int pair) const { return (oldest_ + pair) % capacity_; }
  int newest_slot() const { return slot(size_ - 1); }
  bool newer(int slot_a, int slot_b) const { return age(slot_a) > age(slot_b); }
  const double* y_row(std::size_t k) const { return &w_[k * stride()]; }
  const double* s_row(std::size_t k) const { return &w_[k * stride() + static_cast<std::size_t>(capacity_)]; }
  double curvature(int pair) const { return sy_[at(pair, pair)]; }  // D_pair
  void copy_pair(int pair, double* s, double* y) const;

 private:
  std::size_t stride() const { return 2 * static_cast<std::size_t>(capacity_); }
  std::size_t at(int i, int j) const { return static_cast<std::size_t>(i * capacity_ + j); }
  int first_run() const { return size_ < capacity_ - oldest_ ? size_ : capacity_ - oldest_; }
  int age(int slot) const { return (slot - oldest_ + capacity_) % capacity_; }
  void add_row(std::size_t k, double weight, double* out) const;
  bool factor_middle();

  std::size_t n_;
  int capacity_;
  int size_ = 0;
  int oldest_ = 0;
  double theta_ = 1.0;
  std::vector<double> w_;       // n rows of [y by slot | s by slot]
  std::vector<double> sy_;      // S'Y on and below the diagonal, oldest pair first
  std::vector<double> ss_;      // S'S below and on the diagonal
  std::vector<double> factor_;  // lower Cholesky factor J of theta S'S + L D^-1 L'
  std::vector<double> fresh_;   // scratch of push
};

// In-place lower Cholesky factor of the leading size x size block of a row-major matrix; false if not positive
// definite.
bool cholesky(double* a, int size, int stride);
// Solve J x = b, or J'x = b, in place for a lower triangular J.
void solve_lower(const double* factor, int size, int stride, double* b);
void solve_lower_transposed(const double* factor, int size, int stride, double* b);

}  // namespace hpcpdf

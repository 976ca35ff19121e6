#pragma once

#include <cstddef>
#include <vector>

#include "hpcpdf/lbfgs_memory.hpp"

namespace hpcpdf {

// Newton's step of the quadratic model inside the space of the free variables (section 5.1 of Byrd, Lu, Nocedal and
// Zhu, SIAM J. Sci. Comput. 16 (1995) 1190), by the indefinite 2m x 2m matrix of their later code (Algorithm 778):
//   B_free^-1 r = r / theta + Z'W K^-1 W'Z r / theta^2,
//   K = [ -D - Y'ZZ'Y / theta   C' ; C   theta S'AA'S ],   C = (below the diagonal S'AA'Y) - (the rest of S'ZZ'Y),
// Z selecting the free variables, A the held ones. The sums over variables are kept between calls and changed only by
// the variables that crossed over and by new pairs. Nothing is allocated after construction.
class FreeSpace {
 public:
  FreeSpace(std::size_t n, int capacity);

  void clear();
  void pair_replaced(int slot) { known_[static_cast<std::size_t>(slot)] = 0; }
  // Brings the sums to this set of free variables (is_free[k] != 0) and factors K; false if rounding spoilt it.
  bool prepare(const LbfgsMemory& memory, const char* is_free);
  // r -> B_free^-1 r over the listed free variables; r is indexed like `free`.
  void solve(const LbfgsMemory& memory, const int* free, std::size_t n_free, double* r);

 private:
  std::size_t at(int i, int j) const { return static_cast<std::size_t>(i * capacity_ + j); }
  void cross_over(const LbfgsMemory& memory, std::size_t k, bool enters);
  void take_in(const LbfgsMemory& memory, int slot);
  bool factor(const LbfgsMemory& memory);

  std::size_t n_;
  int capacity_;
  bool factored_ = false;
  std::vector<char> is_free_;                  // the set that the sums stand for
  std::vector<char> known_;                    // pairs, by slot, that are in the sums
  std::vector<double> yy_;                     // by slot: y_a'y_b over free variables
  std::vector<double> ss_;                     // s_a's_b over held variables
  std::vector<double> sy_;                     // s_a'y_b over held variables if a is newer than b, else over free ones
  std::vector<double> upper_, cross_, lower_;  // factors of K: Cholesky of -K11, L^-1 C', Cholesky of its complement
  std::vector<double> v_;
};

}  // namespace hpcpdf

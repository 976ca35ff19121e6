#include "hpcpdf/free_space.hpp"

#include <algorithm>

namespace hpcpdf {

FreeSpace::FreeSpace(std::size_t n, int capacity) : n_(n), capacity_(capacity) {
  const auto m = static_cast<std::size_t>(capacity);
  is_free_.assign(n, 0);
  known_.assign(m, 0);
  for (auto* matrix : {&yy_, &ss_, &sy_, &upper_, &cross_, &lower_}) matrix->assign(m * m, 0.0);
  v_.assign(2 * m, 0.0);
}

void FreeSpace::clear() {
  std::fill(known_.begin(), known_.end(), char{0});
  factored_ = false;
}

bool FreeSpace::prepare(const LbfgsMemory& memory, const char* is_free) {
  std::size_t crossings = 0;
  for (std::size_t k = 0; k < n_; ++k) crossings += (is_free[k] != 0) != (is_free_[k] != 0);
  if (2 * crossings > n_) {  // a fresh sum is cheaper
    clear();
    std::copy(is_free, is_free + n_, is_free_.begin());
  } else if (crossings > 0) {
    for (std::size_t k = 0; k < n_; ++k) {
      if ((is_free[k] != 0) == (is_free_[k] != 0)) continue;
      cross_over(memory, k, is_free[k] != 0);
      is_free_[k] = is_free[k];
    }
    factored_ = false;
  }
  for (int pair = 0; pair < memory.size(); ++pair) {
    const int slot = memory.slot(pair);
    if (known_[static_cast<std::size_t>(slot)]) continue;
    take_in(memory, slot);
    factored_ = false;
  }
  if (!factored_) factored_ = factor(memory);
  return factored_;
}

void FreeSpace::cross_over(const LbfgsMemory& memory, std::size_t k, bool enters) {
  const double sign = enters ? 1.0 : -1.0;
  const double* const y = memory.y_row(k);
  const double* const s = memory.s_row(k);
  for (int a = 0; a < memory.size(); ++a) {  // slots in use are always 0 ... size - 1
    if (!known_[static_cast<std::size_t>(a)]) continue;
    for (int b = 0; b < memory.size(); ++b) {
      if (!known_[static_cast<std::size_t>(b)]) continue;
      yy_[at(a, b)] += sign * y[a] * y[b];
      ss_[at(a, b)] -= sign * s[a] * s[b];
      sy_[at(a, b)] += (memory.newer(a, b) ? -sign : sign) * s[a] * y[b];
    }
  }
}

void FreeSpace::take_in(const LbfgsMemory& memory, int slot) {
  known_[static_cast<std::size_t>(slot)] = 1;
  const int size = memory.size();
  for (int b = 0; b < size; ++b) {
    yy_[at(slot, b)] = ss_[at(slot, b)] = sy_[at(slot, b)] = sy_[at(b, slot)] = 0.0;
  }
  for (std::size_t k = 0; k < n_; ++k) {
    const double* const y = memory.y_row(k);
    const double* const s = memory.s_row(k);
    if (is_free_[k]) {
      for (int b = 0; b < size; ++b) {
        yy_[at(slot, b)] += y[slot] * y[b];
        if (memory.newer(b, slot)) {
          sy_[at(slot, b)] += s[slot] * y[b];
        } else {
          sy_[at(b, slot)] += s[b] * y[slot];
        }
      }
    } else {
      for (int b = 0; b < size; ++b) {
        ss_[at(slot, b)] += s[slot] * s[b];
        if (memory.newer(b, slot)) sy_[at(b, slot)] += s[b] * y[slot];
        if (memory.newer(slot, b)) sy_[at(slot, b)] += s[slot] * y[b];
      }
    }
  }
  for (int b = 0; b < size; ++b) {
    yy_[at(b, slot)] = yy_[at(slot, b)];
    ss_[at(b, slot)] = ss_[at(slot, b)];
  }
}

bool FreeSpace::factor(const LbfgsMemory& memory) {
  const int size = memory.size();
  const double theta = memory.theta();
  for (int i = 0; i < size; ++i) {
    const int a = memory.slot(i);
    for (int j = 0; j <= i; ++j) upper_[at(i, j)] = yy_[at(a, memory.slot(j))] / theta;
    upper_[at(i, i)] += memory.curvature(i);
  }
  if (!cholesky(upper_.data(), size, capacity_)) return false;

  // Row i of cross_ is L^-1 (row i of C), so that cross_ = (L^-1 C')'.
  for (int i = 0; i < size; ++i) {
    double* const row = &cross_[at(i, 0)];
    for (int j = 0; j < size; ++j) {
      const double sum = sy_[at(memory.slot(i), memory.slot(j))];
      row[j] = i > j ? sum : -sum;
    }
    solve_lower(upper_.data(), size, capacity_, row);
  }
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = theta * ss_[at(memory.slot(i), memory.slot(j))];
      for (int k = 0; k < size; ++k) sum += cross_[at(i, k)] * cross_[at(j, k)];
      lower_[at(i, j)] = sum;
    }
  }
  return cholesky(lower_.data(), size, capacity_);
}

// K [a; b] = [p; q] by elimination of a: with G = L^-1 C',
//   (theta S'AA'S + G'G) b = q + G' L^-1 p,   a = L'^-1 (G b - L^-1 p).
void FreeSpace::solve(const LbfgsMemory& memory, const int* free, std::size_t n_free, double* r) {
  const int size = memory.size();
  const double theta = memory.theta();
  double* const a = v_.data();
  double* const b = a + size;
  memory.project_listed(free, n_free, r, v_.data());

  solve_lower(upper_.data(), size, capacity_, a);
  for (int i = 0; i < size; ++i) {
    for (int k = 0; k < size; ++k) b[i] += cross_[at(i, k)] * a[k];
  }
  solve_lower(lower_.data(), size, capacity_, b);
  solve_lower_transposed(lower_.data(), size, capacity_, b);
  for (int k = 0; k < size; ++k) {
    double sum = -a[k];
    for (int i = 0; i < size; ++i) sum += cross_[at(i, k)] * b[i];
    a[k] = sum;
  }
  solve_lower_transposed(upper_.data(), size, capacity_, a);

  for (std::size_t i = 0; i < n_free; ++i) {
    const double correction = memory.row_dot(static_cast<std::size_t>(free[i]), v_.data());
    r[i] = (r[i] + correction / theta) / theta;
  }
}

}  // namespace hpcpdf

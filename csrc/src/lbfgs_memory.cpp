#include "hpcpdf/lbfgs_memory.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace hpcpdf {

bool cholesky(double* a, int size, int stride) {
  for (int j = 0; j < size; ++j) {
    for (int i = j; i < size; ++i) {
      double sum = a[i * stride + j];
      for (int k = 0; k < j; ++k) sum -= a[i * stride + k] * a[j * stride + k];
      if (i == j) {
        if (!(sum > 0.0)) return false;
        a[j * stride + j] = std::sqrt(sum);
      } else {
        a[i * stride + j] = sum / a[j * stride + j];
      }
    }
  }
  return true;
}

void solve_lower(const double* factor, int size, int stride, double* b) {
  for (int i = 0; i < size; ++i) {
    double sum = b[i];
    for (int k = 0; k < i; ++k) sum -= factor[i * stride + k] * b[k];
    b[i] = sum / factor[i * stride + i];
  }
}

void solve_lower_transposed(const double* factor, int size, int stride, double* b) {
  for (int i = size - 1; i >= 0; --i) {
    double sum = b[i];
    for (int k = i + 1; k < size; ++k) sum -= factor[k * stride + i] * b[k];
    b[i] = sum / factor[i * stride + i];
  }
}

LbfgsMemory::LbfgsMemory(std::size_t n, int capacity) : n_(n), capacity_(capacity) {
  if (capacity < 1) throw std::invalid_argument("LbfgsMemory: capacity must be at least 1");
  const auto m = static_cast<std::size_t>(capacity);
  w_.assign(n * 2 * m, 0.0);
  sy_.assign(m * m, 0.0);
  ss_.assign(m * m, 0.0);
  factor_.assign(m * m, 0.0);
  fresh_.assign(2 * m, 0.0);
}

void LbfgsMemory::clear() {
  size_ = 0;
  oldest_ = 0;
  theta_ = 1.0;
}

bool LbfgsMemory::push(const double* s, const double* y, double ss, double sy, double yy) {
  if (size_ == capacity_) {
    oldest_ = (oldest_ + 1) % capacity_;
    --size_;
    for (int i = 0; i < size_; ++i) {
      for (int j = 0; j <= i; ++j) {
        sy_[at(i, j)] = sy_[at(i + 1, j + 1)];
        ss_[at(i, j)] = ss_[at(i + 1, j + 1)];
      }
    }
  }
  const int last = size_;
  theta_ = 1.0;  // plain inner products of the pairs
  project(s, fresh_.data());
  for (int j = 0; j < last; ++j) {
    sy_[at(last, j)] = fresh_[static_cast<std::size_t>(j)];
    ss_[at(last, j)] = fresh_[static_cast<std::size_t>(last + j)];
  }
  sy_[at(last, last)] = sy;
  ss_[at(last, last)] = ss;
  theta_ = yy / sy;
  const auto put = static_cast<std::size_t>(slot(last));
  for (std::size_t k = 0; k < n_; ++k) {
    double* const pair = &w_[k * stride() + put];
    pair[0] = y[k];
    pair[capacity_] = s[k];
  }
  ++size_;
  return factor_middle();
}

bool LbfgsMemory::factor_middle() {
  for (int i = 0; i < size_; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = theta_ * ss_[at(i, j)];
      for (int k = 0; k < j; ++k) sum += sy_[at(i, k)] * sy_[at(j, k)] / sy_[at(k, k)];
      factor_[at(i, j)] = sum;
    }
  }
  return cholesky(factor_.data(), size_, capacity_);
}

// With the Cholesky factor J of theta S'S + L D^-1 L', the second half of q = M v is q_s = (J J')^-1 (v_s + L D^-1 v_y)
// and the first half is q_y = D^-1 (L' q_s - v_y).
void LbfgsMemory::apply_middle(const double* v, double* out) const {
  double* const out_s = out + size_;
  for (int i = 0; i < size_; ++i) {
    double sum = v[size_ + i];
    for (int k = 0; k < i; ++k) sum += sy_[at(i, k)] * v[k] / sy_[at(k, k)];
    out_s[i] = sum;
  }
  solve_lower(factor_.data(), size_, capacity_, out_s);
  solve_lower_transposed(factor_.data(), size_, capacity_, out_s);
  for (int k = 0; k < size_; ++k) {
    double sum = -v[k];
    for (int i = k + 1; i < size_; ++i) sum += sy_[at(i, k)] * out_s[i];
    out[k] = sum / sy_[at(k, k)];
  }
}

// Oldest to newest is at most two contiguous runs of slots.
void LbfgsMemory::row(std::size_t k, double* out) const {
  const double* const y = y_row(k);
  const double* const s = s_row(k);
  const int run = first_run();
  for (int j = 0; j < run; ++j) {
    out[j] = y[oldest_ + j];
    out[size_ + j] = theta_ * s[oldest_ + j];
  }
  for (int j = run; j < size_; ++j) {
    out[j] = y[j - run];
    out[size_ + j] = theta_ * s[j - run];
  }
}

double LbfgsMemory::row_dot(std::size_t k, const double* v) const {
  const double* const y = y_row(k);
  const double* const s = s_row(k);
  const int run = first_run();
  double of_y = 0.0;
  double of_s = 0.0;
  for (int j = 0; j < run; ++j) {
    of_y += y[oldest_ + j] * v[j];
    of_s += s[oldest_ + j] * v[size_ + j];
  }
  for (int j = run; j < size_; ++j) {
    of_y += y[j - run] * v[j];
    of_s += s[j - run] * v[size_ + j];
  }
  return of_y + theta_ * of_s;
}

void LbfgsMemory::add_row(std::size_t k, double weight, double* out) const {
  const double* const y = y_row(k);
  const double* const s = s_row(k);
  const int run = first_run();
  for (int j = 0; j < run; ++j) {
    out[j] += y[oldest_ + j] * weight;
    out[size_ + j] += s[oldest_ + j] * weight;
  }
  for (int j = run; j < size_; ++j) {
    out[j] += y[j - run] * weight;
    out[size_ + j] += s[j - run] * weight;
  }
}

void LbfgsMemory::project(const double* d, double* out) const {
  std::fill(out, out + 2 * size_, 0.0);
  for (std::size_t k = 0; k < n_; ++k) {
    if (d[k] != 0.0) add_row(k, d[k], out);
  }
  for (int j = size_; j < 2 * size_; ++j) out[j] *= theta_;
}

void LbfgsMemory::project_listed(const int* listed, std::size_t count, const double* d, double* out) const {
  std::fill(out, out + 2 * size_, 0.0);
  for (std::size_t i = 0; i < count; ++i) add_row(static_cast<std::size_t>(listed[i]), d[i], out);
  for (int j = size_; j < 2 * size_; ++j) out[j] *= theta_;
}

void LbfgsMemory::copy_pair(int pair, double* s, double* y) const {
  for (std::size_t k = 0; k < n_; ++k) {
    y[k] = y_row(k)[slot(pair)];
    s[k] = s_row(k)[slot(pair)];
  }
}

}  // namespace hpcpdf

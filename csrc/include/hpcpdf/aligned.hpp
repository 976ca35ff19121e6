// Vectors that begin on a cache line, so that no block of 8 numbers lies across two.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace hpcpdf {

template <class T>
struct OnCacheLine {
  using value_type = T;
  static constexpr std::align_val_t line{64};

  OnCacheLine() = default;
  template <class U>
  OnCacheLine(const OnCacheLine<U>&) {}

  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), line)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, line); }
  bool operator==(const OnCacheLine&) const { return true; }
  bool operator!=(const OnCacheLine&) const { return false; }
};

using AlignedDoubles = std::vector<double, OnCacheLine<double>>;
using AlignedFloats = std::vector<float, OnCacheLine<float>>;

}  // namespace hpcpdf

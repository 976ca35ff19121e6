// Whether both ways of laying out the pairs of LaneCost give the same numbers. Compiled once for each level by the
// files that include it, so nothing of the standard library's that could be picked for another level.
#include <cstdlib>
#include <cstring>

#include "../src/trilaterate_cost.hpp"
#include "numbers.hpp"

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

template <class R>
typename R::V* filled(std::size_t count, double low, double high, Numbers& numbers) {
  using T = typename R::T;
  void* const memory = std::aligned_alloc(64, (count + 1) * 64);
  for (std::size_t k = 0; k < count * R::W; ++k) static_cast<T*>(memory)[k] = static_cast<T>(numbers(low, high));
  return static_cast<typename R::V*>(memory);
}

template <class R>
bool both_ways_agree() {
  using V = typename R::V;
  using T = typename R::T;
  constexpr int kSatellites = 3, kLargest = 70;
  Numbers numbers(4711);
  T points[3 * kSatellites];
  for (T& p : points) p = static_cast<T>(numbers(-1, 1));
  V *x = filled<R>(3 * kLargest, -0.7, 0.7, numbers), *g = filled<R>(3 * kLargest, 0, 0, numbers),
    *h = filled<R>(3 * kLargest, 0, 0, numbers), *valid = filled<R>(kLargest, 0, 0, numbers),
    *d = filled<R>(LaneCost<R>::pairs(kLargest), 0.1, 0.6, numbers),
    *a = filled<R>(kLargest * kSatellites, 0.1, 0.6, numbers);
  bool agree = true;
  for (int n = 1; n <= kLargest; n += n < 36 ? 1 : 7) {
    const int smallest[] = {n, n - 1, n / 2, 1};
    for (const int least : smallest) {
      for (int k = 0; k < n; ++k) valid[k] = first_lanes<R>(k < least ? R::W : (R::W + 1) / 2);
      const LaneCost<R> plain{n, least, kSatellites, points, valid, d, a, false};
      const LaneCost<R> staged{n, least, kSatellites, points, valid, d, a, true};
      const V f = plain(x, g), e = staged(x, h);
      agree = agree && std::memcmp(&f, &e, sizeof(V)) == 0 && std::memcmp(g, h, 3 * n * sizeof(V)) == 0;
    }
  }
  V* const arrays[] = {x, g, h, valid, d, a};
  for (V* array : arrays) std::free(array);
  return agree;
}

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

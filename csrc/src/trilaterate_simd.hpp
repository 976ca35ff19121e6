// Vectors of one instruction level. The including file defines HPCPDF_LEVEL, the namespace that keeps the code of one
// level apart from that of the others, and may define HPCPDF_SCALAR for plain numbers in the place of vectors.
//
// Only what the compiler inlines may be used in here: a function of the standard library that is compiled with AVX-512
// could be picked by the linker for everybody.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__GNUC__)
#define HPCPDF_SCALAR
#endif
#if !defined(HPCPDF_SCALAR) && (defined(__x86_64__) || defined(__i386__))
#include <immintrin.h>
#define HPCPDF_X86
#endif

#if defined(__GNUC__)
#define HPCPDF_INLINE inline __attribute__((always_inline))
#define HPCPDF_INLINE_LAMBDA __attribute__((always_inline))
#else
#define HPCPDF_INLINE inline
#define HPCPDF_INLINE_LAMBDA
#endif

namespace hpcpdf::trilaterate::HPCPDF_LEVEL {

#if defined(HPCPDF_SCALAR)
constexpr int kBytes = 0;
using VectorF = float;
using VectorD = double;
using MaskF = int;
using MaskD = int;
constexpr int kWidthF = 1, kWidthD = 1;
#else
#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float VectorF __attribute__((vector_size(kBytes)));
typedef double VectorD __attribute__((vector_size(kBytes)));
typedef std::int32_t MaskF __attribute__((vector_size(kBytes)));
typedef std::int64_t MaskD __attribute__((vector_size(kBytes)));
constexpr int kWidthF = kBytes / 4, kWidthD = kBytes / 8;
#endif

// One precision: number type, vector, mask, and what differs between levels.
struct F32 {
  using T = float;
  using V = VectorF;
  using M = MaskF;
  static constexpr int W = kWidthF;
  static constexpr T kEpsilon = 1.1920929e-7f;
  static constexpr T kTiny = 1e-24f;
  static constexpr T kEnough = 1.4e-5f;  // projected gradient
};

struct F64 {
  using T = double;
  using V = VectorD;
  using M = MaskD;
  static constexpr int W = kWidthD;
  static constexpr T kEpsilon = 2.220446049250313e-16;
  static constexpr T kTiny = 1e-48;
  static constexpr T kEnough = 0.0;
};

template <class R>
HPCPDF_INLINE typename R::V splat(typename R::T value) {
  return typename R::V{} + value;
}

template <class R>
HPCPDF_INLINE typename R::T lane(const typename R::V& v, int k) {
  return reinterpret_cast<const typename R::T*>(&v)[k];
}

template <class R>
HPCPDF_INLINE bool flag(const typename R::M& m, int k) {
#if defined(HPCPDF_SCALAR)
  return k == 0 && m != 0;
#else
  return m[k] != 0;
#endif
}

template <class R>
HPCPDF_INLINE void set_lane(typename R::V& v, int k, typename R::T value) {
  reinterpret_cast<typename R::T*>(&v)[k] = value;
}

// Which lanes have a number below `count`: 1 there, 0 elsewhere.
template <class R>
HPCPDF_INLINE typename R::V first_lanes(int count) {
  typename R::V v{};
  for (int k = 0; k < R::W; ++k) set_lane<R>(v, k, k < count ? typename R::T(1) : typename R::T(0));
  return v;
}

// The first `count` numbers at p, zero in the other lanes. Never reads beyond them.
template <class R, class X>
HPCPDF_INLINE typename R::V load_first(const X* p, int count) {
  typename R::V v{};
  for (int k = 0; k < count; ++k) set_lane<R>(v, k, static_cast<typename R::T>(p[k]));
  return v;
}

#if defined(HPCPDF_X86) && defined(__AVX512F__)
template <>
HPCPDF_INLINE VectorF load_first<F32, float>(const float* p, int count) {
  return (VectorF)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), p);
}
template <>
HPCPDF_INLINE VectorD load_first<F64, double>(const double* p, int count) {
  return (VectorD)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1u), p);
}
template <>
HPCPDF_INLINE VectorF load_first<F32, double>(const double* p, int count) {
  const unsigned mask = (1u << count) - 1u;
  const __m256 low = _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), p));
  const __m256 high = _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask >> 8), p + 8));
  return (VectorF)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
#elif defined(HPCPDF_X86) && defined(__AVX2__)
HPCPDF_INLINE __m256i first_mask32(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HPCPDF_INLINE __m256i first_mask64(int count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
template <>
HPCPDF_INLINE VectorF load_first<F32, float>(const float* p, int count) {
  return (VectorF)_mm256_maskload_ps(p, first_mask32(count));
}
template <>
HPCPDF_INLINE VectorD load_first<F64, double>(const double* p, int count) {
  return (VectorD)_mm256_maskload_pd(p, first_mask64(count));
}
template <>
HPCPDF_INLINE VectorF load_first<F32, double>(const double* p, int count) {
  const __m128 low = _mm256_cvtpd_ps(_mm256_maskload_pd(p, first_mask64(count)));
  const __m128 high = _mm256_cvtpd_ps(_mm256_maskload_pd(p + 4, first_mask64(count - 4)));
  return (VectorF)_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
}
#endif

template <class R>
HPCPDF_INLINE typename R::T sum_lanes(const typename R::V& v) {
  typename R::T parts[R::W];
  for (int k = 0; k < R::W; ++k) parts[k] = lane<R>(v, k);
  for (int half = R::W / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) parts[k] += parts[k + half];
  }
  return parts[0];
}

#if defined(HPCPDF_X86) && defined(__AVX512F__)
template <>
HPCPDF_INLINE float sum_lanes<F32>(const VectorF& v) {
  return _mm512_reduce_add_ps((__m512)v);
}
template <>
HPCPDF_INLINE double sum_lanes<F64>(const VectorD& v) {
  return _mm512_reduce_add_pd((__m512d)v);
}
#endif

template <class R>
HPCPDF_INLINE typename R::T max_lanes(const typename R::V& v) {
  typename R::T best = lane<R>(v, 0);
  for (int k = 1; k < R::W; ++k) best = lane<R>(v, k) > best ? lane<R>(v, k) : best;
  return best;
}

template <class R>
HPCPDF_INLINE bool any_lane(const typename R::M& m) {
#if defined(HPCPDF_SCALAR)
  return m != 0;
#elif defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_epi8((__m256i)m) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_epi8((__m128i)m) != 0;
#else
  std::int64_t bits = 0;
  for (std::size_t k = 0; k < kBytes / sizeof(std::int64_t); ++k) bits |= reinterpret_cast<const std::int64_t*>(&m)[k];
  return bits != 0;
#endif
}

HPCPDF_INLINE VectorF smaller(VectorF a, VectorF b) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorF)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorF)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(HPCPDF_X86)
  return (VectorF)_mm_min_ps((__m128)a, (__m128)b);
#else
  return a < b ? a : b;
#endif
}

HPCPDF_INLINE VectorF larger(VectorF a, VectorF b) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorF)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorF)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(HPCPDF_X86)
  return (VectorF)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}

HPCPDF_INLINE VectorD smaller(VectorD a, VectorD b) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorD)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorD)_mm256_min_pd((__m256d)a, (__m256d)b);
#elif defined(HPCPDF_X86)
  return (VectorD)_mm_min_pd((__m128d)a, (__m128d)b);
#else
  return a < b ? a : b;
#endif
}

HPCPDF_INLINE VectorD larger(VectorD a, VectorD b) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorD)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorD)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(HPCPDF_X86)
  return (VectorD)_mm_max_pd((__m128d)a, (__m128d)b);
#else
  return a > b ? a : b;
#endif
}

#if !defined(HPCPDF_X86)
template <class R>
HPCPDF_INLINE typename R::V exact_rsqrt(typename R::V q) {
  typename R::V y{};
  for (int k = 0; k < R::W; ++k) {
    const typename R::T value = lane<R>(q, k);
    set_lane<R>(y, k, typename R::T(1) / (sizeof(value) == 4 ? __builtin_sqrtf(value) : __builtin_sqrt(value)));
  }
  return y;
}
#endif

// What twice_over_root needs of q first: an estimate of 1/sqrt(q), or the root itself where that is as fast.
HPCPDF_INLINE VectorF root_estimate(VectorF q) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorF)_mm512_rsqrt14_ps((__m512)q);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorF)_mm256_rsqrt_ps((__m256)q);
#elif defined(HPCPDF_X86)
  return (VectorF)_mm_rsqrt_ps((__m128)q);
#else
  return exact_rsqrt<F32>(q);
#endif
}

HPCPDF_INLINE VectorD root_estimate(VectorD q) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorD)_mm512_rsqrt14_pd((__m512d)q);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorD)_mm256_sqrt_pd((__m256d)q);
#elif defined(HPCPDF_X86)
  return (VectorD)_mm_sqrt_pd((__m128d)q);
#else
  return exact_rsqrt<F64>(q);
#endif
}

// Twice `half` over the root of q, to the precision of the numbers, with y = root_estimate(q).
//
// From an estimate y with e = 1 - q y^2:  1/sqrt(q) = y (1 + e/2 + 3 e^2/8 + ...). The estimates of SSE and AVX2 hold
// 11.4 bits and need both terms; those of AVX-512 hold 14 and need one, which with halves is one operation less.
HPCPDF_INLINE VectorF twice_over_root(VectorF half, VectorF q, VectorF y) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (half * y) * (3.0f - (q * y) * y);
#elif defined(HPCPDF_X86)
  const VectorF e = 1.0f - (q * y) * y;
  return (half * y) * (2.0f + e * (1.0f + 0.75f * e));
#else
  (void)q;
  return (half + half) * y;
#endif
}

HPCPDF_INLINE VectorD twice_over_root(VectorD half, VectorD q, VectorD y) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  y = y + (0.5 * y) * (1.0 - (q * y) * y);
  const VectorD e = 1.0 - (q * y) * y;
  return (half * y) * (2.0 + e * (1.0 + 0.75 * e));
#elif defined(HPCPDF_X86)
  (void)q;
  return (half + half) / y;
#else
  (void)q;
  return (half + half) * y;
#endif
}

// 1/q to three digits or better, for what need not be exact.
HPCPDF_INLINE VectorF about_one_over(VectorF q) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorF)_mm512_rcp14_ps((__m512)q);
#elif defined(HPCPDF_X86) && defined(__AVX2__)
  return (VectorF)_mm256_rcp_ps((__m256)q);
#elif defined(HPCPDF_X86)
  return (VectorF)_mm_rcp_ps((__m128)q);
#else
  return 1.0f / q;
#endif
}

HPCPDF_INLINE VectorD about_one_over(VectorD q) {
#if defined(HPCPDF_X86) && defined(__AVX512F__)
  return (VectorD)_mm512_rcp14_pd((__m512d)q);
#else
  return 1.0 / q;
#endif
}

#if defined(__clang__) || __GNUC__ >= 12
#define HPCPDF_SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define HPCPDF_SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, mask{__VA_ARGS__})
#endif

// Interleaved halves of two vectors: a0 b0 a1 b1 ...
#if defined(HPCPDF_SCALAR)
template <class V>
HPCPDF_INLINE void interleave(V, V, V&, V&) {}
#else
HPCPDF_INLINE void interleave(VectorF a, VectorF b, VectorF& low, VectorF& high) {
#if defined(__AVX512F__)
  low = HPCPDF_SHUFFLE(MaskF, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  high = HPCPDF_SHUFFLE(MaskF, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
  low = HPCPDF_SHUFFLE(MaskF, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  high = HPCPDF_SHUFFLE(MaskF, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  low = HPCPDF_SHUFFLE(MaskF, a, b, 0, 4, 1, 5);
  high = HPCPDF_SHUFFLE(MaskF, a, b, 2, 6, 3, 7);
#endif
}

HPCPDF_INLINE void interleave(VectorD a, VectorD b, VectorD& low, VectorD& high) {
#if defined(__AVX512F__)
  low = HPCPDF_SHUFFLE(MaskD, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  high = HPCPDF_SHUFFLE(MaskD, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(__AVX2__)
  low = HPCPDF_SHUFFLE(MaskD, a, b, 0, 4, 1, 5);
  high = HPCPDF_SHUFFLE(MaskD, a, b, 2, 6, 3, 7);
#else
  low = HPCPDF_SHUFFLE(MaskD, a, b, 0, 2);
  high = HPCPDF_SHUFFLE(MaskD, a, b, 1, 3);
#endif
}
#endif

// Rows become columns: log2(W) rounds of interleaving row k with row k + W/2.
template <class R>
HPCPDF_INLINE void transpose(typename R::V (&rows)[R::W]) {
  using V = typename R::V;
  for (int round = 1; round < R::W; round *= 2) {
    V next[R::W];
    for (int k = 0; k < R::W / 2; ++k) interleave(rows[k], rows[k + R::W / 2], next[2 * k], next[2 * k + 1]);
    for (int k = 0; k < R::W; ++k) rows[k] = next[k];
  }
}

// The sums over the lanes of W rows, as one vector: each round adds halves of pairs of rows.
template <class R>
HPCPDF_INLINE typename R::V row_sums(const typename R::V* source) {
  using V = typename R::V;
  V rows[R::W];
  for (int k = 0; k < R::W; ++k) rows[k] = source[k];
  for (int half = R::W / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) {
      V low, high;
      interleave(rows[k], rows[k + half], low, high);
      rows[k] = low + high;
    }
  }
  return rows[0];
}

}  // namespace hpcpdf::trilaterate::HPCPDF_LEVEL

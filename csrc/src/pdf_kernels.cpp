#include "hpcpdf/pdf_kernels.hpp"

#include <array>

namespace hpcpdf {

namespace baseline {
extern const PdfKernels kernels;
}
#if defined(__GNUC__) && defined(__x86_64__)
namespace avx2 {
extern const PdfKernels kernels;
}
namespace avx512 {
extern const PdfKernels kernels;
}
#endif

namespace {

StencilWeights make_weights() {
  StencilWeights weights;
  for (std::size_t m = 0; m < stencil; ++m) {
    const double own = static_cast<double>(m) - 3.5;
    std::array<double, stencil> polynomial{1.0};
    std::size_t degree = 0;
    for (std::size_t l = 0; l < stencil; ++l) {
      if (l == m) continue;
      const double other = static_cast<double>(l) - 3.5, scale = 1.0 / (own - other);
      for (std::size_t p = ++degree; p > 0; --p) polynomial[p] = (polynomial[p - 1] - other * polynomial[p]) * scale;
      polynomial[0] *= -other * scale;
    }
    for (std::size_t p = 0; p < stencil; ++p) weights.value[p][m] = polynomial[p];
    for (std::size_t p = 1; p < stencil; ++p) {
      weights.slope[p - 1][m] = weights.slope_of_node[m][p - 1] = static_cast<double>(p) * polynomial[p];
    }
    weights.slope_of_node[m][stencil - 1] = 0.0;
  }
  return weights;
}

}  // namespace

const StencilWeights& stencil_weights() {
  static const StencilWeights weights = make_weights();
  return weights;
}

const PdfKernels& pdf_kernels(InstructionLevel level) {
  require_supported(level);
#if defined(__GNUC__) && defined(__x86_64__)
  if (level == InstructionLevel::avx512) return avx512::kernels;
  if (level == InstructionLevel::avx2) return avx2::kernels;
#endif
  return baseline::kernels;
}

const PdfKernels& pdf_kernels() {
  static const PdfKernels& chosen = pdf_kernels(instruction_level());
  return chosen;
}

}  // namespace hpcpdf

#include "hpcpdf/pdf_kernels.hpp"

#include <stdexcept>
#include <string>

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

const PdfKernels& pdf_kernels(InstructionLevel level) {
  if (!is_supported(level)) {
    throw std::invalid_argument(std::string(name(level)) + " instructions are not available on this processor");
  }
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

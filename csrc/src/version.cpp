#include "hpcpdf/version.hpp"

namespace hpcpdf {
const char* compiled_instruction_level() {
#if defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__)
  return "avx2";
#else
  return "baseline";
#endif
}
}  // namespace hpcpdf

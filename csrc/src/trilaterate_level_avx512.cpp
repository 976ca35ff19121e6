// The batch kernel compiled for the level "avx512"; the compiler options are set in CMakeLists.txt.
#define HPCPDF_LEVEL level_avx512
#define HPCPDF_LEVEL_NAME "avx512"
#if defined(__AVX512F__)
#include "trilaterate_kernel.hpp"
#endif

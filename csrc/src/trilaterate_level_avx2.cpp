// The batch kernel compiled for the level "avx2"; the compiler options are set in CMakeLists.txt.
#define HPCPDF_LEVEL level_avx2
#define HPCPDF_LEVEL_NAME "avx2"
#if defined(__AVX2__)
#include "trilaterate_kernel.hpp"
#endif

#include "lattice_kernels.hpp"

#if defined(__GNUC__) && defined(__x86_64__)
#include "hpcpdf/begin_avx512.inc"
#define HPCPDF_LEVEL avx512
#include "lattice_kernels.inc"
#undef HPCPDF_LEVEL
#include "hpcpdf/end_level.inc"
#endif

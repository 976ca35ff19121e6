#include "lattice_kernels.hpp"

#define HPCPDF_LEVEL baseline
#include "lattice_kernels.inc"

#include <math.h>

#include "hpcpdf/pdf_kernels.hpp"

#define HPCPDF_LEVEL baseline
#define HPCPDF_WIDTH 2
#include "pdf_kernels.inc"

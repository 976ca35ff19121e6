// The batch kernel compiled for the level "scalar"; the compiler options are set in CMakeLists.txt.
#define HPCPDF_LEVEL level_scalar
#define HPCPDF_LEVEL_NAME "scalar"
#define HPCPDF_SCALAR
#include "trilaterate_kernel.hpp"

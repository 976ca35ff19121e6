// The batch kernel compiled for the level "baseline"; the compiler options are set in CMakeLists.txt.
#define HPCPDF_LEVEL level_baseline
#define HPCPDF_LEVEL_NAME "baseline"
#include "trilaterate_kernel.hpp"

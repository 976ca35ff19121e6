// Compiled with the options of the level; see both_ways.hpp.
#define HPCPDF_LEVEL test_avx512
#include "both_ways.hpp"

bool both_ways_agree_avx512() {
  using namespace hpcpdf::trilaterate::test_avx512;
  return both_ways_agree<F32>() && both_ways_agree<F64>();
}

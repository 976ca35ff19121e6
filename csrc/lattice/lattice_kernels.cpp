#include "lattice_kernels.hpp"

namespace hpcpdf {

namespace baseline {
extern const LatticeKernels lattice_loops;
}
#if defined(__GNUC__) && defined(__x86_64__)
namespace avx2 {
extern const LatticeKernels lattice_loops;
}
namespace avx512 {
extern const LatticeKernels lattice_loops;
}
#endif

const LatticeKernels& lattice_kernels(InstructionLevel level) {
  require_supported(level);
#if defined(__GNUC__) && defined(__x86_64__)
  if (level == InstructionLevel::avx512) return avx512::lattice_loops;
  if (level == InstructionLevel::avx2) return avx2::lattice_loops;
#endif
  return baseline::lattice_loops;
}

const LatticeKernels& lattice_kernels() {
  static const LatticeKernels& chosen = lattice_kernels(instruction_level());
  return chosen;
}

}  // namespace hpcpdf

#include "hpcpdf/instruction_level.hpp"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace hpcpdf {
namespace {

constexpr InstructionLevel levels[] = {InstructionLevel::avx512, InstructionLevel::avx2, InstructionLevel::baseline};

InstructionLevel choose() {
  const char* wanted = std::getenv("HPCPDF_INSTRUCTIONS");
  for (const InstructionLevel level : levels) {
    if (wanted && std::strcmp(wanted, name(level)) == 0 && is_supported(level)) return level;
  }
  for (const InstructionLevel level : levels) {
    if (is_supported(level)) return level;
  }
  return InstructionLevel::baseline;
}

}  // namespace

const char* name(InstructionLevel level) {
  switch (level) {
    case InstructionLevel::avx512:
      return "avx512";
    case InstructionLevel::avx2:
      return "avx2";
    case InstructionLevel::baseline:
      break;
  }
  return "baseline";
}

bool is_supported(InstructionLevel level) {
#if defined(__GNUC__) && defined(__x86_64__)
  switch (level) {
    case InstructionLevel::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case InstructionLevel::avx2:
      return __builtin_cpu_supports("avx2");
    case InstructionLevel::baseline:
      break;
  }
#endif
  return level == InstructionLevel::baseline;
}

void require_supported(InstructionLevel level) {
  if (!is_supported(level)) {
    throw std::invalid_argument(std::string(name(level)) + " instructions are not available on this processor");
  }
}

InstructionLevel instruction_level() {
  static const InstructionLevel level = choose();
  return level;
}

}  // namespace hpcpdf

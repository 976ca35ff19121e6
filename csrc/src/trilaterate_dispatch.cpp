#include <stdexcept>
#include <string>

#include "trilaterate_level.hpp"

namespace hpcpdf::trilaterate {

namespace level_scalar {
extern const Level level_table;
}
namespace level_baseline {
extern const Level level_table;
}
#if defined(HPCPDF_X86_LEVELS)
namespace level_avx2 {
extern const Level level_table;
}
namespace level_avx512 {
extern const Level level_table;
}
#endif

Levels available_levels() {
  static const Level* table[4];
  static const int count = [] {
    int k = 0;
    table[k++] = &level_scalar::level_table;
    table[k++] = &level_baseline::level_table;
#if defined(HPCPDF_X86_LEVELS)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) table[k++] = &level_avx2::level_table;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
      table[k++] = &level_avx512::level_table;
    }
#endif
    return k;
  }();
  return {table, count};
}

bool staging_pays() {
#if defined(HPCPDF_X86_LEVELS)
  static const bool pays = __builtin_cpu_is("amd");
  return pays;
#else
  return false;
#endif
}

const Level& level(const std::string& name) {
  const Levels levels = available_levels();
  if (name.empty()) return *levels.begin[levels.count - 1];
  std::string known;
  for (int k = 0; k < levels.count; ++k) {
    if (name == levels.begin[k]->name) return *levels.begin[k];
    known += (k ? ", " : "") + std::string(levels.begin[k]->name);
  }
  throw std::invalid_argument("instruction level '" + name + "' is not available here; this machine has " + known);
}

std::vector<std::string> instruction_levels() {
  const Levels levels = available_levels();
  std::vector<std::string> names;
  for (int k = 0; k < levels.count; ++k) names.emplace_back(levels.begin[k]->name);
  return names;
}

}  // namespace hpcpdf::trilaterate

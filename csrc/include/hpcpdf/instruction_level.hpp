// Which vector instructions the hot loops use: chosen when the program runs, from what the processor has.
#pragma once

namespace hpcpdf {

enum class InstructionLevel { baseline = 0, avx2 = 1, avx512 = 2 };

const char* name(InstructionLevel level);

// Whether this build holds code for the level and this processor can run it.
bool is_supported(InstructionLevel level);

// Throws std::invalid_argument for a level that is not.
void require_supported(InstructionLevel level);

// The highest supported level, or the one named by the environment variable HPCPDF_INSTRUCTIONS when it is supported.
// Fixed at the first call. Every level gives the same bits.
InstructionLevel instruction_level();

}  // namespace hpcpdf

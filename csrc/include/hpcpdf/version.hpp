#pragma once

namespace hpcpdf {
// Name of the compiler's widest vector extension that this translation unit was built for.
const char* compiled_instruction_level();
}  // namespace hpcpdf

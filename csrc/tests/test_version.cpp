#include <cstring>

#include "check.hpp"
#include "hpcpdf/version.hpp"

int main() {
  CHECK(std::strlen(hpcpdf::compiled_instruction_level()) > 0);
  return check::failures;
}

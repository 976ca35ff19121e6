#include "hpcpdf/lines.hpp"

#include <cmath>
#include <cstring>

namespace hpcpdf {
namespace {

constexpr double tolerance = 1e-12;
constexpr std::size_t none = static_cast<std::size_t>(-1);
// After this many pairs merging is given up unless it saves a quarter of them.
constexpr std::size_t trial = 2048;

// Leading bits of the number: bins of relative width 2^-36, far wider than the tolerance.
std::uint64_t key_of(double distance) {
  std::uint64_t bits;
  std::memcpy(&bits, &distance, sizeof bits);
  return bits >> 16;
}

std::uint64_t scramble(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15ull;
  return key ^ (key >> 29);
}

}  // namespace

LineBuilder::LineBuilder() : table_(2 * trial, 0) {}

std::size_t LineBuilder::find(std::uint64_t key, double distance, double msd) const {
  const std::size_t mask = table_.size() - 1;
  for (std::size_t slot = scramble(key) & mask; table_[slot] != 0; slot = (slot + 1) & mask) {
    const std::size_t line = table_[slot] - 1;
    if (std::fabs(lines_.distance[line] - distance) <= tolerance * distance && lines_.msd[line] == msd) return line;
  }
  return none;
}

void LineBuilder::insert(std::uint64_t key, std::size_t line) {
  const std::size_t mask = table_.size() - 1;
  std::size_t slot = scramble(key) & mask;
  while (table_[slot] != 0) slot = (slot + 1) & mask;
  table_[slot] = static_cast<std::uint32_t>(line + 1);
}

void LineBuilder::grow() {
  table_.assign(4 * table_.size(), 0);
  for (std::size_t line = 0; line < lines_.size(); ++line) insert(key_of(lines_.distance[line]), line);
}

// Adds a pair to a line that it equals; otherwise enters it in the table as the next line.
bool LineBuilder::merge(double distance, double msd) {
  const std::uint64_t low = key_of(distance * (1.0 - tolerance)), high = key_of(distance * (1.0 + tolerance));
  std::size_t line = find(low, distance, msd);
  if (line == none && high != low) line = find(high, distance, msd);
  if (line != none) {
    lines_.count[line] += 1.0;
    offset_[line] += distance - lines_.distance[line];
    return true;
  }
  if (2 * (lines_.size() + 1) > table_.size()) grow();
  insert(key_of(distance), lines_.size());
  offset_.push_back(0.0);
  return false;
}

void LineBuilder::add(double distance, double msd) {
  if (merging_) {
    if (merge(distance, msd)) {
      ++added_;
      return;
    }
    merging_ = ++added_ != trial || 4 * lines_.size() < 3 * trial;
  }
  lines_.distance.push_back(distance);
  lines_.msd.push_back(msd);
  lines_.count.push_back(1.0);
}

Lines LineBuilder::finish() {
  for (std::size_t line = 0; line < offset_.size(); ++line) lines_.distance[line] += offset_[line] / lines_.count[line];
  return std::move(lines_);
}

Lines pair_lines(const double* positions, const double* u, std::size_t n, double d_min, double d_max) {
  LineBuilder builder;
  for (std::size_t i = 0; i + 1 < n; ++i) {
    const double* a = positions + 3 * i;
    for (std::size_t j = i + 1; j < n; ++j) {
      const double* b = positions + 3 * j;
      const double dx = a[0] - b[0], dy = a[1] - b[1], dz = a[2] - b[2];
      const double d = std::sqrt(dx * dx + dy * dy + dz * dz);
      if (d > coincident && d >= d_min && d <= d_max) builder.add(d, u ? u[i] + u[j] : 0.0);
    }
  }
  return builder.finish();
}

}  // namespace hpcpdf

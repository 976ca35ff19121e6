// Reproducible numbers without a library: a small linear congruential generator.
#pragma once

// Of each file that includes it alone, for these are compiled for different instruction levels.
namespace {

class Numbers {
 public:
  explicit Numbers(unsigned long long seed = 1) : state_(seed) {}

  // Uniform in [low, high).
  double operator()(double low = 0.0, double high = 1.0) {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return low + (high - low) * (static_cast<double>(state_ >> 11) / 9007199254740992.0);
  }

 private:
  unsigned long long state_;
};

}  // namespace

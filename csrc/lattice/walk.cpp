#include "walk.hpp"

#include <cmath>
#include <memory>
#include <stdexcept>
#include <utility>

#include "hpcpdf/parallel.hpp"
#include "random.hpp"
#include "scoring.hpp"
#include "walker.hpp"

namespace hpcpdf {

WalkResult walk(const Sites& sites, const Target& target, const std::vector<std::vector<std::int32_t>>& starts,
                double rate, const WalkSettings& settings) {
  const std::size_t n = settings.powers.size();
  if (n == 0 || starts.empty()) throw std::invalid_argument("powers and starts: expected at least one");
  Best best(settings.keep);
  Random random(settings.seed);
  std::vector<std::unique_ptr<Walker>> walkers;
  for (std::size_t k = 0; k < n; ++k) {
    walkers.push_back(std::make_unique<Walker>(sites, target, starts[k % starts.size()], rate, settings,
                                               settings.seed + 0xd1342543de82ef95ULL * (k + 1), best));
    walkers.back()->note();
  }
  WalkResult result;
  bool found = false;
  for (std::size_t round = 0; round < settings.rounds && !found; ++round) {
    for (std::size_t k = 0; k < n && !found; ++k) {
      result.steps += walkers[k]->advance(settings.steps, settings.powers[k]);
      found = walkers[k]->misfit() <= settings.stop;
    }
    for (std::size_t k = round % 2; k + 1 < n; k += 2) {
      const double gain =
          (settings.powers[k + 1] - settings.powers[k]) *
          (std::log(walkers[k + 1]->misfit() / walkers[k]->misfit()) + walkers[k + 1]->energy() - walkers[k]->energy());
      if (gain >= 0.0 || random.uniform() < std::exp(gain)) {
        std::swap(walkers[k], walkers[k + 1]);
        ++result.exchanged;
      }
    }
  }
  for (const auto& walker : walkers) result.accepted += walker->accepted();
  result.best = best.take();
  return result;
}

std::vector<WalkResult> walks(const Sites& sites, const Target& target,
                              const std::vector<std::vector<std::vector<std::int32_t>>>& starts,
                              const std::vector<double>& rates, const std::vector<WalkSettings>& settings,
                              int n_threads) {
  std::vector<WalkResult> results(starts.size());
  parallel_for(starts.size(), n_threads,
               [&](std::size_t i) { results[i] = walk(sites, target, starts[i], rates[i], settings[i]); });
  return results;
}

}  // namespace hpcpdf

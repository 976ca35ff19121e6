#include "shapes.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hpcpdf/parallel.hpp"
#include "random.hpp"
#include "scoring.hpp"
#include "structure.hpp"

namespace hpcpdf {

namespace {

// Random bodies bounded by facets: distances drawn, sites sorted by how far out they lie.
class ShapeMaker {
 public:
  ShapeMaker(const Sites& sites, const ShapeSettings& settings)
      : sites_(sites),
        settings_(settings),
        gauge_(sites.size()),
        order_(sites.size()),
        width_(sites.n_facets()),
        offset_(sites.n_facets()) {}

  std::vector<std::int32_t> draw(Random& random) {
    const std::size_t n_facets = sites_.n_facets(), n = sites_.size();
    double centre[3] = {0.0, 0.0, 0.0};
    const bool symmetric = random.uniform() < settings_.symmetric;
    if (symmetric && settings_.n_centres > 0) {
      const double* c = settings_.centres + 3 * random.below(settings_.n_centres);
      std::copy(c, c + 3, centre);
    } else {
      for (double& c : centre) c = settings_.off_centre * (2.0 * random.uniform() - 1.0);
    }
    // A kind of facet may be absent, but not all.
    std::vector<double> of_kind(sites_.n_kinds());
    std::size_t present = 0;
    do {
      present = 0;
      for (double& w : of_kind) {
        w = random.uniform() < 0.75 ? 0.75 + 0.65 * random.uniform() : 1e6;
        present += w < 1e5;
      }
    } while (present == 0);
    const double spread = symmetric ? 0.0 : settings_.spread * random.uniform();
    for (std::size_t f = 0; f < n_facets; ++f) {
      const double w = of_kind[sites_.kind(f)] * std::exp(spread * random.normal());
      const double* normal = sites_.normal(f);
      width_[f] = static_cast<float>(1.0 / w);
      offset_[f] = static_cast<float>(normal[0] * centre[0] + normal[1] * centre[1] + normal[2] * centre[2]);
    }
    for (std::size_t s = 0; s < n; ++s) {
      float furthest = -1e30f;
      for (std::size_t f = 0; f < n_facets; ++f) {
        furthest = std::max(furthest, (sites_.height(f, s) - offset_[f]) * width_[f]);
      }
      gauge_[s] = furthest;
      order_[s] = static_cast<std::int32_t>(s);
    }
    const double low = std::log(static_cast<double>(settings_.least_atoms)),
                 high = std::log(static_cast<double>(settings_.most_atoms) + 0.999);
    auto target = static_cast<std::size_t>(std::exp(low + (high - low) * random.uniform()));
    target = std::min(std::max<std::size_t>(target, 1), n);
    const auto closer = [&](std::int32_t a, std::int32_t b) {
      const float ga = gauge_[static_cast<std::size_t>(a)], gb = gauge_[static_cast<std::size_t>(b)];
      return ga < gb || (ga == gb && a < b);
    };
    std::nth_element(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(target - 1), order_.end(), closer);
    const float limit = gauge_[static_cast<std::size_t>(order_[target - 1])] + 1e-4f;
    std::vector<std::int32_t> found;
    for (std::size_t s = 0; s < n; ++s) {
      if (gauge_[s] > limit) continue;
      if (sites_.at_edge(s)) return {};
      found.push_back(static_cast<std::int32_t>(s));
    }
    return found;
  }

 private:
  const Sites& sites_;
  const ShapeSettings settings_;
  std::vector<float> gauge_;
  std::vector<std::int32_t> order_;
  std::vector<float> width_, offset_;
};

}  // namespace

std::vector<Met> shapes(const Sites& sites, const Target& target, const ShapeSettings& settings, double rate,
                        int n_threads) {
  constexpr std::size_t chunk = 64;
  const std::size_t n_chunks = (settings.count + chunk - 1) / chunk;
  std::vector<std::vector<Met>> found(n_chunks);
  parallel_for(n_chunks, n_threads, [&](std::size_t i) {
    ShapeMaker maker(sites, settings);
    const Curve curve(target, rate);
    Adder adder(target);
    const AlignedFloats zero(target.points, 0.0f);
    AlignedFloats bare(target.points, 0.0f);
    Best best(settings.keep);
    for (std::size_t k = i * chunk; k < std::min(settings.count, (i + 1) * chunk); ++k) {
      Random random(settings.seed + 0x632be59bd9b4e019ULL * (k + 1));
      auto chosen = maker.draw(random);
      if (chosen.size() < settings.least_atoms || chosen.size() > settings.most_atoms) continue;
      std::vector<std::int32_t> counts(target.n_classes + 1, 0);
      Structure structure(sites);
      for (const std::int32_t s : chosen) structure.add(static_cast<std::size_t>(s), counts.data());
      adder(counts.data(), zero.data(), bare.data());
      const Score found_score = curve.score(bare.data());
      Met met;
      met.misfit = found_score.misfit;
      met.rate = found_score.rate;
      met.missing = structure.missing();
      met.energy = energy_of(met.missing, chosen.size(), settings.bond_cost, settings.usual_missing);
      if (!best.wants(value_of(met))) continue;
      met.key = key_of(counts.data(), target.n_classes, chosen.size());
      met.sites = std::move(chosen);
      best.offer(std::move(met));
    }
    found[i] = best.take();
  });
  Best best(settings.keep);
  for (auto& part : found) {
    for (auto& met : part) {
      if (best.wants(value_of(met))) best.offer(std::move(met));
    }
  }
  return best.take();
}

}  // namespace hpcpdf

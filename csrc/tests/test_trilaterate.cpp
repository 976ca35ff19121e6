// Every instruction level finds stationary points of the cost, in lanes and one at a time, whatever the threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "hpcpdf/trilaterate.hpp"
#include "numbers.hpp"

namespace tri = hpcpdf::trilaterate;

namespace {

const std::vector<double> kSatellites = {0, 0, 1, 0.94, 0, -0.33, -0.47, 0.82, -0.33, -0.47, -0.82, -0.33, 0, 0.6, 0.8};
constexpr int kCount = 5;

struct Case {
  int n;
  std::vector<double> d, a;
};

double length(const double* x, const double* y) {
  return std::sqrt((x[0] - y[0]) * (x[0] - y[0]) + (x[1] - y[1]) * (x[1] - y[1]) + (x[2] - y[2]) * (x[2] - y[2]));
}

Case make_case(int n, double noise, Numbers& random) {
  Case c{n, std::vector<double>(n * n), std::vector<double>(n * kCount)};
  std::vector<double> x(3 * n);
  for (double& v : x) v = 1.6 * random() - 0.8;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) {
      c.d[i * n + j] = c.d[j * n + i] = length(&x[3 * i], &x[3 * j]) + noise * (2 * random() - 1);
    }
    for (int s = 0; s < kCount; ++s) {
      c.a[i * kCount + s] = length(&x[3 * i], &kSatellites[3 * s]) + noise * (2 * random() - 1);
    }
  }
  return c;
}

// Largest projected gradient component, written down once more in the plainest way.
double stationarity(const Case& c, const double* x) {
  double worst = 0.0;
  for (int i = 0; i < c.n; ++i) {
    double g[3] = {};
    const auto pull = [&](const double* p, double wanted) {
      const double r = length(x + 3 * i, p);
      for (int k = 0; k < 3; ++k) g[k] += 2 * (r - wanted) / r * (x[3 * i + k] - p[k]);
    };
    for (int j = 0; j < c.n; ++j) {
      if (j != i) pull(x + 3 * j, c.d[i * c.n + j]);
    }
    for (int s = 0; s < kCount; ++s) pull(&kSatellites[3 * s], c.a[i * kCount + s]);
    for (int k = 0; k < 3; ++k) {
      const double to = std::min(1.0, std::max(-1.0, x[3 * i + k] - g[k]));
      worst = std::max(worst, std::fabs(to - x[3 * i + k]));
    }
  }
  return worst;
}

struct Solution {
  std::vector<std::vector<double>> x;
  std::vector<tri::Outcome> outcomes;
};

Solution solve(const std::vector<Case>& cases, const tri::Options& options) {
  Solution solution;
  std::vector<tri::Problem> problems(cases.size());
  std::vector<std::vector<float>> narrow(cases.size());
  std::vector<void*> targets(cases.size());
  solution.x.resize(cases.size());
  solution.outcomes.resize(cases.size());
  for (std::size_t k = 0; k < cases.size(); ++k) {
    const int n = cases[k].n;
    problems[k].n = n;
    problems[k].distances = {reinterpret_cast<const char*>(cases[k].d.data()), n * 8, 8, true};
    problems[k].satellites = {reinterpret_cast<const char*>(cases[k].a.data()), kCount * 8, 8, true};
    solution.x[k].resize(3 * n);
    narrow[k].resize(3 * n);
    targets[k] = options.wide ? static_cast<void*>(solution.x[k].data()) : static_cast<void*>(narrow[k].data());
  }
  const bool done = tri::solve(problems.data(), problems.size(), kSatellites.data(), kCount, options, targets.data(),
                               solution.outcomes.data(), nullptr, nullptr);
  CHECK(done);
  for (std::size_t k = 0; k < cases.size() && !options.wide; ++k) {
    std::copy(narrow[k].begin(), narrow[k].end(), solution.x[k].begin());
  }
  return solution;
}

bool same(const Solution& a, const Solution& b) {
  for (std::size_t k = 0; k < a.x.size(); ++k) {
    // Nothing may be at a null pointer.
    const std::size_t bytes = a.x[k].size() * sizeof(double);
    if (bytes > 0 && std::memcmp(a.x[k].data(), b.x[k].data(), bytes) != 0) return false;
    if (a.outcomes[k].evaluations != b.outcomes[k].evaluations) return false;
  }
  return true;
}

}  // namespace

int main() {
  Numbers random(12345);
  std::vector<Case> cases;
  for (int n = 0; n <= 70; ++n) cases.push_back(make_case(n, n % 3 == 0 ? 0.3 : 0.05, random));
  for (int n : {95, 96, 97, 127, 128, 129}) cases.push_back(make_case(n, 0.05, random));
  for (int k = 0; k < 40; ++k) cases.push_back(make_case(9, 0.1, random));

  for (const std::string& level : tri::instruction_levels()) {
    for (const bool wide : {false, true}) {
      tri::Options options;
      options.level = level;
      options.wide = wide;
      const Solution one = solve(cases, options);
      for (std::size_t k = 0; k < cases.size(); ++k) {
        CHECK(one.outcomes[k].status == tri::Status::converged);
        CHECK(stationarity(cases[k], one.x[k].data()) < 2e-5);
      }
      options.threads = 4;
      CHECK(same(one, solve(cases, options)));
      const std::vector<Case> few(cases.begin() + 50, cases.begin() + 60);
      const Solution part = solve(few, options);
      for (int k = 0; k < 10; ++k) CHECK(part.x[k] == one.x[50 + k]);
      // Whoever shares the lanes: a large structure among small ones, and each alone.
      std::vector<Case> uneven;
      const std::vector<std::size_t> chosen{75, 74, 72, 33, 17, 3, 2, 1};
      for (const std::size_t k : chosen) uneven.push_back(cases[k]);
      const Solution together = solve(uneven, options);
      for (std::size_t k = 0; k < chosen.size(); ++k) {
        CHECK(together.x[k] == one.x[chosen[k]]);
        CHECK(solve({uneven[k]}, options).x[0] == one.x[chosen[k]]);
      }
    }
  }

  tri::Options options;
  options.general = true;
  options.wide = true;
  const Solution general = solve(cases, options);
  for (std::size_t k = 0; k < cases.size(); ++k) CHECK(stationarity(cases[k], general.x[k].data()) < 2e-5);

  options.general = false;
  options.level = "unheard of";
  bool refused = false;
  try {
    solve(cases, options);
  } catch (const std::invalid_argument& error) {
    refused = std::string(error.what()).find("unheard of") != std::string::npos;
  }
  CHECK(refused);

  // A broken problem is refused, its neighbours in the lane group are not touched.
  options.level.clear();
  std::vector<Case> group(cases.end() - 20, cases.end());
  const Solution sound = solve(group, options);
  group[4].d[7] = std::numeric_limits<double>::quiet_NaN();
  const Solution broken = solve(group, options);
  for (std::size_t k = 0; k < group.size(); ++k) {
    if (k == 4) {
      CHECK(broken.outcomes[k].status == tri::Status::invalid_input);
      CHECK(std::isnan(broken.x[k][0]));
    } else {
      CHECK(broken.x[k] == sound.x[k]);
    }
  }

  // The caller's wish to stop ends the call.
  std::vector<Case> many(3000, make_case(60, 0.1, random));
  std::vector<tri::Problem> problems(many.size());
  std::vector<double> room(180);
  std::vector<void*> targets(many.size(), room.data());
  std::vector<tri::Outcome> outcomes(many.size());
  for (std::size_t k = 0; k < many.size(); ++k) {
    problems[k].n = 60;
    problems[k].distances = {reinterpret_cast<const char*>(many[k].d.data()), 480, 8, true};
    problems[k].satellites = {reinterpret_cast<const char*>(many[k].a.data()), kCount * 8, 8, true};
  }
  options.sequential = true;
  CHECK(!tri::solve(problems.data(), problems.size(), kSatellites.data(), kCount, options, targets.data(),
                    outcomes.data(), nullptr, [] { return true; }));

  // What the caller does meanwhile is done once, whatever there is to solve, and its exception comes out.
  room.resize(40 * 180);
  for (std::size_t k = 0; k < 40; ++k) targets[k] = room.data() + 180 * k;
  for (const std::size_t count : {0, 40}) {
    for (options.threads = 1; options.threads < 4; ++options.threads) {
      int calls = 0;
      bool thrown = false;
      try {
        tri::solve(
            problems.data(), count, kSatellites.data(), kCount, options, targets.data(), outcomes.data(),
            [&] {
              ++calls;
              throw std::domain_error("meanwhile");
            },
            nullptr);
      } catch (const std::domain_error&) {
        thrown = true;
      }
      CHECK(calls == 1 && thrown);
    }
  }
  return check::failures;
}

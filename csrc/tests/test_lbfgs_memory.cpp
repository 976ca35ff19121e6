#include <algorithm>
#include <cmath>
#include <deque>
#include <random>
#include <vector>

#include "check.hpp"
#include "hpcpdf/free_space.hpp"
#include "hpcpdf/lbfgs_memory.hpp"

using hpcpdf::FreeSpace;
using hpcpdf::LbfgsMemory;

namespace {

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;

struct Pair {
  Vector s, y;
};

double dot(const Vector& a, const Vector& b) {
  double sum = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

// The BFGS recursion itself, from theta I: B <- B - B s s'B / s'B s + y y' / s'y.
Matrix dense_bfgs(const std::deque<Pair>& pairs, double theta, std::size_t n) {
  Matrix b(n, Vector(n, 0.0));
  for (std::size_t k = 0; k < n; ++k) b[k][k] = theta;
  for (const auto& [s, y] : pairs) {
    Vector bs(n);
    for (std::size_t k = 0; k < n; ++k) bs[k] = dot(b[k], s);
    const double sbs = dot(s, bs), sy = dot(s, y);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) b[i][j] += y[i] * y[j] / sy - bs[i] * bs[j] / sbs;
    }
  }
  return b;
}

// B restricted to the listed variables times v.
Vector restricted_product(const Matrix& b, const std::vector<int>& listed, const Vector& v) {
  Vector out(listed.size(), 0.0);
  for (std::size_t i = 0; i < listed.size(); ++i) {
    for (std::size_t j = 0; j < listed.size(); ++j) {
      out[i] += b[static_cast<std::size_t>(listed[i])][static_cast<std::size_t>(listed[j])] * v[j];
    }
  }
  return out;
}

double largest_difference(const Vector& a, const Vector& b) {
  double largest = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) largest = std::max(largest, std::fabs(a[k] - b[k]));
  return largest;
}

// Through many pairs, more than fit, with a set of free variables that changes a little, a lot or not at all, and
// pairs that arrive while the subspace is left alone.
void compact_form_equals_recursion(std::size_t n, int capacity) {
  std::mt19937 random(static_cast<unsigned>(n) * 31u + static_cast<unsigned>(capacity));
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  LbfgsMemory memory(n, capacity);
  FreeSpace space(n, capacity);
  std::deque<Pair> kept;
  std::vector<char> is_free(n, 1);
  const auto width = static_cast<std::size_t>(2 * capacity);
  for (int step = 0; step < 60; ++step) {
    Pair pair{Vector(n), Vector(n)};
    for (std::size_t k = 0; k < n; ++k) {
      pair.s[k] = normal(random);
      pair.y[k] = (1.0 + 4.0 * uniform(random)) * pair.s[k];
    }
    CHECK(memory.push(pair.s.data(), pair.y.data(), dot(pair.s, pair.s), dot(pair.s, pair.y), dot(pair.y, pair.y)));
    space.pair_replaced(memory.newest_slot());
    kept.push_back(pair);
    if (kept.size() > static_cast<std::size_t>(capacity)) kept.pop_front();
    CHECK(static_cast<std::size_t>(memory.size()) == kept.size());
    CHECK(check::near(memory.theta(), dot(pair.y, pair.y) / dot(pair.s, pair.y), 1e-12 * memory.theta()));
    const Matrix b = dense_bfgs(kept, memory.theta(), n);

    Vector v(n), compact(n), projected(width), middle(width), row(width);
    for (double& value : v) value = normal(random);
    memory.project(v.data(), projected.data());
    memory.apply_middle(projected.data(), middle.data());
    for (std::size_t k = 0; k < n; ++k) {
      compact[k] = memory.theta() * v[k] - memory.row_dot(k, middle.data());
      memory.row(k, row.data());
      double by_row = 0.0;
      for (int j = 0; j < 2 * memory.size(); ++j) {
        by_row += row[static_cast<std::size_t>(j)] * middle[static_cast<std::size_t>(j)];
      }
      CHECK(check::near(by_row, memory.row_dot(k, middle.data()), 1e-9));
    }
    std::vector<int> all(n);
    for (std::size_t k = 0; k < n; ++k) all[k] = static_cast<int>(k);
    CHECK(largest_difference(compact, restricted_product(b, all, v)) < 1e-9);

    if (step % 5 == 3) continue;
    for (std::size_t k = 0; k < n; ++k) {
      const double chance = step % 4 == 0 ? 0.6 : 0.1;
      if (step % 3 != 0 && uniform(random) < chance) is_free[k] = !is_free[k];
    }
    std::vector<int> free;
    for (std::size_t k = 0; k < n; ++k) {
      if (is_free[k]) free.push_back(static_cast<int>(k));
    }
    Vector r(free.size());
    for (double& value : r) value = normal(random);
    Vector solution = r;
    CHECK(space.prepare(memory, is_free.data()));
    space.solve(memory, free.data(), free.size(), solution.data());
    CHECK(largest_difference(restricted_product(b, free, solution), r) < 1e-9);
    if (step == 40) {
      memory.clear();
      space.clear();
      kept.clear();
    }
  }
}

}  // namespace

int main() {
  for (const int capacity : {1, 2, 5, 10}) {
    for (const std::size_t n : {1u, 2u, 7u, 30u}) {
      if (static_cast<std::size_t>(capacity) <= 2 * n) compact_form_equals_recursion(n, capacity);
    }
  }
  return check::failures;
}

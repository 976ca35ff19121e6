// Which atoms the distances of non-zero weight hold in place.
//
// The answer belongs to the graph of distances, not to their values, and is found at fixed positions without any
// special symmetry. First atoms are placed one after another where enough of their neighbours are placed; only if that
// stops short is the rank of the distance equations computed.
#include <algorithm>
#include <cmath>
#include <vector>

#include "trilaterate_dense.hpp"

namespace hpcpdf::trilaterate {
namespace {

constexpr double kRankTolerance = 1e-10;  // of a pivot of J'J against the largest

double fraction(double t) { return t - std::floor(t); }

class Graph {
 public:
  explicit Graph(const Dense& problem) : q_(problem), x_(3 * static_cast<std::size_t>(problem.n)) {
    // A low-discrepancy cloud: no three atoms on a line, no four in a plane.
    for (int i = 0; i < q_.n; ++i) {
      x_[3 * i] = 1.6 * fraction(0.5 + 0.8191725133961645 * (i + 1)) - 0.8;
      x_[3 * i + 1] = 1.6 * fraction(0.5 + 0.6710436067037893 * (i + 1)) - 0.8;
      x_[3 * i + 2] = 1.6 * fraction(0.5 + 0.5497004779019703 * (i + 1)) - 0.8;
    }
    for (int s = 0; s < q_.satellites; ++s) {
      for (int i = 0; i < q_.n; ++i) {
        if (q_.anchor_weight(i, s) > 0.0) {
          used_.push_back(s);
          break;
        }
      }
    }
  }

  // Places what has distances to at least `needed` placed points that are not degenerate (three not on a line, four
  // not in a plane), from the satellites or else from the first clique of atoms. True when that is every atom.
  bool closes(int needed) const {
    std::vector<char> placed(q_.n, 0);
    if (spread(placed, needed)) return true;
    if (!used_.empty()) return false;
    std::vector<int> clique;
    for (int i = 0; i < q_.n && static_cast<int>(clique.size()) < needed; ++i) {
      const bool all = std::all_of(clique.begin(), clique.end(), [&](int j) { return q_.weight(i, j) > 0.0; });
      if (all) clique.push_back(i);
    }
    if (static_cast<int>(clique.size()) < std::min(needed, q_.n)) return false;
    for (const int i : clique) placed[i] = 1;
    return spread(placed, needed);
  }

  // Motions of the whole structure that leave the used satellites where they are.
  int free_motions() const {
    const int n = q_.n;
    std::vector<double> points;
    for (const int s : used_) points.insert(points.end(), q_.points + 3 * s, q_.points + 3 * s + 3);
    const int count = static_cast<int>(used_.size());
    const int rank = count == 0 ? -1 : Moments(points.data(), nullptr, count).rank(kExactlyFlat);
    if (n == 0 || rank >= 2) return 0;
    if (rank == 1) return 1;
    if (rank == 0) return n == 1 ? 2 : 3;
    return n == 1 ? 3 : n == 2 ? 5 : 6;
  }

  // Dimensions that the used satellites span, -1 without any.
  int satellite_rank() const {
    std::vector<double> points;
    for (const int s : used_) points.insert(points.end(), q_.points + 3 * s, q_.points + 3 * s + 3);
    return used_.empty() ? -1 : Moments(points.data(), nullptr, static_cast<int>(used_.size())).rank(kExactlyFlat);
  }

  // Rank of the distance equations: pivots of J'J = sum u u' by Cholesky factorisation with the largest pivot first.
  int rank() const {
    const int n = q_.n, size = 3 * n;
    std::vector<double> a(static_cast<std::size_t>(size) * size, 0.0);
    const auto at = [&](int i, int j) -> double& { return a[static_cast<std::size_t>(i) * size + j]; };
    const auto add = [&](int i, int j, const double* from, const double* to) {
      const double e[3] = {from[0] - to[0], from[1] - to[1], from[2] - to[2]};
      const double r2 = e[0] * e[0] + e[1] * e[1] + e[2] * e[2];
      for (int c = 0; c < 3; ++c) {
        for (int d = 0; d < 3; ++d) {
          const double u = e[c] * e[d] / r2;
          at(3 * i + c, 3 * i + d) += u;
          if (j < 0) continue;
          at(3 * j + c, 3 * j + d) += u;
          at(3 * i + c, 3 * j + d) -= u;
          at(3 * j + c, 3 * i + d) -= u;
        }
      }
    };
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < i; ++j) {
        if (q_.weight(i, j) > 0.0) add(i, j, &x_[3 * i], &x_[3 * j]);
      }
      for (const int s : used_) {
        if (q_.anchor_weight(i, s) > 0.0) add(i, -1, &x_[3 * i], q_.points + 3 * s);
      }
    }
    double largest = 0.0;
    for (int k = 0; k < size; ++k) {
      int best = k;
      for (int i = k + 1; i < size; ++i) best = at(i, i) > at(best, best) ? i : best;
      if (best != k) {
        for (int j = 0; j < size; ++j) std::swap(at(k, j), at(best, j));
        for (int j = 0; j < size; ++j) std::swap(at(j, k), at(j, best));
      }
      largest = std::max(largest, at(k, k));
      if (!(at(k, k) > kRankTolerance * largest)) return k;
      for (int i = k + 1; i < size; ++i) {
        const double factor = at(i, k) / at(k, k);
        if (factor == 0.0) continue;
        for (int j = k + 1; j < size; ++j) at(i, j) -= factor * at(k, j);
      }
    }
    return size;
  }

 private:
  bool spread(std::vector<char>& placed, int needed) const {
    int left = static_cast<int>(std::count(placed.begin(), placed.end(), 0));
    bool grew = true;
    std::vector<double> near;
    while (grew && left > 0) {
      grew = false;
      for (int i = 0; i < q_.n; ++i) {
        if (placed[i]) continue;
        near.clear();
        for (const int s : used_) {
          if (q_.anchor_weight(i, s) > 0.0) near.insert(near.end(), q_.points + 3 * s, q_.points + 3 * s + 3);
        }
        for (int j = 0; j < q_.n; ++j) {
          if (placed[j] && q_.weight(i, j) > 0.0) near.insert(near.end(), x_.data() + 3 * j, x_.data() + 3 * j + 3);
        }
        const int count = static_cast<int>(near.size() / 3);
        if (count >= needed && Moments(near.data(), nullptr, count).rank(kExactlyFlat) >= needed - 1) {
          placed[i] = 1;
          --left;
          grew = true;
        }
      }
    }
    return left == 0;
  }

  const Dense& q_;
  std::vector<double> x_;
  std::vector<int> used_;
};

}  // namespace

Determination determine(const Dense& problem) {
  Determination result;
  const Graph graph(problem);
  const int span = graph.satellite_rank();
  result.framed = problem.n == 0 || span >= 2;
  // Up to three atoms without satellites have no handedness; a single one has nothing inside at all.
  const bool flat = span < 0 && problem.n <= 3;
  if (graph.closes(4)) {
    result.handed = span >= 3 || flat || problem.n == 0;
    return result;
  }
  result.handed = flat || problem.n == 0;
  result.rigid = graph.closes(3) || graph.rank() == 3 * problem.n - graph.free_motions();
  return result;
}

}  // namespace hpcpdf::trilaterate

// Clusters through the tables of a plan, and slopes back through their transposes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "hpcpdf/parallel.hpp"
#include "hpcpdf/pdf_plan.hpp"
#include "sorted_atoms.hpp"

namespace hpcpdf {
namespace {

// A cluster of more pairs is cut into this many, or as many as give parts of this size, whichever are fewer: by its own
// number of atoms alone, so that its sums have one order.
constexpr double part_pairs = 1048576.0;
constexpr double most_parts = 256.0;

std::size_t count_parts(std::size_t n) {
  const double pairs = 0.5 * static_cast<double>(n) * static_cast<double>(n);
  return static_cast<std::size_t>(std::min(std::ceil(pairs / part_pairs), most_parts));
}

// First row of part p of the pair triangle of n atoms: every part has about as many pairs.
std::size_t part_row(std::size_t n, std::size_t p, std::size_t parts) {
  const double left = 1.0 - static_cast<double>(p) / static_cast<double>(parts);
  return p == parts ? n : static_cast<std::size_t>(static_cast<double>(n) * (1.0 - std::sqrt(left)));
}

struct SpeciesPair {
  std::size_t a, b;
};

std::vector<SpeciesPair> species_pairs(const SortedAtoms& atoms) {
  std::vector<SpeciesPair> pairs;
  const auto& bounds = atoms.bounds;
  for (std::size_t a = 0; a + 1 < bounds.size(); ++a) {
    for (std::size_t b = a; b + 1 < bounds.size(); ++b) {
      if (bounds[a] < bounds[a + 1] && bounds[b] < bounds[b + 1]) pairs.push_back({a, b});
    }
  }
  return pairs;
}

// What rows [first, last) of the pair triangle add to the moments of one pair of species.
void add_rows(const SortedAtoms& atoms, const SpeciesPair& pair, std::size_t first, std::size_t last, const Bins& bins,
              double* moments) {
  const Coordinates coordinates{atoms.x.data(), atoms.y.data(), atoms.z.data()};
  const std::size_t i1 = std::min(last, atoms.bounds[pair.a + 1]), j1 = atoms.bounds[pair.b + 1];
  for (std::size_t i = std::max(first, atoms.bounds[pair.a]); i < i1; ++i) {
    pdf_kernels().add_moments(coordinates, i, std::max(i + 1, atoms.bounds[pair.b]), j1, bins, moments);
  }
}

}  // namespace

// Up to row_tile clusters at a time. Their histograms, one row for each pair of species, stay until the next group.
class PdfPlan::Worker {
 public:
  Worker(const PdfPlan& plan, const ClusterBatch& batch, const double* factors, std::size_t n_species,
         const double* envelope)
      : plan_(plan),
        batch_(batch),
        factors_(factors),
        n_species_(n_species),
        envelope_(envelope),
        moments_((plan.bins_.count + 1) * stencil),
        tile_(std::max(plan.n_nodes_, plan.waves_.blocks * lanes) * row_tile),
        waves_(plan.waves_.blocks * lanes * row_tile),
        f_(plan.waves_.blocks * lanes * row_tile),
        coarse_(plan.sines_.blocks * lanes * row_tile),
        line_(plan.n_coarse_ + row_tile),
        fine_(plan.n_cells_ * plan.spread_ + plan.n_padded_) {}

  // G of clusters first ... last - 1. `known` holds the moments of the only cluster, if they have been found before.
  void simulate(std::size_t first, std::size_t last, double* g, unsigned char* served,
                const std::vector<AlignedDoubles>* known = nullptr) {
    first_ = first;
    find_histograms(last, served, known);
    sum_waves();
    sum_sines(last, g);
  }

  // After `simulate` of the same clusters: slopes, dE over the change of envelope * G, to the gradients of E.
  void pull_back(std::size_t last, const double* slopes, const PlanGradient& out);

 private:
  struct Row {
    std::size_t cluster;  // within the group
    SpeciesPair pair;
    std::size_t first_bin, last_bin;
    std::vector<double> nodes;
  };

  double node_ratio(std::size_t m) const {
    return plan_.plain_ ? 1.0 : plan_.settings_.width.variance(plan_.node(m), 1.0);
  }

  double product_of_factors(const SpeciesPair& pair, std::size_t k) const {
    const std::size_t n_q = plan_.settings_.grid.n;
    return factors_ ? factors_[pair.a * n_q + k] * factors_[pair.b * n_q + k] : 1.0;
  }

  // N <f>^2; nothing for no atoms.
  double normal(const SortedAtoms& atoms, std::size_t k) const {
    const double n = static_cast<double>(atoms.size());
    if (!factors_ || n == 0.0) return n;
    double sum = 0.0;
    for (std::size_t s = 0; s < n_species_; ++s) {
      sum += static_cast<double>(atoms.bounds[s + 1] - atoms.bounds[s]) * factors_[s * plan_.settings_.grid.n + k];
    }
    return n * (sum / n) * (sum / n);
  }

  void find_histograms(std::size_t last, unsigned char* served, const std::vector<AlignedDoubles>* known) {
    atoms_.clear();
    n_rows_ = 0;
    for (std::size_t b = first_; b < last; ++b) {
      atoms_.push_back(sort_by_species(batch_, b, n_species_));
      served[b] = 1;
      std::size_t found = 0;
      for (const SpeciesPair& pair : species_pairs(atoms_.back())) {
        if (known) {
          moments_ = (*known)[found++];
        } else {
          std::fill(moments_.begin(), moments_.end(), 0.0);
          add_rows(atoms_.back(), pair, 0, atoms_.back().size(), plan_.bins_, moments_.data());
        }
        std::size_t low = 0, high = plan_.bins_.count;
        while (low < high && moments_[low * stencil] == 0.0) ++low;
        while (high > low && moments_[(high - 1) * stencil] == 0.0) --high;
        if (low == high) continue;
        if (low < plan_.first_bin_served_) served[b] = 0;
        if (rows_.size() == n_rows_) rows_.emplace_back();
        Row& row = rows_[n_rows_++];
        row.cluster = b - first_;
        row.pair = pair;
        row.first_bin = low;
        row.last_bin = high;
        row.nodes.assign(plan_.n_nodes_, 0.0);
        pdf_kernels().moments_to_nodes(stencil_weights(), moments_.data(), low, high, row.nodes.data());
      }
    }
  }

  std::size_t node_begin(const Row& row) const { return bin_steps * row.first_bin; }
  std::size_t node_end(const Row& row) const { return bin_steps * (row.last_bin - 1) + stencil; }

  // Products of histograms with waves, and their sum N <f>^2 F over pairs of species; then F.
  void sum_waves() {
    const std::size_t n_q = plan_.settings_.grid.n, k_first = plan_.settings_.k_first;
    std::fill(f_.begin(), f_.end(), 0.0);
    for (std::size_t r0 = 0; r0 < n_rows_; r0 += row_tile) {
      const std::size_t count = std::min(row_tile, n_rows_ - r0);
      std::size_t begin = plan_.n_nodes_, end = 0;
      for (std::size_t b = 0; b < count; ++b) {
        begin = std::min(begin, node_begin(rows_[r0 + b]));
        end = std::max(end, node_end(rows_[r0 + b]));
      }
      for (std::size_t m = begin; m < end; ++m) {
        for (std::size_t b = 0; b < count; ++b) tile_[m * row_tile + b] = rows_[r0 + b].nodes[m];
      }
      pdf_kernels().table_product(plan_.waves_.values.data(), plan_.n_nodes_, begin, end, k_first / lanes,
                                  plan_.waves_.blocks, tile_.data(), count, waves_.data());
      for (std::size_t b = 0; b < count; ++b) {
        const Row& row = rows_[r0 + b];
        for (std::size_t k = k_first; k < n_q; ++k) {
          f_[k * row_tile + row.cluster] += 2.0 * product_of_factors(row.pair, k) * waves_[k * row_tile + b];
        }
      }
    }
    for (std::size_t b = 0; b < atoms_.size(); ++b) {
      for (std::size_t k = k_first; k < n_q; ++k) {
        double& v = f_[k * row_tile + b];
        const double below = normal(atoms_[b], k);
        v = below == 0.0 && v == 0.0 ? 0.0 : v * plan_.damping_[k] / below;
      }
    }
  }

  void sum_sines(std::size_t last, double* g) {
    pdf_kernels().table_product(plan_.sines_.values.data(), plan_.sines_.rows, plan_.settings_.k_first,
                                plan_.settings_.grid.n, 0, plan_.sines_.blocks, f_.data(), last - first_,
                                coarse_.data());
    for (std::size_t b = first_; b < last; ++b) {
      for (std::size_t c = 0; c < plan_.n_coarse_; ++c) line_[c] = coarse_[c * row_tile + b - first_];
      const double* points = line_.data();
      if (plan_.spread_ > 1) {
        pdf_kernels().interpolate(line_.data(), plan_.n_cells_, plan_.taps_.data(), plan_.spread_, plan_.n_padded_,
                                  fine_.data());
        points = fine_.data() + plan_.settings_.first % plan_.spread_;
      }
      double* row = g + b * plan_.settings_.count;
      for (std::size_t i = 0; i < plan_.settings_.count; ++i) row[i] = envelope_[i] * points[i];
    }
  }

  const PdfPlan& plan_;
  const ClusterBatch& batch_;
  const double* factors_;
  std::size_t n_species_;
  const double* envelope_;
  std::size_t first_ = 0, n_rows_ = 0;
  std::vector<SortedAtoms> atoms_;
  std::vector<Row> rows_;
  AlignedDoubles moments_, tile_, waves_, f_, coarse_, line_, fine_;
};

std::vector<AlignedDoubles> PdfPlan::large_moments(const ClusterBatch& batch, std::size_t cluster,
                                                   std::size_t n_species, int n_threads) const {
  const SortedAtoms atoms = sort_by_species(batch, cluster, n_species);
  const std::vector<SpeciesPair> pairs = species_pairs(atoms);
  const std::size_t parts = count_parts(atoms.size()), length = (bins_.count + 1) * stencil;
  std::vector<AlignedDoubles> sums(pairs.size(), AlignedDoubles(length, 0.0));
  // Parts wait for their turn to be added in the order of their numbers; no more than a few at a time.
  const std::size_t at_once = n_threads < 1 ? 1 : static_cast<std::size_t>(n_threads) * 2;
  for (std::size_t p0 = 0; p0 < parts; p0 += at_once) {
    const std::size_t count = std::min(at_once, parts - p0);
    AlignedDoubles own(count * pairs.size() * length, 0.0);
    parallel_for(count, n_threads, [&](std::size_t p) {
      for (std::size_t s = 0; s < pairs.size(); ++s) {
        add_rows(atoms, pairs[s], part_row(atoms.size(), p0 + p, parts), part_row(atoms.size(), p0 + p + 1, parts),
                 bins_, own.data() + (p * pairs.size() + s) * length);
      }
    });
    for (std::size_t p = 0; p < count; ++p) {
      for (std::size_t s = 0; s < pairs.size(); ++s) {
        const double* part = own.data() + (p * pairs.size() + s) * length;
        for (std::size_t k = 0; k < length; ++k) sums[s][k] += part[k];
      }
    }
  }
  return sums;
}

namespace {

// Calls work(worker, first, last) for groups of at most row_tile clusters, with one worker a thread. A few large
// clusters are shared evenly: they have more work in their pairs than in the tables.
template <class MakeWorker, class Work>
void for_groups(const ClusterBatch& batch, int n_threads, const MakeWorker& make_worker, const Work& work) {
  const std::size_t threads = static_cast<std::size_t>(std::max(n_threads, 1));
  const std::size_t size = std::max<std::size_t>(1, std::min(row_tile, (batch.size + threads - 1) / threads));
  const std::size_t groups = (batch.size + size - 1) / size;
  parallel_for(groups, n_threads, make_worker,
               [&](auto& worker, std::size_t g) { work(worker, g * size, std::min(batch.size, (g + 1) * size)); });
}

}  // namespace

void PdfPlan::simulate(const ClusterBatch& batch, const double* factors, std::size_t n_species, const double* envelope,
                       double* g, unsigned char* served, int n_threads) const {
  const auto large = [&](std::size_t b) { return count_parts(batch.offsets[b + 1] - batch.offsets[b]) > 1; };
  const auto make_worker = [&] { return Worker(*this, batch, factors, n_species, envelope); };
  for_groups(batch, n_threads, make_worker, [&](Worker& worker, std::size_t first, std::size_t last) {
    for (std::size_t b = first; b < last; b = std::max(b, first) + 1) {
      first = b;
      while (b < last && !large(b)) ++b;
      if (first < b) worker.simulate(first, b, g, served);
      first = b;
    }
  });
  for (std::size_t b = 0; b < batch.size; ++b) {
    if (!large(b)) continue;
    const auto moments = large_moments(batch, b, n_species, n_threads);
    make_worker().simulate(b, b + 1, g, served, &moments);
  }
}

void PdfPlan::Worker::pull_back(std::size_t last, const double* slopes, const PlanGradient& out) {
  const PlanSettings& settings = plan_.settings_;
  const std::size_t n_q = settings.grid.n, size = last - first_, spread = plan_.spread_;
  // dE/dG to the coarse points.
  for (std::size_t b = 0; b < size; ++b) {
    const double* slope = slopes + b * settings.count;
    if (spread == 1) {
      for (std::size_t i = 0; i < settings.count; ++i) coarse_[i * row_tile + b] = envelope_[i] * slope[i];
      continue;
    }
    std::fill(fine_.begin(), fine_.end(), 0.0);
    std::fill(line_.begin(), line_.end(), 0.0);
    const std::size_t offset = settings.first % spread;
    for (std::size_t i = 0; i < settings.count; ++i) fine_[offset + i] = envelope_[i] * slope[i];
    pdf_kernels().gather_taps(fine_.data(), plan_.n_cells_, plan_.taps_back_.data(), spread, line_.data());
    for (std::size_t c = 0; c < plan_.n_coarse_; ++c) coarse_[c * row_tile + b] = line_[c];
  }
  // To F(Q), now as slopes in f_.
  pdf_kernels().table_product(plan_.sines_back_.values.data(), plan_.sines_back_.rows, 0, plan_.n_coarse_,
                              settings.k_first / lanes, plan_.sines_back_.blocks, coarse_.data(), size, f_.data());
  for (std::size_t b = 0; b < size; ++b) {
    for (std::size_t k = settings.k_first; k < n_q; ++k) {
      const double below = normal(atoms_[b], k);
      double& v = f_[k * row_tile + b];
      v = below == 0.0 ? 0.0 : 2.0 * v * plan_.damping_[k] / below;
    }
    out.u[first_ + b] = 0.0;
    out.delta2[first_ + b] = 0.0;
    const SortedAtoms& atoms = atoms_[b];
    for (std::size_t i = 0; i < 3 * atoms.size(); ++i) out.positions[3 * batch_.offsets[first_ + b] + i] = 0.0;
  }
  // To the nodes: the waves themselves in even columns, and Q^2 times them, for the widths, in odd ones.
  AlignedDoubles fields(plan_.waves_back_.blocks * lanes * row_tile), field(plan_.n_nodes_), coefficients;
  for (std::size_t r0 = 0; r0 < n_rows_; r0 += row_tile / 2) {
    const std::size_t count = std::min(row_tile / 2, n_rows_ - r0);
    std::size_t begin = plan_.n_nodes_, end = 0;
    for (std::size_t b = 0; b < count; ++b) {
      const Row& row = rows_[r0 + b];
      begin = std::min(begin, node_begin(row));
      end = std::max(end, node_end(row));
      for (std::size_t k = settings.k_first; k < n_q; ++k) {
        const double q = settings.grid.step * static_cast<double>(k);
        const double y = product_of_factors(row.pair, k) * f_[k * row_tile + row.cluster];
        tile_[k * row_tile + 2 * b] = y;
        tile_[k * row_tile + 2 * b + 1] = q * q * y;
      }
    }
    pdf_kernels().table_product(plan_.waves_back_.values.data(), n_q, settings.k_first, n_q, begin / lanes,
                                (end + lanes - 1) / lanes, tile_.data(), 2 * count, fields.data());
    for (std::size_t b = 0; b < count; ++b) {
      const Row& row = rows_[r0 + b];
      const SortedAtoms& atoms = atoms_[row.cluster];
      double by_u = 0.0, by_delta2 = 0.0;
      for (std::size_t m = node_begin(row); m < node_end(row); ++m) {
        field[m] = fields[m * row_tile + 2 * b];
        const double ratio = node_ratio(m), d = plan_.node(m);
        if (!(ratio > 0.0)) continue;
        const double part = row.nodes[m] * fields[m * row_tile + 2 * b + 1];
        by_u -= ratio * part;
        by_delta2 += settings.u / (d * d) * part;
      }
      out.u[first_ + row.cluster] += by_u;
      // With delta2 above zero such close pairs are not served.
      const bool close = plan_.plain_ && node_begin(row) < close_nodes + 2;
      out.delta2[first_ + row.cluster] += close ? std::numeric_limits<double>::quiet_NaN() : by_delta2;
      coefficients.assign((plan_.bins_.count + 1) * stencil, 0.0);
      pdf_kernels().nodes_to_slopes(stencil_weights(), field.data(), plan_.bins_.per_step, row.first_bin, row.last_bin,
                                    coefficients.data());
      std::vector<double> pull[3];
      double* force[3];
      for (std::size_t axis = 0; axis < 3; ++axis) {
        pull[axis].assign(atoms.size() + lanes, 0.0);
        force[axis] = pull[axis].data();
      }
      const Coordinates coordinates{atoms.x.data(), atoms.y.data(), atoms.z.data()};
      for (std::size_t i = atoms.bounds[row.pair.a]; i < atoms.bounds[row.pair.a + 1]; ++i) {
        pdf_kernels().add_pulls(coordinates, i, std::max(i + 1, atoms.bounds[row.pair.b]), atoms.bounds[row.pair.b + 1],
                                plan_.bins_, coefficients.data(), force);
      }
      for (std::size_t k = 0; k < atoms.size(); ++k) {
        for (std::size_t axis = 0; axis < 3; ++axis) out.positions[3 * atoms.order[k] + axis] += force[axis][k];
      }
    }
  }
}

void PdfPlan::gradient(const ClusterBatch& batch, const double* factors, std::size_t n_species, const double* envelope,
                       double scale, const double* values, bool misfit, const PlanGradient& out, unsigned char* served,
                       int n_threads) const {
  const std::size_t count = settings_.count;
  const auto make_worker = [&] { return Worker(*this, batch, factors, n_species, envelope); };
  for_groups(batch, n_threads, make_worker, [&](Worker& worker, std::size_t first, std::size_t last) {
    worker.simulate(first, last, out.g, served);
    std::vector<double> slopes(values + first * count, values + last * count);
    for (std::size_t b = first; b < last; ++b) {
      double *slope = slopes.data() + (b - first) * count, *g = out.g + b * count;
      double squares = 0.0, missed = 0.0, by_scale = 0.0, spread = 0.0;
      if (misfit) {
        for (std::size_t i = 0; i < count; ++i) squares += slope[i] * slope[i];
      }
      for (std::size_t i = 0; i < count; ++i) {
        const double r = settings_.r_step * static_cast<double>(settings_.first + i), unscaled = g[i];
        g[i] = scale * unscaled;
        if (misfit) {
          const double difference = g[i] - slope[i];
          missed += difference * difference;
          slope[i] = 2.0 / squares * difference;
        }
        by_scale += slope[i] * unscaled;
        spread += slope[i] * g[i] * (r * r);
        slope[i] *= scale;
      }
      out.misfit[b] = misfit ? missed / squares : 0.0;
      out.scale[b] = by_scale;
      out.spread[b] = spread;
    }
    worker.pull_back(last, slopes.data(), out);
  });
}

}  // namespace hpcpdf

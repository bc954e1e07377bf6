// From ring spectra to the coefficients of a radial basis, and the moments from which a basis is made.
#pragma once

#include "fast.hpp"
#include "spectra.hpp"

namespace cryoisac::VARIANT {
namespace {

void project(const Plan& plan, const Basis& basis, const Pair* spectra, Pair* coefficients) {
  for (int i = 0; i < basis.orders; ++i) {
    const int k = basis.order[i], count = plan.rings - plan.first_ring[k];
    const Pair* x = spectra + plan.start[k];
    const float* function = basis.functions + basis.first[i];
    for (int c = basis.start[i]; c < basis.start[i + 1]; ++c, function += count) {
      Pair sum = {};
      for (int r = 0; r < count; ++r) {
        sum.plus += x[r].plus * function[r];
        sum.minus += x[r].minus * function[r];
      }
      coefficients[c] = sum;
    }
  }
}

// One lane's coefficients into a panel [coefficient][2].
void store_lane(const Pair* coefficients, int count, int lane, float* panel) {
  for (int c = 0; c < count; ++c) {
    panel[2 * c] = coefficients[c].plus[lane];
    panel[2 * c + 1] = coefficients[c].minus[lane];
  }
}

// 1 / energy of each lane's reference, where wanted but for its mean; 0 for lanes that hold none, or a blank one.
Floats one_over_energy(const Plan& plan, const Pair* spectra, std::int64_t used, bool mean_counts) {
  Floats energy = {}, mean = {};
  float area = 0;
  for (int r = 0; r < plan.rings; ++r) {
    const float root = __builtin_sqrtf(plan.sample_weights[r] * plan.lengths[r]);
    mean += root * spectra[r].plus;
    area += root * root;
    energy += 0.5f * spectra[r].plus * spectra[r].plus;
  }
  const Floats level = energy;
  if (!mean_counts) energy -= 0.5f * mean * mean / area;
  for (int c = plan.rings; c < plan.coefficients; ++c) {
    energy += 0.5f * (spectra[c].plus * spectra[c].plus + spectra[c].minus * spectra[c].minus);
  }
  Floats one = {};
  for (int lane = 0; lane < kLanes && lane < used; ++lane) {
    one[lane] = energy[lane] > 1e-6f * level[lane] ? 1.0f / energy[lane] : 0.0f;
  }
  return one;
}

std::size_t moments_size(const Plan& plan) {
  std::size_t size = 0;
  for (int k = 0; k <= plan.longest / 2; ++k) {
    const std::size_t count = plan.rings - plan.first_ring[k];
    size += count * (count + 1) / 2;
  }
  return size;
}

// Energy of all angles: an order above 0 stands for itself and for its negative.
void add_moments(const Plan& plan, Floats scale, const Pair* spectra, Floats* sums) {
  for (int k = 0; k <= plan.longest / 2; ++k) {
    const int count = plan.rings - plan.first_ring[k];
    const Floats weight = k > 0 ? scale : 0.5f * scale;
    const Pair* x = spectra + plan.start[k];
    for (int r = 0; r < count; ++r) {
      const Pair own = {weight * x[r].plus, weight * x[r].minus};
      for (int s = 0; s <= r; ++s) *sums++ += own.plus * x[s].plus + own.minus * x[s].minus;
    }
  }
}

// Adds the lanes of sums to out [order][ring][ring].
void gather_moments(const Plan& plan, const Floats* sums, double* out) {
  for (int k = 0; k <= plan.longest / 2; ++k) {
    double* square = out + static_cast<std::ptrdiff_t>(k) * plan.rings * plan.rings;
    for (int r = plan.first_ring[k]; r < plan.rings; ++r) {
      for (int s = plan.first_ring[k]; s <= r; ++s, ++sums) {
        double total = 0;
        for (int lane = 0; lane < kLanes; ++lane) total += (*sums)[lane];
        square[r * plan.rings + s] += total;
      }
    }
  }
}

}  // namespace
}  // namespace cryoisac::VARIANT

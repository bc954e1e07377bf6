// From ring spectra to the coefficients of a radial basis, and the moments from which a basis is made.
#pragma once

#include "fast.hpp"
#include "sampling.hpp"

namespace cryoisac::VARIANT {
namespace {

// Memory of the fast search, beside that of sampling.
struct FastScratch {
  Scratch sampling;
  Pair* coefficients;  // [coefficient]
  Complex* products;   // [tile][product_size]
  Complex* best;       // [product_size] of the best shifts
  Complex* curve;      // [longest]
};

// Values of a correlation's spectrum that are worked out, and a zero for all the others.
inline int product_size(const Basis& basis) { return 2 * basis.orders + 1; }

std::size_t fast_layout(const Plan& plan, const Basis& basis, char* at, FastScratch* scratch) {
  std::size_t used = scratch_layout(plan, 0, at, scratch ? &scratch->sampling : nullptr);
  const auto take = [&](std::size_t vectors) {
    char* here = at + used;
    used += vectors * sizeof(Floats);
    return here;
  };
  const std::size_t product = 2 * std::size_t(product_size(basis));
  char* const parts[] = {take(2 * std::size_t(basis.coefficients)), take(product * kTile), take(product),
                         take(2 * std::size_t(plan.longest))};
  if (scratch) {
    scratch->coefficients = reinterpret_cast<Pair*>(parts[0]);
    scratch->products = reinterpret_cast<Complex*>(parts[1]);
    scratch->best = reinterpret_cast<Complex*>(parts[2]);
    scratch->curve = reinterpret_cast<Complex*>(parts[3]);
  }
  return used;
}

std::size_t fast_scratch_bytes(const Plan& plan, const Basis& basis) {
  return fast_layout(plan, basis, nullptr, nullptr);
}

FastScratch fast_scratch_at(const Plan& plan, const Basis& basis, void* memory) {
  FastScratch scratch;
  fast_layout(plan, basis, static_cast<char*>(memory), &scratch);
  const int size = product_size(basis);
  for (int t = 1; t <= kTile; ++t) scratch.products[t * size - 1] = Complex{};
  for (int i = 0; i < size; ++i) scratch.best[i] = Complex{};
  return scratch;
}

// Multiplies spectra by sqrt(2 pi r) / length; of references, the Nyquist order of a short ring by half that.
void weigh(const Plan& plan, bool references, Pair* spectra) {
  for (int k = 0; k <= plan.longest / 2; ++k) {
    for (int r = plan.first_ring[k]; r < plan.rings; ++r) {
      const bool inner_nyquist = references && 2 * k == plan.lengths[r] && plan.lengths[r] < plan.longest;
      const float root = __builtin_sqrtf(plan.sample_weights[r] / plan.lengths[r]);
      const float weight = inner_nyquist ? 0.5f * root : root;
      Pair& x = spectra[plan.start[k] + r - plan.first_ring[k]];
      x = {weight * x.plus, weight * x.minus};
    }
  }
}

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

// References [first, first + lanes), each in the middle of its box, open to every shift.
Lanes load_references(const Plan& plan, const float* references, std::int64_t first, std::int64_t count) {
  Lanes lanes = {};
  const Ints far = all(1 << 30);
  lanes.left = lanes.right = lanes.down = lanes.up = far;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < count ? first + lane : count - 1;
    lanes.image[lane] = references + at * plan.box * plan.box;
    lanes.centre_x[lane] = lanes.centre_y[lane] = plan.box / 2;
  }
  return lanes;
}

// 1 / energy of each lane's reference, but for its mean; 0 for lanes that hold none, or a blank one.
Floats one_over_energy(const Plan& plan, const Pair* spectra, std::int64_t used) {
  Floats energy = {}, mean = {};
  float area = 0;
  for (int r = 0; r < plan.rings; ++r) {
    const float root = __builtin_sqrtf(plan.sample_weights[r] * plan.lengths[r]);
    mean += root * spectra[r].plus;
    area += root * root;
    energy += 0.5f * spectra[r].plus * spectra[r].plus;
  }
  const Floats level = energy;
  energy -= 0.5f * mean * mean / area;
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

std::size_t moments_scratch_bytes(const Plan& plan) {
  return scratch_layout(plan, 0, nullptr, nullptr) + moments_size(plan) * sizeof(Floats);
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

void moments(const Plan& plan, const float* references, std::int64_t first, std::int64_t count, double* out,
             void* memory) {
  Scratch scratch = scratch_at(plan, 0, memory);
  Floats* sums = reinterpret_cast<Floats*>(static_cast<char*>(memory) + scratch_layout(plan, 0, nullptr, nullptr));
  const std::size_t size = moments_size(plan);
  for (std::size_t i = 0; i < size; ++i) sums[i] = Floats{};
  const Lanes lanes = load_references(plan, references, first, count);
  each_trial(plan, lanes, scratch, [&](int, int, Ints, Floats) {
    weigh(plan, true, scratch.spectra);
    add_moments(plan, one_over_energy(plan, scratch.spectra, count - first), scratch.spectra, sums);
  });
  const Floats* sum = sums;
  for (int k = 0; k <= plan.longest / 2; ++k) {
    double* square = out + static_cast<std::ptrdiff_t>(k) * plan.rings * plan.rings;
    for (int r = plan.first_ring[k]; r < plan.rings; ++r) {
      for (int s = plan.first_ring[k]; s <= r; ++s, ++sum) {
        double total = 0;
        for (int lane = 0; lane < kLanes; ++lane) total += (*sum)[lane];
        square[r * plan.rings + s] += total;
      }
    }
  }
}

}  // namespace
}  // namespace cryoisac::VARIANT

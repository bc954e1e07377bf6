// The spectra of rings, wherever their samples come from: pixels around a row, or stored rings.
#pragma once

#include "fourier.hpp"
#include "kernels.hpp"
#include "lanes.hpp"

namespace cryoisac::VARIANT {
namespace {

constexpr int kTile = kLanes == 16 ? 4 : 2;  // references multiplied at once: what the registers hold

// X+ and X- of one coefficient.
struct Pair {
  Floats plus, minus;
};

// Transforms the samples of one ring, and puts its coefficients beside those of the other rings.
void transform_ring(const Plan& plan, int r, Complex* ring, Pair* spectra) {
  transform_real(ring, plan.lengths[r], plan, [&](int k, Floats re, Floats im) {
    spectra[plan.start[k] + r - plan.first_ring[k]] = {re + im, re - im};
  });
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

}  // namespace
}  // namespace cryoisac::VARIANT

// Stored rings under any poses, turned by their orders and moved by phases; sums of them over classes.
//
// A pose's angle a, mirror and shift d in the frame of the reference lay order k of a ring at e^{-i k b} X[k], X
// conjugated and b = -a where mirrored; then the ring is moved by d.
#pragma once

#include "fourier.hpp"
#include "lanes.hpp"
#include "loading.hpp"
#include "stored.hpp"

namespace cryoisac::VARIANT {
namespace {

struct TurnScratch {
  Complex* curves[3];   // [longest / 2] a ring, and its derivatives by the angle
  Complex* factors;     // [longest / 2 + 1] e^{-i k b}
  Complex* spectra;     // [ring][order]
  Floats* references;   // [sample], weighted
  Floats* sums;         // [sample]
};

std::size_t samples_of(const Plan& plan) {
  std::size_t samples = 0;
  for (int r = 0; r < plan.rings; ++r) samples += plan.lengths[r];
  return samples;
}

// Memory for three curves and references to refine poses, for one curve and sums to add up classes.
std::size_t turn_layout(const Plan& plan, bool refining, char* at, TurnScratch* scratch) {
  std::size_t used = 0;
  const auto take = [&](std::size_t vectors) {
    char* here = at + used;
    used += vectors * sizeof(Floats);
    return here;
  };
  const std::size_t n = plan.longest, samples = samples_of(plan);
  char* const curves[] = {take(n), take(refining ? n : 0), take(refining ? n : 0)};
  char* const rest[] = {take(n + 2), take(samples + 2 * std::size_t(plan.rings)), take(refining ? samples : 0),
                        take(refining ? 0 : samples)};
  if (scratch) {
    for (int i = 0; i < 3; ++i) scratch->curves[i] = reinterpret_cast<Complex*>(curves[i]);
    scratch->factors = reinterpret_cast<Complex*>(rest[0]);
    scratch->spectra = reinterpret_cast<Complex*>(rest[1]);
    scratch->references = reinterpret_cast<Floats*>(rest[2]);
    scratch->sums = reinterpret_cast<Floats*>(rest[3]);
  }
  return used;
}

std::size_t refine_scratch_bytes(const Plan& plan) { return turn_layout(plan, true, nullptr, nullptr); }
std::size_t total_scratch_bytes(const Plan& plan) { return turn_layout(plan, false, nullptr, nullptr); }

// Poses of a block's lanes, as above.
struct Placed {
  double turn[kLanes], x[kLanes], y[kLanes];
  Ints mirror;
};

Placed load_poses(const StoredRows& rows, std::int64_t first, const double* poses) {
  Placed placed;
  for (int lane = 0; lane < kLanes; ++lane) {
    const double* own = poses + 4 * row_at(rows.rows, first + lane);
    const double sign = own[3] != 0 ? -1 : 1;
    placed.turn[lane] = sign * own[0];
    placed.x[lane] = sign * own[1], placed.y[lane] = own[2];
    placed.mirror[lane] = own[3] != 0 ? -1 : 0;
  }
  return placed;
}

// e^{-i k b} for orders up to half the longest ring, by multiplication in float64.
void lay_factors(const Plan& plan, const double* turn, Complex* factors) {
  double step_re[kLanes], step_im[kLanes], re[kLanes], im[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    step_re[lane] = __builtin_cos(turn[lane]), step_im[lane] = -__builtin_sin(turn[lane]);
    re[lane] = 1, im[lane] = 0;
  }
  for (int k = 0; k <= plan.longest / 2; ++k) {
    for (int lane = 0; lane < kLanes; ++lane) {
      factors[k].re[lane] = static_cast<float>(re[lane]), factors[k].im[lane] = static_cast<float>(im[lane]);
      const double next = re[lane] * step_re[lane] - im[lane] * step_im[lane];
      im[lane] = re[lane] * step_im[lane] + im[lane] * step_re[lane];
      re[lane] = next;
    }
  }
}

inline Complex times(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }

// Spectra of the lanes' rings, ring after ring, conjugated where mirrored.
void load_turnable(const Plan& plan, const StoredRows& rows, std::int64_t first, Ints mirror,
                   const TurnScratch& scratch) {
  const float* own[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    own[lane] = rows.images.samples + rows.rows.image[row_at(rows.rows, first + lane)] * rows.images.apart;
  }
  Complex* out = scratch.spectra;
  for (int r = 0, sample = 0; r < plan.rings; sample += plan.lengths[r], out += plan.lengths[r] / 2 + 1, ++r) {
    load_ring(own, sample, plan.lengths[r], reinterpret_cast<Floats*>(scratch.curves[0]));
    transform_real(scratch.curves[0], plan.lengths[r], plan, [&](int k, Floats re, Floats im) {
      out[k] = {re, mirror ? -im : im};
    });
  }
}

// Adds the laid rings of used lanes to sums [sample].
void lay_down(const Plan& plan, const Placed& placed, Ints used, const TurnScratch& scratch) {
  Floats dx, dy;
  for (int lane = 0; lane < kLanes; ++lane) {
    dx[lane] = static_cast<float>(placed.x[lane]), dy[lane] = static_cast<float>(placed.y[lane]);
  }
  lay_factors(plan, placed.turn, scratch.factors);
  const Complex* x = scratch.spectra;
  for (int r = 0, first = 0; r < plan.rings; ++r) {
    const int n = plan.lengths[r];
    const int* place = plan.place[log2_of(n / 2)];
    Complex* curve = scratch.curves[0];
    inverse_real(curve, n, plan, [&](int k) { return times(x[k], scratch.factors[k]); });
    Floats* sum = scratch.sums + first;
    const auto move = [&](int j, Floats here, Floats there) {
      const float* point = plan.points + 2 * (first + j);
      const Turn t = turn_of(point[0] * dx + point[1] * dy);
      sum[j] += used ? t.cosine * here - t.sine * there : Floats{};
      sum[j + n / 2] += used ? t.cosine * there + t.sine * here : Floats{};
    };
    for (int j = 0; j < n / 4; ++j) {
      const Complex here = curve[place[j]], there = curve[place[j + n / 4]];
      move(2 * j, here.re, there.re);
      move(2 * j + 1, here.im, there.im);
    }
    first += n, x += n / 2 + 1;
  }
}

void total(const Plan& plan, const StoredRows& rows, std::int64_t first, std::int64_t last, const double* poses,
           double* sum, void* memory) {
  TurnScratch scratch;
  turn_layout(plan, false, static_cast<char*>(memory), &scratch);
  const std::size_t samples = samples_of(plan);
  for (std::size_t i = 0; i < samples; ++i) scratch.sums[i] = Floats{};
  for (std::int64_t at = first; at < last; at += kLanes) {
    Ints used;
    for (int lane = 0; lane < kLanes; ++lane) used[lane] = at + lane < last ? -1 : 0;
    const Placed placed = load_poses(rows, at, poses);
    load_turnable(plan, rows, at, placed.mirror, scratch);
    lay_down(plan, placed, used, scratch);
  }
  const float* lanes = reinterpret_cast<const float*>(scratch.sums);
  for (int r = 0, sample = 0; r < plan.rings; ++r) {
    for (int j = 0; j < plan.lengths[r]; ++j, ++sample, ++sum, lanes += kLanes) {
      double whole = 0;
      for (int lane = 0; lane < kLanes; ++lane) whole += lanes[lane];
      *sum += whole / plan.lengths[r];
    }
  }
}

}  // namespace
}  // namespace cryoisac::VARIANT

// Scores and poses of rows: sample rings, transform them, multiply with references, transform back, keep the largest.
//
// With X+- = Re +- Im of a row's coefficient and Y+- of a weighted reference's, the spectrum
//   z[k] = Y+ (X+ + i X-),  z[-k] = Y- (X- + i X+),  summed over rings,
// has the straight correlation as the real part of its inverse transform and the mirrored one as the imaginary part.

#include "fast.hpp"
#include "fourier.hpp"
#include "kernels.hpp"
#include "lanes.hpp"
#include "peaks.hpp"
#include "rings.hpp"
#include "sampling.hpp"
#include "stored.hpp"

namespace cryoisac::VARIANT {
namespace {

// Spectra of correlations with Tile references (coefficients [2] apart by ``apart``), Orders orders at once.
// Ref is float (one reference for all lanes) or Floats (one a lane).
template <int Tile, int Orders, class Ref>
inline void multiply_orders(const Plan& plan, int k, const Pair* spectra, const Ref* panel, std::ptrdiff_t apart,
                            Complex* curves) {
  const int n = plan.longest, count = plan.rings - plan.first_ring[k];
  Complex up[Tile][Orders] = {}, down[Tile][Orders] = {};
  const Pair* x = spectra + plan.start[k];
  const Ref* y = panel + 2 * static_cast<std::ptrdiff_t>(plan.start[k]);
  for (int c = 0; c < count; ++c) {
    for (int o = 0; o < Orders; ++o) {
      const int at = c + o * count;
      const Pair p = x[at];
      for (int t = 0; t < Tile; ++t) {
        const Ref plus = y[t * apart + 2 * at], minus = y[t * apart + 2 * at + 1];
        up[t][o].re += p.plus * plus;
        up[t][o].im += p.minus * plus;
        down[t][o].re += p.minus * minus;
        down[t][o].im += p.plus * minus;
      }
    }
  }
  for (int t = 0; t < Tile; ++t) {
    for (int o = 0; o < Orders; ++o) {
      curves[t * n + (n - k - o) % n] = down[t][o];
      curves[t * n + k + o] = up[t][o];
    }
  }
}

template <int Tile, class Ref>
void multiply(const Plan& plan, const Pair* spectra, const Ref* panel, std::ptrdiff_t apart, Complex* curves) {
  constexpr int kOrders = Tile > 1 ? 1 : kLanes == 16 ? 4 : 2;
  multiply_orders<Tile, 1>(plan, 0, spectra, panel, apart, curves);
  for (int k = 1; k <= plan.longest / 2; k += kOrders) {  // rings begin to lack orders after a multiple of 4
    multiply_orders<Tile, kOrders>(plan, k, spectra, panel, apart, curves);
  }
}

// The largest value over the angles tried; the larger of straight and mirrored.
Floats largest(const Plan& plan, Complex* curve) {
  Complex top;
  if (plan.stride == 1) {
    top = transform_largest(curve, plan.longest, plan);
  } else {
    transform<1>(curve, plan.longest, plan);
    const int* place = plan.place[log2_of(plan.longest)];
    top = curve[0];
    for (int k = plan.stride; k < plan.longest; k += plan.stride) {
      top = {larger(top.re, curve[place[k]].re), larger(top.im, curve[place[k]].im)};
    }
  }
  return plan.mirror ? larger(top.re, top.im) : top.re;
}

void score(const Plan& plan, const Stack& stack, const Rows& rows, std::int64_t first, const float* panel,
           std::int64_t references, float* scores, void* memory) {
  const Scratch scratch = scratch_at(plan, references, memory);
  const Lanes lanes = load_lanes(plan, stack, rows, first);
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(plan.coefficients);
  for (std::int64_t k = 0; k < references; ++k) scratch.best[k] = all(-__builtin_inff());
  each_trial(plan, lanes, scratch, [&](int, int, Ints valid, Floats scale) {
    for (std::int64_t k = 0; k < references;) {
      const int tile = references - k >= kTile ? kTile : 1;
      if (tile == kTile) multiply<kTile>(plan, scratch.spectra, panel + k * apart, apart, scratch.curves);
      else multiply<1>(plan, scratch.spectra, panel + k * apart, apart, scratch.curves);
      for (int t = 0; t < tile; ++t, ++k) {
        const Floats value = scale * largest(plan, scratch.curves + t * plan.longest);
        scratch.best[k] = (valid & (value > scratch.best[k])) ? value : scratch.best[k];
      }
    }
  });
  for (int lane = 0; lane < kLanes && first + lane < rows.count; ++lane) {
    for (std::int64_t k = 0; k < references; ++k) scores[(first + lane) * references + k] = scratch.best[k][lane];
  }
}

struct Best {
  float score = -__builtin_inff();
  double position = 0;
  int x = 0, y = 0;
  bool mirror = false;
};

// Lanes whose best this trial betters: a larger value, or an equal one at a later shift.
void keep_best(const Plan& plan, const Complex* curve, int x, int y, Ints valid, Floats scale, Best* best) {
  const int* place = plan.place[log2_of(plan.longest)];
  Complex top = curve[0];
  Ints at_re = {}, at_im = {};
  for (int k = plan.stride; k < plan.longest; k += plan.stride) {
    const Complex z = curve[place[k]];
    const Ints more_re = z.re >= top.re, more_im = z.im >= top.im;
    top = {more_re ? z.re : top.re, more_im ? z.im : top.im};
    at_re = more_re ? all(k) : at_re;
    at_im = more_im ? all(k) : at_im;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool mirror = plan.mirror && top.im[lane] > top.re[lane];
    const float value = scale[lane] * (mirror ? top.im[lane] : top.re[lane]);
    Best& b = best[lane];
    const bool later = y > b.y || (y == b.y && x > b.x);
    if (!valid[lane] || !(value > b.score || (value == b.score && later))) continue;
    const int index = mirror ? at_im[lane] : at_re[lane];
    b = {value, plan.refine ? refine(plan, curve, lane, index, mirror) : index, x, y, mirror};
  }
}

// References one a lane, for a block whose rows have several.
void mix(int count, const float* const* panels, Floats* mixed) {
  constexpr int kStretch = 64;  // values of one lane at a time, so that what is written stays in the nearest cache
  float* out = reinterpret_cast<float*>(mixed);
  for (int first = 0; first < count; first += kStretch) {
    const int end = first + kStretch < count ? first + kStretch : count;
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int c = first; c < end; ++c) out[c * kLanes + lane] = panels[lane][c];
    }
  }
}

void match(const Plan& plan, const Stack& stack, const Rows& rows, std::int64_t first, const float* panel,
           const Found& found, void* memory) {
  const Scratch scratch = scratch_at(plan, 0, memory);
  const Lanes lanes = load_lanes(plan, stack, rows, first);
  const float* panels[kLanes];
  bool mixed = false;
  for (int lane = 0; lane < kLanes; ++lane) {
    panels[lane] = panel + 2 * rows.label[row_at(rows, first + lane)] * plan.coefficients;
    mixed |= panels[lane] != panels[0];
  }
  if (mixed) mix(2 * plan.coefficients, panels, reinterpret_cast<Floats*>(scratch.mixed));
  const Floats* own = reinterpret_cast<const Floats*>(scratch.mixed);
  Best best[kLanes];
  each_trial(plan, lanes, scratch, [&](int x, int y, Ints valid, Floats scale) {
    if (mixed) multiply<1>(plan, scratch.spectra, own, 0, scratch.curves);
    else multiply<1>(plan, scratch.spectra, panels[0], 0, scratch.curves);
    transform<1>(scratch.curves, plan.longest, plan);
    keep_best(plan, scratch.curves, x, y, valid, scale, best);
  });
  for (int lane = 0; lane < kLanes && first + lane < rows.count; ++lane) {
    const std::int64_t row = rows.order[first + lane];
    found.score[row] = best[lane].score;
    found.position[row] = best[lane].position;
    found.trial[2 * row] = best[lane].x, found.trial[2 * row + 1] = best[lane].y;
    found.mirror[row] = best[lane].mirror;
  }
}

void prepare(const Plan& plan, const float* references, std::int64_t first, std::int64_t count, float* panel,
             void* memory) {
  const Scratch scratch = scratch_at(plan, 0, memory);
  Lanes lanes = {};
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < count ? first + lane : count - 1;
    lanes.image[lane] = references + at * plan.box * plan.box;
    lanes.centre_x[lane] = lanes.centre_y[lane] = plan.box / 2;
  }
  Floats gap_x, gap_y;
  fill_region(plan, lanes, 0, 0, scratch.region, &gap_x, &gap_y);
  const Floats* region = scratch.region - static_cast<std::ptrdiff_t>(plan.y.lowest) * plan.x.side - plan.x.lowest;
  trial_spectra(plan, lanes, region, gap_x, gap_y, scratch, false);
  for (int k = 0; k <= plan.longest / 2; ++k) {
    for (int r = plan.first_ring[k]; r < plan.rings; ++r) {
      const int c = plan.start[k] + r - plan.first_ring[k];
      const bool inner_nyquist = 2 * k == plan.lengths[r] && plan.lengths[r] < plan.longest;
      const float weight = plan.reference_weights[r] * (inner_nyquist ? 0.5f : 1.0f);
      for (int lane = 0; lane < kLanes && first + lane < count; ++lane) {
        float* y = panel + 2 * ((first + lane) * plan.coefficients + c);
        y[0] = weight * scratch.spectra[c].plus[lane];
        y[1] = weight * scratch.spectra[c].minus[lane];
      }
    }
  }
}

}  // namespace

extern void warp(const float*, int, const Placement&, float*, double*, float*);
extern void move(const Moving&, const float*, const float*, const Placement&, float*, double*, float*);

#define NAME_OF(variant) #variant
#define NAME(variant) NAME_OF(variant)
extern const Kernels kernels = {NAME(VARIANT), kLanes, scratch_bytes, prepare, score, match, warp, move,
                                &fast_kernels, &stored_kernels, &ring_kernels};

}  // namespace cryoisac::VARIANT

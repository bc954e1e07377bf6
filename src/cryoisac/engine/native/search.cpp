// Scores and poses of rows: sample rings, transform them, multiply with references, transform back, keep the largest.
//
// With X+- = Re +- Im of a row's coefficient and Y+- of a weighted reference's, the spectrum
//   z[k] = Y+ (X+ + i X-),  z[-k] = Y- (X- + i X+),  summed over rings,
// has the straight correlation as the real part of its inverse transform and the mirrored one as the imaginary part.

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

struct Scratch {
  Floats* region;  // [y][x] pixels around the rings, one row a lane
  Complex* ring;
  Pair* spectra;   // [coefficient]
  Complex* curves; // [tile][longest]
  Pair* mixed;     // [coefficient] references, one a lane
  Floats* best;    // [reference]
};

struct Lanes {
  const float* image[kLanes];
  float mean[kLanes];
  double centre_x[kLanes], centre_y[kLanes];
  Ints left, right, down, up;
};

std::size_t scratch_layout(const Plan& plan, std::int64_t references, char* at, Scratch* scratch) {
  std::size_t used = 0;
  const auto take = [&](std::size_t vectors) {
    char* here = at + used;
    used += vectors * sizeof(Floats);
    return here;
  };
  const std::size_t c = plan.coefficients, n = plan.longest;
  char* const parts[] = {take(std::size_t(plan.x.side) * plan.y.side), take(n), take(2 * c), take(2 * n * kTile),
                         take(2 * c), take(references)};
  if (scratch) {
    *scratch = {reinterpret_cast<Floats*>(parts[0]), reinterpret_cast<Complex*>(parts[1]),
                reinterpret_cast<Pair*>(parts[2]),   reinterpret_cast<Complex*>(parts[3]),
                reinterpret_cast<Pair*>(parts[4]),   reinterpret_cast<Floats*>(parts[5])};
  }
  return used;
}

std::size_t scratch_bytes(const Plan& plan, std::int64_t references) {
  return scratch_layout(plan, references, nullptr, nullptr);
}

Scratch scratch_at(const Plan& plan, std::int64_t references, void* memory) {
  Scratch scratch;
  scratch_layout(plan, references, static_cast<char*>(memory), &scratch);
  return scratch;
}

// Pixels around the lanes' centres, side by side; outside an image its nearest pixel. Returns 1 - fraction of centres.
void fill_region(const Plan& plan, const Lanes& lanes, double phase_x, double phase_y, Floats* region, Floats* gap_x,
                 Floats* gap_y) {
  const int n = plan.box, width = plan.x.side;
  float* out = reinterpret_cast<float*>(region);
  for (int lane = 0; lane < kLanes; ++lane) {
    const double cx = lanes.centre_x[lane] + phase_x, cy = lanes.centre_y[lane] + phase_y;
    const double whole_x = __builtin_floor(cx), whole_y = __builtin_floor(cy);
    (*gap_x)[lane] = static_cast<float>(1.0 - (cx - whole_x));
    (*gap_y)[lane] = static_cast<float>(1.0 - (cy - whole_y));
    const int x0 = static_cast<int>(whole_x) - plan.last_radius + plan.x.lowest;
    const int y0 = static_cast<int>(whole_y) - plan.last_radius + plan.y.lowest;
    const float* image = lanes.image[lane];
    const float mean = lanes.mean[lane];
    const auto clamp = [n](int i) { return i < 0 ? 0 : i < n ? i : n - 1; };
    const int from = x0 < 0 ? (-x0 < width ? -x0 : width) : 0;
    const int to = x0 + width > n ? (n - x0 > from ? n - x0 : from) : width;
    for (int v = 0; v < plan.y.side; ++v) {
      const float* line = image + static_cast<std::ptrdiff_t>(clamp(y0 + v)) * n;
      float* o = out + static_cast<std::ptrdiff_t>(v) * width * kLanes + lane;
      for (int u = 0; u < from; ++u) o[u * kLanes] = line[clamp(x0 + u)] - mean;
      for (int u = from; u < to; ++u) o[u * kLanes] = line[x0 + u] - mean;
      for (int u = to; u < width; ++u) o[u * kLanes] = line[clamp(x0 + u)] - mean;
    }
  }
}

// One ring, bilinearly. A lane's fraction may carry a sample into the next pixel, so three pixels along each axis have
// weights, one of the outer two being 0; Whole: no lane has a fraction.
template <bool Whole, bool Sums>
void sample_ring(const Plan& plan, const Floats* region, int first, int length, Floats gap_x, Floats gap_y, Floats* out,
                 Floats* sum, Floats* squares) {
  const int width = plan.x.side;
  Floats s0 = {}, s1 = {}, q0 = {}, q1 = {};
  for (int j = 0; j < length; ++j) {
    const Floats* p = region + plan.corner[first + j];
    const Floats dx = gap_x - plan.fraction_x[first + j], dy = gap_y - plan.fraction_y[first + j];
    const Floats left = larger(dx, Floats{}), low = larger(dy, Floats{});
    const Floats right = left - dx, high = low - dy;
    const auto across = [&](const Floats* line) {
      const Floats middle = line[1] + left * (line[0] - line[1]);
      if constexpr (Whole) return middle;
      return middle + right * (line[2] - line[1]);
    };
    const Floats below = across(p), middle = across(p + width);
    Floats value = middle + low * (below - middle);
    if constexpr (!Whole) value = value + high * (across(p + 2 * width) - middle);
    out[j] = value;
    if constexpr (Sums) {
      (j & 1 ? s1 : s0) += value;
      (j & 1 ? q1 : q0) += value * value;
    }
  }
  *sum = s0 + s1;
  *squares = q0 + q1;
}

template <bool Whole, bool Sums>
void ring_spectra(const Plan& plan, const Floats* region, Floats gap_x, Floats gap_y, Complex* ring, Pair* spectra,
                  Floats* sum, Floats* squares) {
  Floats s = {}, q = {};
  for (int r = 0, first = 0; r < plan.rings; first += plan.lengths[r], ++r) {
    Floats ring_sum, ring_squares;
    const int length = plan.lengths[r];
    sample_ring<Whole, Sums>(plan, region, first, length, gap_x, gap_y, reinterpret_cast<Floats*>(ring), &ring_sum,
                             &ring_squares);
    s += plan.sample_weights[r] * ring_sum;
    q += plan.sample_weights[r] * ring_squares;
    transform_real(ring, length, plan, [&](int k, Floats re, Floats im) {
      spectra[plan.start[k] + r - plan.first_ring[k]] = {re + im, re - im};
    });
  }
  *sum = s;
  *squares = q;
}

// Takes the mean off order 0, and returns 1 / standard deviation: 0 for an image that is constant on the rings.
Floats standardise(const Plan& plan, const Lanes& lanes, Floats sum, Floats squares, Pair* spectra) {
  Floats mean, scale;
  for (int lane = 0; lane < kLanes; ++lane) {
    const double m = sum[lane] / plan.total_weight, variance = squares[lane] / plan.total_weight - m * m;
    const double level = m + lanes.mean[lane];
    mean[lane] = static_cast<float>(m);
    scale[lane] = variance > 1e-12 * (level * level + variance)
                      ? static_cast<float>(1.0 / __builtin_sqrt(variance)) : 0.0f;
  }
  for (int r = 0; r < plan.rings; ++r) {
    const Floats zero = spectra[r].plus - mean * static_cast<float>(plan.lengths[r]);
    spectra[r] = {zero, zero};
  }
  return scale;
}

Floats trial_spectra(const Plan& plan, const Lanes& lanes, const Floats* region, Floats gap_x, Floats gap_y,
                     const Scratch& scratch, bool normalise) {
  Floats sum, squares;
  const bool whole = !any((gap_x != 1.0f) | (gap_y != 1.0f));
  const auto run = whole ? (normalise ? ring_spectra<true, true> : ring_spectra<true, false>)
                         : (normalise ? ring_spectra<false, true> : ring_spectra<false, false>);
  run(plan, region, gap_x, gap_y, scratch.ring, scratch.spectra, &sum, &squares);
  return normalise ? standardise(plan, lanes, sum, squares, scratch.spectra) : all(1.0f);
}

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

Lanes load_lanes(const Plan& plan, const Stack& stack, const Rows& rows, std::int64_t first) {
  Lanes lanes;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < rows.count ? first + lane : rows.count - 1;
    const std::int64_t row = rows.order ? rows.order[at] : at;
    const std::int64_t image = rows.image[row];
    lanes.image[lane] = stack.pixels + image * plan.box * plan.box;
    lanes.mean[lane] = plan.normalise ? stack.means[image] : 0.0f;
    lanes.centre_x[lane] = plan.box / 2 + rows.offset[2 * row];
    lanes.centre_y[lane] = plan.box / 2 + rows.offset[2 * row + 1];
    lanes.left[lane] = rows.reach[4 * row], lanes.right[lane] = rows.reach[4 * row + 1];
    lanes.down[lane] = rows.reach[4 * row + 2], lanes.up[lane] = rows.reach[4 * row + 3];
  }
  return lanes;
}

// Calls visit(x trial, y trial, lanes that may take it, scale) with the spectra of each trial shift ready in scratch.
template <class Visit>
void each_trial(const Plan& plan, const Lanes& lanes, const Scratch& scratch, Visit visit) {
  for (int py = 0; py < plan.y.phase_count; ++py) {
    for (int px = 0; px < plan.x.phase_count; ++px) {
      Floats gap_x, gap_y;
      fill_region(plan, lanes, plan.x.phases[px], plan.y.phases[py], scratch.region, &gap_x, &gap_y);
      for (int b = 0; b < plan.y.count; ++b) {
        const Trial y = plan.y.trials[b];
        const Ints valid_y = (-lanes.down <= y.i) & (lanes.up >= y.i);
        if (y.phase != py || !any(valid_y)) continue;
        for (int a = 0; a < plan.x.count; ++a) {
          const Trial x = plan.x.trials[a];
          const Ints valid = valid_y & (-lanes.left <= x.i) & (lanes.right >= x.i);
          if (x.phase != px || !any(valid)) continue;
          const Floats* region = scratch.region + static_cast<std::ptrdiff_t>(y.whole - plan.y.lowest) * plan.x.side +
                                 (x.whole - plan.x.lowest);
          const Floats scale = trial_spectra(plan, lanes, region, gap_x, gap_y, scratch, plan.normalise);
          visit(x.i, y.i, valid, scale);
        }
      }
    }
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

// Position of the peak at an index between samples: least squares through seven values, the middle one taken off.
double refine(const Plan& plan, const Complex* curve, int lane, int index, bool mirror) {
  const int* place = plan.place[log2_of(plan.longest)];
  double b[7];
  for (int i = 0; i < 7; ++i) {
    const Complex& z = curve[place[(index + i - 3) & (plan.longest - 1)]];
    b[i] = mirror ? z.im[lane] : z.re[lane];
  }
  const double middle = b[3];
  for (double& value : b) value -= middle;
  const double slope = 49 * b[0] + 6 * b[1] - 21 * b[2] - 27 * b[4] - 6 * b[5] + 31 * b[6];
  const double bend = 5 * b[0] - 3 * b[2] - 3 * b[4] + 5 * b[6];
  return bend != 0 ? index + slope / (2 * bend) - 4 : index;
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
void mix(const Plan& plan, const float* const* panels, Pair* mixed) {
  float* out = reinterpret_cast<float*>(mixed);
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int c = 0; c < 2 * plan.coefficients; ++c) out[c * kLanes + lane] = panels[lane][c];
  }
}

void match(const Plan& plan, const Stack& stack, const Rows& rows, std::int64_t first, const float* panel,
           const Found& found, void* memory) {
  const Scratch scratch = scratch_at(plan, 0, memory);
  const Lanes lanes = load_lanes(plan, stack, rows, first);
  const float* panels[kLanes];
  bool mixed = false;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < rows.count ? first + lane : rows.count - 1;
    panels[lane] = panel + 2 * rows.label[rows.order[at]] * plan.coefficients;
    mixed |= panels[lane] != panels[0];
  }
  if (mixed) mix(plan, panels, scratch.mixed);
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

#define NAME_OF(variant) #variant
#define NAME(variant) NAME_OF(variant)
extern const Kernels kernels = {NAME(VARIANT), kLanes, scratch_bytes, prepare, score, match, warp};

}  // namespace cryoisac::VARIANT

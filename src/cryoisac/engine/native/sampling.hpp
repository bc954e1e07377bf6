// From rows to spectra: the pixels around a block's rows, lane beside lane, sampled on rings and transformed.
#pragma once

#include "fourier.hpp"
#include "kernels.hpp"
#include "lanes.hpp"
#include "transpose.hpp"
#include "spectra.hpp"

namespace cryoisac::VARIANT {
namespace {

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

// The part of one image that a region shows: its first pixel, and the columns [from, to) that the image has.
struct Window {
  const float* image;
  float mean;
  int x, y, from, to;
};

// Splits a coordinate into its pixel and 1 - its fraction.
int split(double at, float* gap) {
  const double whole = __builtin_floor(at);
  *gap = static_cast<float>(1.0 - (at - whole));
  return static_cast<int>(whole);
}

int clamp(int i, int low, int high) { return i < low ? low : i < high ? i : high; }

// The windows of the lanes' centres. Gaps: 1 - fraction of centres.
void place_windows(const Plan& plan, const Lanes& lanes, double phase_x, double phase_y, Window* windows, Floats* gap_x,
                   Floats* gap_y) {
  const int n = plan.box, width = plan.x.side;
  for (int lane = 0; lane < kLanes; ++lane) {
    float gap[2];
    const int x = split(lanes.centre_x[lane] + phase_x, &gap[0]) - plan.last_radius + plan.x.lowest;
    const int y = split(lanes.centre_y[lane] + phase_y, &gap[1]) - plan.last_radius + plan.y.lowest;
    (*gap_x)[lane] = gap[0];
    (*gap_y)[lane] = gap[1];
    const int from = clamp(-x, 0, width);
    windows[lane] = {lanes.image[lane], lanes.mean[lane], x, y, from, clamp(n - x, from, width)};
  }
}

// Columns [from, to) of one line of the windows, side by side.
void fill_columns(const Window* windows, const float* const* lines, int n, int from, int to, Floats* out) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const Window& w = windows[lane];
    float* at = reinterpret_cast<float*>(out) + lane;
    int u = from;
    for (; u < to && u < w.from; ++u) at[u * kLanes] = lines[lane][0] - w.mean;
    for (; u < to && u < w.to; ++u) at[u * kLanes] = lines[lane][w.x + u] - w.mean;
    for (; u < to; ++u) at[u * kLanes] = lines[lane][n - 1] - w.mean;
  }
}

// One line of the windows, side by side; outside an image its nearest pixel. Where every window has pixels of its own,
// as many columns at a time as there are lanes.
void fill_line(const Plan& plan, const Window* windows, int v, Floats* out) {
  const int n = plan.box, width = plan.x.side;
  const float* lines[kLanes];
  int from = 0, to = width;
  for (int lane = 0; lane < kLanes; ++lane) {
    const Window& w = windows[lane];
    lines[lane] = w.image + static_cast<std::ptrdiff_t>(clamp(w.y + v, 0, n - 1)) * n;
    from = w.from > from ? w.from : from;
    to = w.to < to ? w.to : to;
  }
  int u = from;
  for (; u + kLanes <= to; u += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      __builtin_memcpy(out + u + lane, lines[lane] + windows[lane].x + u, sizeof(Floats));
      out[u + lane] -= windows[lane].mean;
    }
    transpose(out + u);
  }
  fill_columns(windows, lines, n, 0, u > from ? from : u, out);
  fill_columns(windows, lines, n, u, width, out);
}

// Pixels around the lanes' centres.
void fill_region(const Plan& plan, const Lanes& lanes, double phase_x, double phase_y, Floats* region, Floats* gap_x,
                 Floats* gap_y) {
  Window windows[kLanes];
  place_windows(plan, lanes, phase_x, phase_y, windows, gap_x, gap_y);
  for (int v = 0; v < plan.y.side; ++v) {
    fill_line(plan, windows, v, region + static_cast<std::ptrdiff_t>(v) * plan.x.side);
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
    transform_ring(plan, r, ring, spectra);
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

// Far outside, every pixel is the nearest one of the image's edge, however far.
double near_box(const Plan& plan, double offset) {
  const double most = 4.0 * plan.box;
  return offset < -most ? -most : offset > most ? most : offset;
}

Lanes load_lanes(const Plan& plan, const Stack& stack, const Rows& rows, std::int64_t first) {
  Lanes lanes = {};
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t row = row_at(rows, first + lane);
    const std::int64_t image = rows.image[row];
    lanes.image[lane] = stack.pixels + image * plan.box * plan.box;
    lanes.mean[lane] = plan.normalise ? stack.means[image] : 0.0f;
    lanes.centre_x[lane] = plan.box / 2 + near_box(plan, rows.offset[2 * row]);
    lanes.centre_y[lane] = plan.box / 2 + near_box(plan, rows.offset[2 * row + 1]);
    if (!rows.reach) continue;
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

}  // namespace
}  // namespace cryoisac::VARIANT

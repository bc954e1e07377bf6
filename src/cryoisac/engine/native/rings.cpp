// Rows are sampled on rings by cubic convolution, turned as coefficients and added up, one row a lane; sums are brought
// back to pixels one class a lane.

#include "rings.hpp"

#include "fourier.hpp"
#include "lanes.hpp"
#include "sampling.hpp"

namespace cryoisac::VARIANT {
namespace {

constexpr std::int64_t kFlush = 256;  // rows that are added up in float32
constexpr int kTaps = 4, kReach = 6;

struct SumScratch {
  Floats* region;
  Complex* ring;
  Complex* sums;   // [coefficient]
  Complex* turns;  // [order]
};

std::size_t sum_layout(const Plan& plan, char* at, SumScratch* scratch) {
  std::size_t used = 0;
  const auto take = [&](std::size_t vectors) {
    char* here = at + used;
    used += vectors * sizeof(Floats);
    return here;
  };
  const std::size_t longest = plan.longest;
  char* const parts[] = {take(std::size_t(plan.x.side) * plan.y.side), take(longest),
                         take(2 * std::size_t(plan.coefficients)), take(longest + 2)};
  if (scratch) {
    *scratch = {reinterpret_cast<Floats*>(parts[0]), reinterpret_cast<Complex*>(parts[1]),
                reinterpret_cast<Complex*>(parts[2]), reinterpret_cast<Complex*>(parts[3])};
  }
  return used;
}

std::size_t sum_bytes(const Plan& plan) { return sum_layout(plan, nullptr, nullptr); }

// Weights of the pixels at -2 ... 3 for a fraction, by the polynomial of degree five through them (Lagrange).
struct Six {
  Floats weight[kReach];

  explicit Six(Floats t) {
    const Floats far = t + 2.0f, near = t + 1.0f, next = t - 1.0f, third = t - 2.0f, last = t - 3.0f;
    const Floats left = far * near, right = third * last, middle = t * next;
    weight[0] = near * middle * right * (-1.0f / 120);
    weight[1] = far * middle * right * (1.0f / 24);
    weight[2] = left * next * right * (-1.0f / 12);
    weight[3] = left * t * right * (1.0f / 12);
    weight[4] = left * middle * last * (-1.0f / 24);
    weight[5] = left * middle * third * (1.0f / 120);
  }
  Floats operator()(const Floats* at, std::ptrdiff_t apart) const {
    return (weight[0] * at[0] + weight[1] * at[apart] + weight[2] * at[2 * apart]) +
           (weight[3] * at[3 * apart] + weight[4] * at[4 * apart] + weight[5] * at[5 * apart]);
  }
};

// The lanes' images around whole pixels of their centres: each is moved by its fraction of a pixel. Values lie two
// pixels before their place, where nothing is needed any more.
void fill_moved(const Plan& plan, const Lanes& lanes, Floats* region) {
  const std::ptrdiff_t width = plan.x.side;
  Window windows[kLanes];
  Floats gap_x, gap_y;
  place_windows(plan, lanes, 0, 0, windows, &gap_x, &gap_y);
  const Six across(1.0f - gap_x), along(1.0f - gap_y);
  for (int v = 0; v < plan.y.side; ++v) {
    Floats* line = region + v * width;
    fill_line(plan, windows, v, line);
    for (int u = 0; u <= width - kReach; ++u) line[u] = across(line + u, 1);
    if (v < kReach - 1) continue;
    line -= (kReach - 1) * width;
    for (int u = 0; u <= width - kReach; ++u) line[u] = along(line + u, width);
  }
}

// One ring, by cubic convolution.
void sample_cubic(const Plan& plan, const float* weights, const Floats* region, int first, int length, Floats* out) {
  const int width = plan.x.side;
  for (int j = 0; j < length; ++j) {
    const float* w = weights + 2 * kTaps * static_cast<std::ptrdiff_t>(first + j);
    const Floats* line = region + plan.corner[first + j];
    Floats value = {};
    for (int b = 0; b < kTaps; ++b, line += width) {
      value += w[kTaps + b] * ((w[0] * line[0] + w[1] * line[1]) + (w[2] * line[2] + w[3] * line[3]));
    }
    out[j] = value;
  }
}

// exp(-i k a) of each order k, 0 for lanes that hold no row.
void lay_turns(const Plan& plan, const TurnedRows& rows, std::int64_t first, Floats* mirror, Complex* turns) {
  Complex one = {}, now = {};
  for (int lane = 0; lane < kLanes; ++lane) {
    (*mirror)[lane] = 1.0f;
    if (first + lane >= rows.rows.count) continue;
    const std::int64_t row = rows.rows.order[first + lane];
    one.re[lane] = static_cast<float>(rows.turn[2 * row]);
    one.im[lane] = -static_cast<float>(rows.turn[2 * row + 1]);
    now.re[lane] = 1.0f;
    if (rows.mirror[row]) (*mirror)[lane] = -1.0f;
  }
  for (int k = 0; k <= plan.longest / 2; ++k) {
    turns[k] = now;
    now = {now.re * one.re - now.im * one.im, now.re * one.im + now.im * one.re};
  }
}

void add_block(const Plan& plan, const Stack& stack, const TurnedRows& rows, std::int64_t first,
               const SumScratch& scratch) {
  Floats mirror;
  fill_moved(plan, load_lanes(plan, stack, rows.rows, first), scratch.region);
  const Floats* region = scratch.region - 3 * static_cast<std::ptrdiff_t>(plan.x.side + 1);
  lay_turns(plan, rows, first, &mirror, scratch.turns);
  for (int r = 0, at = 0; r < plan.rings; at += plan.lengths[r], ++r) {
    sample_cubic(plan, rows.weights, region, at, plan.lengths[r], reinterpret_cast<Floats*>(scratch.ring));
    transform_real(scratch.ring, plan.lengths[r], plan, [&](int k, Floats re, Floats im) {
      const Complex e = scratch.turns[k];
      Complex& sum = scratch.sums[plan.start[k] + r - plan.first_ring[k]];
      sum.re += re * e.re - im * e.im;
      sum.im += mirror * (re * e.im + im * e.re);
    });
  }
}

void sum(const Plan& plan, const Stack& stack, const TurnedRows& given, std::int64_t first, std::int64_t last,
         double* sums, void* memory) {
  SumScratch scratch;
  sum_layout(plan, static_cast<char*>(memory), &scratch);
  TurnedRows rows = given;
  for (std::int64_t from = first; from < last; from += kFlush) {
    for (int c = 0; c < plan.coefficients; ++c) scratch.sums[c] = Complex{};
    rows.rows.count = from + kFlush < last ? from + kFlush : last;
    for (std::int64_t p = from; p < rows.rows.count; p += kLanes) add_block(plan, stack, rows, p, scratch);
    for (int c = 0; c < plan.coefficients; ++c) {
      for (int lane = 0; lane < kLanes; ++lane) {
        sums[2 * c] += static_cast<double>(scratch.sums[c].re[lane]);
        sums[2 * c + 1] += static_cast<double>(scratch.sums[c].im[lane]);
      }
    }
  }
}

struct DrawScratch {
  Complex* spectra;  // [ring][order]
  Complex* curve;    // [longest]
  Floats* values;    // [ring][longest + 3], the first for the angle before 0
};

std::size_t draw_layout(const Plan& plan, const Canvas& canvas, char* at, DrawScratch* scratch) {
  const std::size_t n = plan.longest, rings = canvas.rings;
  const std::size_t spectra = 2 * rings * (n / 2 + 1), curve = 2 * n, values = (rings + 1) * (n + 3);
  if (scratch) {
    Floats* here = reinterpret_cast<Floats*>(at);
    *scratch = {reinterpret_cast<Complex*>(here), reinterpret_cast<Complex*>(here + spectra), here + spectra + curve};
  }
  return (spectra + curve + values) * sizeof(Floats);
}

std::size_t draw_bytes(const Plan& plan, const Canvas& canvas) {
  return draw_layout(plan, canvas, nullptr, nullptr);
}

// One order of every ring: of the classes' sums, and continued beyond the last ring.
void gather(const Plan& plan, const Canvas& canvas, const double* sums, std::int64_t first, std::int64_t count, int k,
            Complex* out, std::ptrdiff_t apart) {
  const std::ptrdiff_t size = 2 * static_cast<std::ptrdiff_t>(plan.coefficients);
  for (int r = 0; r < plan.rings; ++r) {
    Complex z = {};
    if (r >= plan.first_ring[k]) {
      const bool nyquist = 2 * k == plan.lengths[r] && plan.lengths[r] < plan.longest;
      const double scale = (nyquist ? 0.5 : 1.0) / plan.lengths[r];
      const double* own = sums + first * size + 2 * (plan.start[k] + r - plan.first_ring[k]);
      for (int lane = 0; lane < kLanes && first + lane < count; ++lane) {
        z.re[lane] = static_cast<float>(scale * own[lane * size]);
        z.im[lane] = static_cast<float>(scale * own[lane * size + 1]);
      }
    }
    out[r * apart] = z;
  }
  const Complex last = out[(plan.rings - 1) * apart];
  for (int r = plan.rings; r < canvas.rings; ++r) {
    const float fall = canvas.fall[(r - plan.rings) * (plan.longest / 2 + 1) + k];
    out[r * apart] = {fall * last.re, fall * last.im};
  }
}

// From values on rings to the coefficients of a cubic spline between them, one order.
void solve(const Canvas& canvas, int k, Complex* z, std::ptrdiff_t apart) {
  const float* own = canvas.solve[k % 2];
  const float sharpen = canvas.sharpen[k];
  Complex before = {};
  for (int r = 0; r < canvas.rings; ++r) {
    Complex& here = z[r * apart];
    const float gain = sharpen * own[3 * r], below = own[3 * r + 1];
    here = {gain * here.re - below * before.re, gain * here.im - below * before.im};
    before = here;
  }
  for (int r = canvas.rings - 2; r >= 0; --r) {
    const float above = own[3 * r + 2];
    z[r * apart] = {z[r * apart].re - above * z[(r + 1) * apart].re, z[r * apart].im - above * z[(r + 1) * apart].im};
  }
}

// Values of two rings at all angles by one transform.
void unroll(const Plan& plan, const Complex* a, const Complex* b, Complex* curve, Floats* out) {
  const int n = plan.longest, half = n / 2, stride = n + 3;
  curve[0] = {a[0].re, b[0].re};
  curve[half] = {a[half].re, b[half].re};
  for (int k = 1; k < half; ++k) {
    curve[k] = {a[k].re - b[k].im, a[k].im + b[k].re};
    curve[n - k] = {a[k].re + b[k].im, b[k].re - a[k].im};
  }
  transform<1>(curve, n, plan);
  const int* place = plan.place[log2_of(n)];
  for (int j = 0; j < stride; ++j) {
    const Complex& z = curve[place[(j + n - 1) & (n - 1)]];
    out[j] = z.re;
    out[stride + j] = z.im;
  }
}

void draw(const Plan& plan, const Canvas& canvas, const double* sums, std::int64_t first, std::int64_t count,
          double* out, void* memory) {
  DrawScratch scratch;
  draw_layout(plan, canvas, static_cast<char*>(memory), &scratch);
  const int orders = plan.longest / 2 + 1, stride = plan.longest + 3;
  for (int k = 0; k < orders; ++k) {
    gather(plan, canvas, sums, first, count, k, scratch.spectra + k, orders);
    solve(canvas, k, scratch.spectra + k, orders);
  }
  for (int r = 0; r < canvas.rings; r += 2) {
    const Complex* a = scratch.spectra + static_cast<std::ptrdiff_t>(r) * orders;
    unroll(plan, a, r + 1 < canvas.rings ? a + orders : a, scratch.curve,
           scratch.values + static_cast<std::ptrdiff_t>(r) * stride);
  }
  for (int p = 0; p < canvas.pixels; ++p) {
    const float* weight = canvas.weight + 8 * static_cast<std::ptrdiff_t>(p);
    Floats value = {};
    for (int i = 0; i < kTaps; ++i) {
      const Floats* at = scratch.values + canvas.corner[kTaps * p + i];
      value += weight[i] * (weight[4] * at[0] + weight[5] * at[1] + weight[6] * at[2] + weight[7] * at[3]);
    }
    for (int lane = 0; lane < kLanes && first + lane < count; ++lane) {
      out[(first + lane) * canvas.pixels + p] = static_cast<double>(value[lane]);
    }
  }
}

}  // namespace

extern const RingKernels ring_kernels = {sum_bytes, sum, draw_bytes, draw};

}  // namespace cryoisac::VARIANT

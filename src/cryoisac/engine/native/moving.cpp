// One image under a pose, by any interpolation and any rule for what lies outside.
//
// Coordinates, fractions and sums are double, so that values are those of the formulas, rounded once; the engine's own
// warp is float32 throughout. The window alone sums in float32.

#include <cstring>

#include "kernels.hpp"
#include "span.hpp"

namespace cryoisac::VARIANT {
namespace {

typedef float Taps __attribute__((vector_size(4 * kTaps)));

constexpr int kGroup = 64;  // points whose pixels are gathered before any is weighted

// A pixel a columns and b rows from a point's own.
struct Tap {
  int a, b;
  constexpr int place() const { return 4 * (b + 1) + a + 1; }
};

// An interpolation gives a value from at(a, b), the pixel a columns and b rows from the point's own.
struct Linear {
  static constexpr Tap taps[] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
  template <class At>
  static inline double value(const At& at, double dx, double dy) {
    return (at(0, 0) * (1 - dx) + at(1, 0) * dx) * (1 - dy) + (at(0, 1) * (1 - dx) + at(1, 1) * dx) * dy;
  }
};

struct Quadratic {
  static constexpr Tap taps[] = {{0, 0}, {1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}};
  template <class At>
  static inline double value(const At& at, double dx, double dy) {
    const double xx = dx * dx, yy = dy * dy, xy = dx * dy;
    return at(0, 0) * (1 - xx - yy + xy) + at(1, 0) * ((xx + dx) * 0.5 - xy) + at(-1, 0) * ((xx - dx) * 0.5) +
           at(0, 1) * ((yy + dy) * 0.5 - xy) + at(0, -1) * ((yy - dy) * 0.5) + at(1, 1) * xy;
  }
};

struct Cubic {
  static constexpr Tap taps[] = {{-1, -1}, {0, -1}, {1, -1}, {2, -1}, {-1, 0}, {0, 0}, {1, 0}, {2, 0},
                                 {-1, 1},  {0, 1},  {1, 1},  {2, 1},  {-1, 2}, {0, 2}, {1, 2}, {2, 2}};
  struct Weights {  // of the pixels at -1, 0, 1, 2; Keys, a = -1/2
    double before, here, next, after;
    explicit Weights(double d)
        : before(((2 - d) * d - 1) * d * 0.5),
          here(((3 * d - 5) * d * d + 2) * 0.5),
          next(((4 - 3 * d) * d + 1) * d * 0.5),
          after((d - 1) * d * d * 0.5) {}
  };
  template <class At>
  static inline double value(const At& at, double dx, double dy) {
    const Weights x(dx), y(dy);
    const auto row = [&](int b) {
      return x.before * at(-1, b) + x.here * at(0, b) + x.next * at(1, b) + x.after * at(2, b);
    };
    return y.before * row(-1) + y.here * row(0) + y.next * row(1) + y.after * row(2);
  }
};

// An image, and where a line of its output comes from: (x0, y0) and on by (cosine, sine) a pixel.
struct Source {
  const Moving& how;
  const float* pixels;
  const float* fine;
  double x0, y0, cosine, sine;
};

// Room for one line of output: of each point its lower corner, fractions, value.
struct Line {
  int* pixel;
  float* value;
  double *dx, *dy;
};

inline double repeated(double p, int n) { return p - n * __builtin_floor((p + kNear) / n); }

inline bool inside(double px, double py, const Moving& how) {
  return px >= -kNear && px < how.columns - kNear && py >= -kNear && py < how.rows - kNear;
}

// Values inside an image, by an interpolation whose neighbours wrap.
template <class Interpolation>
struct Pixels {
  // Whether points at least 1 from the lower borders and 2 from the upper ones may be taken all at once.
  static constexpr bool at_once = true;

  static float one(const Source& s, double px, double py) {
    const int w = s.how.columns, h = s.how.rows;
    const int i = static_cast<int>(px + kNear), j = static_cast<int>(py + kNear);
    const auto wrapped = [](int k, int n) { return k < 0 ? k + n : (k < n ? k : k % n); };
    const auto at = [&](int a, int b) { return double(s.pixels[wrapped(j + b, h) * w + wrapped(i + a, w)]); };
    return static_cast<float>(Interpolation::value(at, px - i, py - j));
  }

  static void all(const Source& s, Span span, const Line& line) {
    const int w = s.how.columns;
    for (int x = span.from; x < span.to; ++x) {
      const double px = s.x0 + x * s.cosine, py = s.y0 + x * s.sine;
      const int i = static_cast<int>(px + kNear), j = static_cast<int>(py + kNear);
      line.pixel[x] = j * w + i;
      line.dx[x] = px - i;
      line.dy[x] = py - j;
    }
    for (int first = span.from; first < span.to; first += kGroup) {
      const int count = span.to - first < kGroup ? span.to - first : kGroup;
      float near[16][kGroup];  // the pixel a columns and b rows from each point's own, at 4 (b + 1) + a + 1
      for (int x = 0; x < count; ++x) {
        const float* p = s.pixels + line.pixel[first + x];
        for (const Tap tap : Interpolation::taps) near[tap.place()][x] = p[tap.b * w + tap.a];
      }
      for (int x = 0; x < count; ++x) {
        const auto at = [&](int a, int b) { return double(near[Tap{a, b}.place()][x]); };
        line.value[first + x] =
            static_cast<float>(Interpolation::value(at, line.dx[first + x], line.dy[first + x]));
      }
    }
  }
};

inline Taps weights(const float* window, double fraction) {
  const float step = static_cast<float>(fraction * kWindowSteps);
  const int k = static_cast<int>(step);
  Taps low, high;
  std::memcpy(&low, window + kTaps * k, sizeof low);
  std::memcpy(&high, window + kTaps * (k + 1), sizeof high);
  return low + (high - low) * (step - static_cast<float>(k));
}

// Values inside an image, from its fine grid through the window.
struct Window {
  static constexpr bool at_once = false;

  static float one(const Source& s, double px, double py) {
    const double gx = 2 * px, gy = 2 * py;
    const int i = static_cast<int>(gx + 2 * kNear), j = static_cast<int>(gy + 2 * kNear);
    const std::ptrdiff_t stride = 2 * s.how.columns + kTaps - 1;
    const Taps across = weights(s.how.window, gx - i), along = weights(s.how.window, gy - j);
    const float* corner = s.fine + j * stride + i;
    Taps sum = {};
    for (int b = 0; b < kTaps; ++b) {
      Taps row;
      std::memcpy(&row, corner + b * stride, sizeof row);
      sum += row * along[b];
    }
    sum *= across;
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
  }

  static void all(const Source&, Span, const Line&) {}
};

template <class Values>
void move_line(const Source& s, const float* own, const Line& line) {
  const Moving& how = s.how;
  const Span whole = {0, how.columns};
  const auto between = [&](Span span, double low, double under) {
    return within(within(span, s.x0, s.cosine, low, how.columns - under), s.y0, s.sine, low, how.rows - under);
  };
  const auto one = [&](int x) {
    double px = s.x0 + x * s.cosine, py = s.y0 + x * s.sine;
    if (how.beyond == Beyond::repeat) {
      px = repeated(px, how.columns);
      py = repeated(py, how.rows);
    }
    line.value[x] = inside(px, py, how) ? Values::one(s, px, py) : how.beyond == Beyond::own ? own[x] : how.fill;
  };
  const auto outside = [&](int x) { line.value[x] = how.beyond == Beyond::own ? own[x] : how.fill; };
  const Span some = how.beyond == Beyond::repeat ? whole : between(whole, -kMargin, -kMargin);
  const Span inner = Values::at_once ? between(some, 1 + kMargin, 2 + kMargin) : Span{some.from, some.from};
  for (int x = 0; x < some.from; ++x) outside(x);
  for (int x = some.from; x < inner.from; ++x) one(x);
  Values::all(s, inner, line);
  for (int x = inner.to; x < some.to; ++x) one(x);
  for (int x = some.to; x < how.columns; ++x) outside(x);
}

void line_of(const Source& s, const float* own, const Line& line) {
  switch (s.how.between) {
    case Between::linear: return move_line<Pixels<Linear>>(s, own, line);
    case Between::quadratic: return move_line<Pixels<Quadratic>>(s, own, line);
    case Between::cubic: return move_line<Pixels<Cubic>>(s, own, line);
    case Between::window: return move_line<Window>(s, own, line);
  }
}

}  // namespace

void move(const Moving& how, const float* image, const float* fine, const Placement& at, float* out, double* sum,
          float* memory) {
  const int w = how.columns, h = how.rows, cx = w / 2, cy = h / 2;
  const Line line = {reinterpret_cast<int*>(memory), memory + w, reinterpret_cast<double*>(memory + 4 * w),
                     reinterpret_cast<double*>(memory + 6 * w)};
  float* reversed = memory + 2 * w;
  for (int y = 0; y < h; ++y) {
    const double left = -cx - at.x, row = y - cy - at.y;
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(y) * w;
    const Source source = {how,       image,    fine, left * at.cosine - row * at.sine + cx, left * at.sine + row * at.cosine + cy,
                           at.cosine, at.sine};
    line_of(source, image + first, line);
    const float* value = line.value;
    if (at.mirror) {  // an even side keeps column 0
      const int end = w - w % 2;
      reversed[0] = value[0];
      for (int x = 1 - w % 2; x < w; ++x) reversed[x] = value[end - x];
      value = reversed;
    }
    for (int x = 0; out && x < w; ++x) out[first + x] = value[x];
    for (int x = 0; sum && x < w; ++x) sum[first + x] += static_cast<double>(value[x]);
  }
}

}  // namespace cryoisac::VARIANT

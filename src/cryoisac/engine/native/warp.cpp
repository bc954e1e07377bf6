// One image under a pose, by SPARX's quadratic interpolation and background rule.

#include "kernels.hpp"
#include "span.hpp"

namespace cryoisac::VARIANT {
namespace {

// Room for one line of output: of each point its lower corner, fractions, value.
struct Line {
  int* pixel;
  float *dx, *dy, *value;
};

inline float quadratic(float f0, float east, float west, float north, float south, float corner, float dx, float dy) {
  const float c1 = east - f0, c2 = (c1 - f0 + west) * 0.5f, c3 = north - f0, c4 = (c3 - f0 + south) * 0.5f;
  const float c5 = corner - north - c1;
  return f0 + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4);
}

// Anywhere: neighbours wrap, and a point outside takes the pixel at its own place.
float careful(const float* image, int n, double px, double py, float own) {
  if (!(px >= -kNear && px < n - kNear && py >= -kNear && py < n - kNear)) return own;
  const int i = static_cast<int>(px + kNear), j = static_cast<int>(py + kNear);
  const int e = i + 1 < n ? i + 1 : 0, w = i > 0 ? i - 1 : n - 1;
  const float* here = image + j * n;
  const float* north = image + (j + 1 < n ? j + 1 : 0) * n;
  const float* south = image + (j > 0 ? j - 1 : n - 1) * n;
  return quadratic(here[i], here[e], here[w], north[i], south[i], north[e], static_cast<float>(px - i),
                   static_cast<float>(py - j));
}

void interpolate(const float* image, int n, Span span, double x0, double y0, const Placement& at, const Line& line) {
  for (int x = span.from; x < span.to; ++x) {
    const double px = x0 + x * at.cosine, py = y0 + x * at.sine;
    const int i = static_cast<int>(px + kNear), j = static_cast<int>(py + kNear);
    line.pixel[x] = j * n + i;
    line.dx[x] = static_cast<float>(px - i);
    line.dy[x] = static_cast<float>(py - j);
  }
  for (int x = span.from; x < span.to; ++x) {
    const float* p = image + line.pixel[x];
    line.value[x] = quadratic(p[0], p[1], p[-1], p[n], p[-n], p[n + 1], line.dx[x], line.dy[x]);
  }
}

void warp_line(const float* image, int n, double x0, double y0, const Placement& at, const float* own,
               const Line& line) {
  const Span whole = {0, n};
  const double last = n + kMargin, low = 1 + kMargin, high = n - 2 - kMargin;
  const Span some = within(within(whole, x0, at.cosine, -kMargin, last), y0, at.sine, -kMargin, last);
  const Span inner = within(within(some, x0, at.cosine, low, high), y0, at.sine, low, high);
  const auto one = [&](int x) { line.value[x] = careful(image, n, x0 + x * at.cosine, y0 + x * at.sine, own[x]); };
  for (int x = 0; x < some.from; ++x) line.value[x] = own[x];
  for (int x = some.from; x < inner.from; ++x) one(x);
  interpolate(image, n, inner, x0, y0, at, line);
  for (int x = inner.to; x < some.to; ++x) one(x);
  for (int x = some.to; x < n; ++x) line.value[x] = own[x];
}

}  // namespace

void warp(const float* image, int n, const Placement& at, float* out, double* sum, float* memory) {
  const auto array = [&](int i) { return memory + static_cast<std::ptrdiff_t>(i) * n; };
  const Line line = {reinterpret_cast<int*>(array(0)), array(1), array(2), array(3)};
  const int c = n / 2;
  for (int y = 0; y < n; ++y) {
    const double left = -c - at.x, row = y - c - at.y;
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(y) * n;
    warp_line(image, n, left * at.cosine - row * at.sine + c, left * at.sine + row * at.cosine + c, at, image + first,
              line);
    const float* value = line.value;
    if (at.mirror) {  // an even side keeps column 0
      float* reversed = array(4);
      const int end = n - n % 2;
      reversed[0] = value[0];
      for (int x = 1 - n % 2; x < n; ++x) reversed[x] = value[end - x];
      value = reversed;
    }
    for (int x = 0; out && x < n; ++x) out[first + x] = value[x];
    for (int x = 0; sum && x < n; ++x) sum[first + x] += static_cast<double>(value[x]);
  }
}

}  // namespace cryoisac::VARIANT

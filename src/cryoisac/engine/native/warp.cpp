// One image under a pose, by SPARX's quadratic interpolation and background rule.

#include "kernels.hpp"

namespace cryoisac::VARIANT {
namespace {

constexpr double kNear = 1e-9;  // a point this little before a pixel counts as on it, so that rounding never decides

struct Line {
  int* pixel;  // [x] lower corner
  float *dx, *dy, *value;
};

inline float quadratic(float f0, float east, float west, float north, float south, float corner, float dx, float dy) {
  const float c1 = east - f0, c2 = (c1 - f0 + west) * 0.5f, c3 = north - f0, c4 = (c3 - f0 + south) * 0.5f;
  const float c5 = corner - f0 - c1 - c3;
  return f0 + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4);
}

// Anywhere: neighbours wrap, and a point outside takes the pixel at its own place.
float careful(const float* image, int n, double x, double y, int own) {
  if (!(x >= -kNear && x < n - kNear && y >= -kNear && y < n - kNear)) return image[own];
  const int i = static_cast<int>(x + kNear), j = static_cast<int>(y + kNear);
  const int e = i + 1 < n ? i + 1 : 0, w = i > 0 ? i - 1 : n - 1;
  const float *here = image + j * n, *north = image + (j + 1 < n ? j + 1 : 0) * n, *south = image + (j > 0 ? j - 1 : n - 1) * n;
  return quadratic(here[i], here[e], here[w], north[i], south[i], north[e], static_cast<float>(x - i),
                   static_cast<float>(y - j));
}

// Shortens [from, to) to the x at which start + slope x lies between 1 and n - 2, so that no neighbour is missing.
void inner(double start, double slope, int n, int* from, int* to) {
  const double low = 1 + 1e-6 - start, high = n - 2 - 1e-6 - start;
  if (__builtin_fabs(slope) < 1e-9) {
    if (!(low < -1e-6 && high > 1e-6)) *to = *from;
    return;
  }
  const double a = (slope > 0 ? low : high) / slope, b = (slope > 0 ? high : low) / slope;
  const double last = b < n ? b : n;
  if (a > *from) *from = a < n ? static_cast<int>(a) + 1 : n;
  if (last < *to) *to = last > 0 ? static_cast<int>(last) : 0;
  if (*to < *from) *to = *from;
}

void warp_line(const float* image, int n, double x0, double y0, const Placement& at, int y, const Line& line) {
  int from = 0, to = n;
  inner(x0, at.cosine, n, &from, &to);
  inner(y0, at.sine, n, &from, &to);
  for (int x = 0; x < from; ++x) line.value[x] = careful(image, n, x0 + x * at.cosine, y0 + x * at.sine, y * n + x);
  for (int x = to; x < n; ++x) line.value[x] = careful(image, n, x0 + x * at.cosine, y0 + x * at.sine, y * n + x);
  for (int x = from; x < to; ++x) {
    const double px = x0 + x * at.cosine, py = y0 + x * at.sine;
    const int i = static_cast<int>(px + kNear), j = static_cast<int>(py + kNear);
    line.pixel[x] = j * n + i;
    line.dx[x] = static_cast<float>(px - i);
    line.dy[x] = static_cast<float>(py - j);
  }
  for (int x = from; x < to; ++x) {
    const float* p = image + line.pixel[x];
    line.value[x] = quadratic(p[0], p[1], p[-1], p[n], p[-n], p[n + 1], line.dx[x], line.dy[x]);
  }
}

}  // namespace

void warp(const float* image, int n, const Placement& at, float* out, double* sum, float* memory) {
  const Line line = {reinterpret_cast<int*>(memory), memory + n, memory + 2 * n, memory + 3 * n};
  const int c = n / 2;
  for (int y = 0; y < n; ++y) {
    const double left = -c - at.x, row = y - c - at.y;
    warp_line(image, n, left * at.cosine - row * at.sine + c, left * at.sine + row * at.cosine + c, at, y, line);
    float* value = line.value;
    if (at.mirror) {  // an even side keeps column 0
      float* reversed = memory + 4 * n;
      const int first = 1 - n % 2;
      reversed[0] = value[0];
      for (int x = first; x < n; ++x) reversed[x] = value[n - 1 + first - x];
      value = reversed;
    }
    for (int x = 0; out && x < n; ++x) out[y * n + x] = value[x];
    for (int x = 0; sum && x < n; ++x) sum[y * n + x] += static_cast<double>(value[x]);
  }
}

}  // namespace cryoisac::VARIANT

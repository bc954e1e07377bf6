// The points of a line of output that fall inside an image: which of them may be taken without looking at each.
#pragma once

namespace cryoisac::VARIANT {

constexpr double kNear = 1e-9;    // a point this little before a pixel counts as on it, so that rounding never decides
constexpr double kMargin = 1e-6;  // how close to a limit points are looked at one by one

struct Span {
  int from, to;
};

// The part of a span on which low < start + slope x < high.
static inline Span within(Span span, double start, double slope, double low, double high) {
  if (__builtin_fabs(slope) < 1e-9) return start > low && start < high ? span : Span{span.from, span.from};
  const double a = ((slope > 0 ? low : high) - start) / slope, b = ((slope > 0 ? high : low) - start) / slope;
  if (a >= span.from) span.from = a < span.to ? static_cast<int>(a) + 1 : span.to;
  if (b < span.to - 1) span.to = b >= span.from ? static_cast<int>(b) + 1 : span.from;
  return span.to > span.from ? span : Span{span.from, span.from};
}

}  // namespace cryoisac::VARIANT

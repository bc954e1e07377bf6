// One Newton step towards the top of a quadratic in three parameters; the formulas of likelihood_reference.newton_step.
#pragma once

namespace cryoisac::VARIANT {
namespace {

constexpr double kLongestStep = 1.0;  // pixels

// Value, slope and bend (aa, ax, ay, xx, xy, yy) of each lane.
template <int Lanes>
struct Hills {
  double value[Lanes], slope[3][Lanes], bend[6][Lanes];

  void take(const Hills& other, int lane) {
    value[lane] = other.value[lane];
    for (int i = 0; i < 3; ++i) slope[i][lane] = other.slope[i][lane];
    for (int i = 0; i < 6; ++i) bend[i][lane] = other.bend[i][lane];
  }
};

// Smallest and largest eigenvalue of a symmetric matrix (aa, ax, ay, xx, xy, yy), by the trigonometric solution.
inline void eigenvalues(const double* m, double* smallest, double* largest) {
  const double mean = (m[0] + m[3] + m[5]) / 3, a = m[0] - mean, b = m[3] - mean, c = m[5] - mean;
  const double spread =
      __builtin_sqrt((a * a + b * b + c * c + 2 * (m[1] * m[1] + m[2] * m[2] + m[4] * m[4])) / 6);
  *smallest = *largest = mean;
  if (!(spread > 0)) return;
  const double determinant = a * (b * c - m[4] * m[4]) - m[1] * (m[1] * c - m[4] * m[2]) + m[2] * (m[1] * m[4] - b * m[2]);
  const double cosine = __builtin_fmax(-1.0, __builtin_fmin(1.0, determinant / (2 * spread * spread * spread)));
  const double third = __builtin_acos(cosine) / 3;
  *largest = mean + 2 * spread * __builtin_cos(third);
  *smallest = mean + 2 * spread * __builtin_cos(third + 2.0943951023931953);
}

// Solves a symmetric positive or negative definite system by Cramer's rule.
inline void solve(const double* m, const double* right, double* x) {
  const double c0 = m[3] * m[5] - m[4] * m[4], c1 = m[4] * m[2] - m[1] * m[5], c2 = m[1] * m[4] - m[3] * m[2];
  const double one = 1 / (m[0] * c0 + m[1] * c1 + m[2] * c2);
  const double d0 = m[0] * m[5] - m[2] * m[2], d1 = m[1] * m[2] - m[0] * m[4], d2 = m[0] * m[3] - m[1] * m[1];
  x[0] = one * (c0 * right[0] + c1 * right[1] + c2 * right[2]);
  x[1] = one * (c1 * right[0] + d0 * right[1] + d1 * right[2]);
  x[2] = one * (c2 * right[0] + d1 * right[1] + d2 * right[2]);
}

// The step of one lane; unit: pixels that a radian of the angle moves what is far out.
template <int Lanes>
void newton_step(const Hills<Lanes>& hills, int lane, double unit, double* step) {
  const double scale[3] = {1 / unit, 1, 1};
  double slope[3], bend[6];
  for (int i = 0, at = 0; i < 3; ++i) {
    slope[i] = -scale[i] * hills.slope[i][lane];
    for (int j = i; j < 3; ++j, ++at) bend[at] = scale[i] * scale[j] * hills.bend[at][lane];
  }
  double smallest, largest;
  eigenvalues(bend, &smallest, &largest);
  const double flat = __builtin_fmax(__builtin_fabs(smallest), __builtin_fabs(largest));
  step[0] = step[1] = step[2] = 0;
  if (!(flat > 0)) return;
  const double lowered = __builtin_fmax(largest + 1e-3 * flat, 0.0);
  bend[0] -= lowered, bend[3] -= lowered, bend[5] -= lowered;
  solve(bend, slope, step);
  const double length = __builtin_sqrt(step[0] * step[0] + step[1] * step[1] + step[2] * step[2]);
  const double shorter = __builtin_fmin(1.0, kLongestStep / __builtin_fmax(length, 1e-12));
  for (int i = 0; i < 3; ++i) step[i] *= shorter * scale[i];
}

}  // namespace
}  // namespace cryoisac::VARIANT

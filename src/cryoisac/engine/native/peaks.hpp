// Where along a curve its largest value lies.
#pragma once

#include "fourier.hpp"
#include "kernels.hpp"
#include "lanes.hpp"

namespace cryoisac::VARIANT {
namespace {

// The first pass, by 8, of an inverse transform of n points that are taken from where ``source`` says; what is left are
// eight transforms of n / 8 points side by side.
void eighths(const Complex* points, const int* source, int n, const float* turns, int apart, Complex* out) {
  const int q = n / 8;
  for (int j = 0; j < q; ++j) {
    Complex z[8];
    for (int m = 0; m < 8; ++m) z[m] = points[source[j + m * q]];
    eight<1>(z);
    out[j] = z[0];
    for (int m = 1; m < 8; ++m) {
      const float* w = turns + 2 * static_cast<std::ptrdiff_t>(j) * m * apart;
      out[j + m * q] = turn<1>(z[m], w[0], w[1]);
    }
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

}  // namespace
}  // namespace cryoisac::VARIANT

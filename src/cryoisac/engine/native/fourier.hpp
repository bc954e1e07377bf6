// In-place Fourier transforms, one transform a lane: radix 4, decimation in frequency, results in digit-reversed order.
#pragma once

#include "kernels.hpp"
#include "lanes.hpp"

namespace cryoisac::VARIANT {

struct Complex {
  Floats re, im;
};

static inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
static inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }

// a times (cosine + i Sign sine)
template <int Sign>
static inline Complex turn(Complex a, float cosine, float sine) {
  const float s = Sign * sine;
  return {a.re * cosine - a.im * s, a.im * cosine + a.re * s};
}

// a times i Sign
template <int Sign>
static inline Complex quarter(Complex a) {
  if constexpr (Sign > 0) return {-a.im, a.re};
  return {a.im, -a.re};
}

template <int Sign>
static inline void four(Complex& a, Complex& b, Complex& c, Complex& d) {
  const Complex even = a + c, odd = a - c, sum = b + d, cross = quarter<Sign>(b - d);
  a = even + sum;
  b = odd + cross;
  c = even - sum;
  d = odd - cross;
}

// Eight points, in order.
template <int Sign>
static inline void eight(Complex* z) {
  constexpr float kHalf = 0.70710678f;
  Complex even[4], odd[4];
  for (int m = 0; m < 4; ++m) even[m] = z[m] + z[m + 4], odd[m] = z[m] - z[m + 4];
  odd[1] = turn<Sign>(odd[1], kHalf, kHalf);
  odd[2] = quarter<Sign>(odd[2]);
  odd[3] = turn<Sign>(odd[3], -kHalf, kHalf);
  four<Sign>(even[0], even[1], even[2], even[3]);
  four<Sign>(odd[0], odd[1], odd[2], odd[3]);
  for (int m = 0; m < 4; ++m) z[2 * m] = even[m], z[2 * m + 1] = odd[m];
}

static inline int log2_of(int size) { return 31 - __builtin_clz(static_cast<unsigned>(size)); }

template <int Sign>
static inline void stage(Complex* z, int n, int size, const float* twiddle) {
  const int q = size / 4;
  for (Complex* block = z; block < z + n; block += size) {
    four<Sign>(block[0], block[q], block[2 * q], block[3 * q]);
    for (int j = 1; j < q; ++j) {
      Complex a = block[j], b = block[j + q], c = block[j + 2 * q], d = block[j + 3 * q];
      four<Sign>(a, b, c, d);
      const float* w = twiddle + 6 * j;
      block[j] = a;
      block[j + q] = turn<Sign>(b, w[0], w[1]);
      block[j + 2 * q] = turn<Sign>(c, w[2], w[3]);
      block[j + 3 * q] = turn<Sign>(d, w[4], w[5]);
    }
  }
}

// All stages but the last; returns the size of the last, 4 or 2.
template <int Sign>
static inline int stages(Complex* z, int n, const Plan& plan) {
  int size = n;
  for (; size > 4; size /= 4) stage<Sign>(z, n, size, plan.twiddles[log2_of(size)]);
  return size;
}

template <int Sign>
static inline void transform(Complex* z, int n, const Plan& plan) {
  const int last = stages<Sign>(z, n, plan);
  for (int p = 0; p < n; p += last) {
    if (last == 4) {
      four<Sign>(z[p], z[p + 1], z[p + 2], z[p + 3]);
    } else {
      const Complex a = z[p], b = z[p + 1];
      z[p] = a + b;
      z[p + 1] = a - b;
    }
  }
}

// The larger real and imaginary parts of two values.
static inline Complex larger(Complex a, Complex b) { return {larger(a.re, b.re), larger(a.im, b.im)}; }

// The inverse transform of n points, at least 2, of which only the largest real and imaginary parts are kept.
static inline Complex transform_largest(Complex* z, int n, const Plan& plan) {
  int last = n;
  for (; last > 8; last /= 4) stage<1>(z, n, last, plan.twiddles[log2_of(last)]);
  Complex top = {all(-__builtin_inff()), all(-__builtin_inff())};
  for (Complex* block = z; block < z + n; block += last) {
    if (last == 8) {
      Complex v[8];
      for (int i = 0; i < 8; ++i) v[i] = block[i];
      eight<1>(v);
      const Complex low = larger(larger(v[0], v[1]), larger(v[2], v[3]));
      const Complex high = larger(larger(v[4], v[5]), larger(v[6], v[7]));
      top = larger(top, larger(low, high));
    } else if (last == 4) {
      Complex a = block[0], b = block[1], c = block[2], d = block[3];
      four<1>(a, b, c, d);
      top = larger(top, larger(larger(a, b), larger(c, d)));
    } else {
      top = larger(top, larger(block[0] + block[1], block[0] - block[1]));
    }
  }
  return top;
}

// Orders 0 ... n / 2 of n real values that lie in z as n / 2 complex ones; sink(order, re, im).
template <class Sink>
static inline void transform_real(Complex* z, int n, const Plan& plan, Sink sink) {
  const int half = n / 2;
  const int* place = plan.place[log2_of(half)];
  const float* split = plan.split[log2_of(n)];
  transform<-1>(z, half, plan);
  const Complex zero = z[0], middle = z[place[half / 2]];
  sink(0, zero.re + zero.im, Floats{});
  sink(half, zero.re - zero.im, Floats{});
  sink(half / 2, middle.re, -middle.im);
  for (int k = 1; k < half / 2; ++k) {
    const Complex a = z[place[k]], b = z[place[half - k]];
    const Floats even_re = 0.5f * (a.re + b.re), even_im = 0.5f * (a.im - b.im);
    const Complex odd = turn<-1>({0.5f * (a.im + b.im), 0.5f * (b.re - a.re)}, split[2 * k], split[2 * k + 1]);
    sink(k, even_re + odd.re, even_im + odd.im);
    sink(half - k, even_re - odd.re, odd.im - even_im);
  }
}

// The n real values whose orders 0 ... n / 2 are given, times n; values 2 j and 2 j + 1 lie in z at the place of j.
// z has room for n / 2 points. order(k) is called once for each k.
template <class Order>
static inline void inverse_real(Complex* z, int n, const Plan& plan, Order order) {
  const int half = n / 2;
  const float* split = plan.split[log2_of(n)];
  const Floats zero = order(0).re, nyquist = order(half).re;
  const Complex middle = order(half / 2);
  z[0] = {zero + nyquist, zero - nyquist};
  z[half / 2] = {2.0f * middle.re, -2.0f * middle.im};
  for (int k = 1; k < half / 2; ++k) {
    const Complex a = order(k), b = order(half - k);
    const Complex even = {a.re + b.re, a.im - b.im};
    const Complex odd = turn<1>({a.re - b.re, a.im + b.im}, split[2 * k], split[2 * k + 1]);
    z[k] = {even.re - odd.im, even.im + odd.re};
    z[half - k] = {even.re + odd.im, odd.re - even.im};
  }
  transform<1>(z, half, plan);
}

}  // namespace cryoisac::VARIANT

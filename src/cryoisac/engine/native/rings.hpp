// Sums of classes by the Fourier coefficients of rings, and the way back to pixels.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace cryoisac {

// Rows, how each is turned (cos, sin of its angle, and whether it is mirrored after), and how rings are sampled.
struct TurnedRows {
  Rows rows;
  const double* turn;  // [row][2]
  const std::uint8_t* mirror;
  const float* weights;  // [sample][8] of four pixels along x, along y
};

// How rings become pixels: rings beyond the last that was sampled, and a cubic spline between rings and angles.
struct Canvas {
  int rings;             // continued ones included
  const float* fall;     // [continued ring][order] what is left of the last ring's coefficient
  const float* sharpen;  // [order] of the spline between angles
  // Of the spline between rings, for even and odd orders, [ring][3]: the equations solved from the inside out.
  const float* solve[2];
  int pixels;
  const int* corner;     // [pixel][4] first of four values on each of four rings
  const float* weight;   // [pixel][8] of four rings, of four angles
};

struct RingKernels {
  std::size_t (*sum_bytes)(const Plan&);
  // Adds the rows at positions [first, last) to sums [coefficient][2].
  void (*sum)(const Plan&, const Stack&, const TurnedRows&, std::int64_t first, std::int64_t last, double* sums,
              void* scratch);
  std::size_t (*draw_bytes)(const Plan&, const Canvas&);
  // Pixels of classes [first, first + lanes) from their sums [class][coefficient][2].
  void (*draw)(const Plan&, const Canvas&, const double* sums, std::int64_t first, std::int64_t count, double* out,
               void* scratch);
};

namespace baseline { extern const RingKernels ring_kernels; }
namespace avx2 { extern const RingKernels ring_kernels; }
namespace avx512 { extern const RingKernels ring_kernels; }

}  // namespace cryoisac

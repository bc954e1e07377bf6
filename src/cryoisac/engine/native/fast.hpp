// The fast search: references shifted instead of rows, rings compressed to a few coefficients of each angular order.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace cryoisac {

constexpr int kGroup = 8;  // blocks of rows, at most, that share what is read of the references

// Radial functions that span the references, and the angles at which correlations are looked at. Only the orders that
// are kept are listed; spectra are weighted so that white noise stays white and products are area integrals.
struct Basis {
  int orders;
  int coefficients;
  int angles;
  int stride;                 // angles between those tried
  const int* order;           // [kept] angular order
  const int* start;           // [kept + 1] its first coefficient
  const float* functions;     // [coefficient][ring], rings that lack the order left out
  const int* first;           // [kept] where the functions of the order begin
  // Where the values of a spectrum are among products: 2 i and 2 i + 1 for the i-th order kept and its negative,
  // 2 orders for none.
  const int* source;          // [angles]
  const int* source_longest;  // [longest]
  const float* turns;         // [longest][2]: cos, sin of the angles
};

// Shifts of the references.
struct Shifts {
  int count;
  int side;          // shifts along x, where they are a raster
  const float* at;   // [shift][2], pixels
  float furthest;    // the longest of them, pixels
};

// References that are ready for a search.
struct Panel {
  const float* coefficients;  // [reference][shift][coefficient][2]
  const float* powers;        // [reference][ring] what a squared CTF of 1 takes off correlations; null for nothing
  std::int64_t references;
};

struct FastRows {
  Rows rows;
  const float* room;  // [row][4], pixels that the centre may move towards -x, +x, -y, +y
};

struct FastKernels {
  std::size_t (*scratch_bytes)(const Plan&, const Basis&);
  std::size_t (*moments_scratch_bytes)(const Plan&);
  // Adds to moments [order][ring][ring] those of references [first, first + lanes) at the shifts of the plan.
  void (*moments)(const Plan&, const float* references, std::int64_t first, std::int64_t count, double* moments,
                  void* scratch);
  // Coefficients of references [first, first + lanes) into panel [reference][shift][coefficient][2].
  void (*prepare)(const Plan&, const Basis&, const Shifts&, const float* references, std::int64_t first,
                  std::int64_t count, float* panel, void* scratch);
  // Scores of up to kGroup blocks of rows, from the first row on.
  void (*score)(const Plan&, const Basis&, const Shifts&, const Stack&, const FastRows&, std::int64_t first, int blocks,
                const Panel&, float* scores, void* scratch);
  void (*match)(const Plan&, const Basis&, const Shifts&, const Stack&, const FastRows&, std::int64_t first,
                const Panel&, const Found&, void* scratch);
};

namespace baseline { extern const FastKernels fast_kernels; }
namespace avx2 { extern const FastKernels fast_kernels; }
namespace avx512 { extern const FastKernels fast_kernels; }

}  // namespace cryoisac

// SIMD lanes by GCC and Clang vector extensions; one width for each instruction set.
#pragma once

#if defined(__AVX512F__)
#define CRYOISAC_LANES 16
#elif defined(__AVX2__)
#define CRYOISAC_LANES 8
#else
#define CRYOISAC_LANES 4
#endif

namespace cryoisac::VARIANT {

constexpr int kLanes = CRYOISAC_LANES;
typedef float Floats __attribute__((vector_size(4 * CRYOISAC_LANES)));
typedef int Ints __attribute__((vector_size(4 * CRYOISAC_LANES)));

static inline Floats all(float value) { return Floats{} + value; }
static inline Ints all(int value) { return Ints{} + value; }
static inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

static inline bool any(Ints mask) {
  int found = 0;
  for (int lane = 0; lane < kLanes; ++lane) found |= mask[lane];
  return found != 0;
}

}  // namespace cryoisac::VARIANT

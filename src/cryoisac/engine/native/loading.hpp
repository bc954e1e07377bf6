// Stored rings, lane beside lane, and rings of a Hartley transform moved by a shift.
#pragma once

#include "fourier.hpp"
#include "kernels.hpp"
#include "lanes.hpp"
#include "transpose.hpp"

namespace cryoisac::VARIANT {
namespace {

struct Turn {
  Floats cosine, sine;
};

// Cosine and sine of angles given in turns, to float32 rounding.
inline Turn turn_of(Floats turns) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves whole numbers
  const Floats quarters = 4.0f * turns, whole = (quarters + kRound) - kRound;
  const Floats x = 1.57079632679f * (quarters - whole), y = x * x;
  const Floats sine = x + x * y * (-1.6666654611e-1f + y * (8.3321608736e-3f - y * 1.9515295891e-4f));
  const Floats cosine = 1.0f - 0.5f * y +
                        y * y * (4.166664568298827e-2f + y * (-1.388731625493765e-3f + y * 2.443315711809948e-5f));
  const Ints quadrant = __builtin_convertvector(whole, Ints) & 3;
  const Ints odd = (quadrant & 1) != 0;
  const Floats c = odd ? sine : cosine, s = odd ? cosine : sine;
  return {((quadrant + 1) & 2) != 0 ? -c : c, (quadrant & 2) != 0 ? -s : s};
}

// One ring of each lane's row, a square of lanes at a time.
void load_ring(const float* const* rows, int first, int length, Floats* ring) {
  int at = 0;
  for (; at + kLanes <= length; at += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      __builtin_memcpy(ring + at + lane, rows[lane] + first + at, sizeof(Floats));
    }
    transpose(ring + at);
  }
  for (; at < length; ++at) {
    for (int lane = 0; lane < kLanes; ++lane) ring[at][lane] = rows[lane][first + at];
  }
}

// Moves one ring by each lane's shift: H'(k) = cos H(k) - sin H(-k), at 2 pi k d / n.
void move_ring(const Plan& plan, int first, int length, Floats dx, Floats dy, Floats* ring) {
  const int half = length / 2;
  for (int j = 0; j < half; ++j) {
    const float* point = plan.points + 2 * (first + j);
    const Turn t = turn_of(point[0] * dx + point[1] * dy);
    const Floats here = ring[j], there = ring[j + half];
    ring[j] = t.cosine * here - t.sine * there;
    ring[j + half] = t.cosine * there + t.sine * here;
  }
}

}  // namespace
}  // namespace cryoisac::VARIANT

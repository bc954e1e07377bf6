// Squares of lanes by lanes turned about their diagonal.
#pragma once

#include <utility>

#include "lanes.hpp"

namespace cryoisac::VARIANT {
namespace {

// One vector of blocks of Size lanes: those at even places from a and, moved up, from b (or, High, moved down from a).
template <int Size, bool High, int... Lane>
inline Floats interleave(Floats a, Floats b, std::integer_sequence<int, Lane...>) {
  if constexpr (High) return __builtin_shufflevector(a, b, (Lane & Size ? kLanes + Lane : Lane + Size)...);
  return __builtin_shufflevector(a, b, (Lane & Size ? kLanes + Lane - Size : Lane)...);
}

// rows[i][j] becomes rows[j][i], blocks of Size lanes and smaller.
template <int Size = kLanes / 2>
inline void transpose(Floats* rows) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>{};
  for (int i = 0; i < kLanes; ++i) {
    if (i & Size) continue;
    const Floats a = rows[i], b = rows[i + Size];
    rows[i] = interleave<Size, false>(a, b, lanes);
    rows[i + Size] = interleave<Size, true>(a, b, lanes);
  }
  if constexpr (Size > 1) transpose<Size / 2>(rows);
}

}  // namespace
}  // namespace cryoisac::VARIANT

// A radial basis as kernels take it, and how work on compressed references is divided.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "arrays.hpp"
#include "fast.hpp"

namespace cryoisac {

constexpr std::int64_t kGroups = 16;  // of references, whose moments are added up one group beside the other

// How many blocks of rows a thread takes at once: several, so that references stay near, while all threads have some.
inline std::int64_t group_of(std::int64_t blocks, int threads) {
  return std::clamp<std::int64_t>(blocks / (4 * std::max(threads, 1)), 1, kGroup);
}

// Owns what a Basis points to.
class BasisTables {
 public:
  BasisTables(Array<const int, 1> order, Array<const int, 1> start, Array<const int, 1> first,
              Array<const float, 1> functions, int longest, int angles, int stride)
      : order_(order.data(), order.data() + order.size()),
        start_(start.data(), start.data() + start.size()),
        first_(first.data(), first.data() + first.size()),
        functions_(functions.data(), functions.data() + functions.size()) {
    for (int k = 0; k < longest; ++k) {
      turns_.push_back(static_cast<float>(std::cos(2 * std::numbers::pi * k / longest)));
      turns_.push_back(static_cast<float>(std::sin(2 * std::numbers::pi * k / longest)));
    }
    source_ = sources(angles);
    source_longest_ = sources(longest);
    basis_ = {static_cast<int>(order_.size()), start_.back(), angles, stride, order_.data(), start_.data(),
              functions_.data(), first_.data(), source_.data(), source_longest_.data(), turns_.data()};
  }
  BasisTables(const BasisTables&) = delete;
  BasisTables& operator=(const BasisTables&) = delete;
  const Basis& basis() const { return basis_; }

 private:
  // Orders that so few angles cannot hold are left out.
  std::vector<int> sources(int angles) const {
    std::vector<int> source(angles, 2 * static_cast<int>(order_.size()));
    for (int i = 0; i < static_cast<int>(order_.size()) && 2 * order_[i] <= angles; ++i) {
      source[(angles - order_[i]) % angles] = 2 * i + 1;
      source[order_[i]] = 2 * i;
    }
    return source;
  }

  std::vector<int> order_, start_, first_, source_, source_longest_;
  std::vector<float> functions_, turns_;
  Basis basis_;
};

}  // namespace cryoisac

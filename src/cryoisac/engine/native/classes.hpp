// Sums over classes, shared among threads: the rows of a class are added up in parts, and the parts in their order, so
// that sums do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.hpp"

namespace cryoisac {

// Rows stand class after class: class c has positions bounds[c] to bounds[c + 1]; its sum has ``size`` values.
struct Classes {
  const std::int64_t* bounds;
  std::int64_t count;
  std::int64_t size;
  double* sums;
};

// Calls add(first, last, sum, scratch) for parts of part(rows of the class) rows at most.
template <class PartSize, class Add>
void add_up(const Classes& classes, PartSize part, int threads, std::size_t scratch_bytes, Add add) {
  struct Part {
    std::int64_t label, first, last, spare;  // the first part of a class goes to its sum, others to spare ones
  };
  std::vector<Part> parts;
  std::int64_t spares = 0;
  for (std::int64_t c = 0; c < classes.count; ++c) {
    const std::int64_t first = classes.bounds[c], last = classes.bounds[c + 1], size = part(last - first);
    for (std::int64_t i = first; i < last; i += size) {
      parts.push_back({c, i, std::min(i + size, last), i == first ? -1 : spares++});
    }
  }
  std::vector<double> spare(spares * classes.size);
  share(static_cast<std::int64_t>(parts.size()), threads, scratch_bytes, [&](std::int64_t u, void* scratch) {
    const Part& p = parts[u];
    add(p.first, p.last, p.spare < 0 ? classes.sums + p.label * classes.size : spare.data() + p.spare * classes.size,
        scratch);
  });
  for (const Part& p : parts) {
    if (p.spare < 0) continue;
    double* sum = classes.sums + p.label * classes.size;
    for (std::int64_t i = 0; i < classes.size; ++i) sum[i] += spare[p.spare * classes.size + i];
  }
}

}  // namespace cryoisac

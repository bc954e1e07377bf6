// The Python module cryoisac.engine._native: arrays in, arrays out; work shared among threads, the GIL released.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "classes.hpp"
#include "kernels.hpp"
#include "parallel.hpp"
#include "plan.hpp"

namespace nb = nanobind;

namespace cryoisac {
namespace {

constexpr std::int64_t kChunk = 256;  // rows of one class that are added up in one go

std::vector<const Kernels*> available() {
  std::vector<const Kernels*> found;
#if defined(HAVE_avx512)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
    found.push_back(&avx512::kernels);
  }
#endif
#if defined(HAVE_avx2)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2::kernels);
#endif
  found.push_back(&baseline::kernels);
  return found;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* k : available()) names.emplace_back(k->name);
  return names;
}

Search make_search(Array<const double, 2> points, Array<const int, 1> lengths, Array<const double, 2> weights,
                   int last_radius, double step, int stride, bool refine, bool normalise, bool mirror) {
  Search s{{}, {step, stride, refine, normalise, mirror}};
  const std::size_t rings = lengths.shape(0);
  s.rings.lengths.assign(lengths.data(), lengths.data() + rings);
  s.rings.points.assign(points.data(), points.data() + points.size());
  s.rings.sample_weights.assign(weights.data(), weights.data() + rings);
  s.rings.reference_weights.assign(weights.data() + rings, weights.data() + 2 * rings);
  s.rings.last_radius = last_radius;
  return s;
}

Rows make_rows(const Array<const std::int64_t, 1>& images, const Array<const double, 2>& offsets,
               const Array<const int, 2>& reach) {
  return {images.data(), offsets.data(), reach.data(), nullptr, nullptr, static_cast<std::int64_t>(images.shape(0))};
}

// The largest reach of any row.
std::vector<int> furthest(const Rows& rows) {
  std::vector<int> reach(4, 0);
  for (std::int64_t i = 0; i < 4 * rows.count; ++i) reach[i % 4] = std::max(reach[i % 4], rows.reach[i]);
  return reach;
}

// One instruction set's kernels, behind arrays.
class Engine {
 public:
  explicit Engine(const std::string& name) : kernels_(kernels_named(name)) {}

  void score(const Search& search, Array<const float, 3> stack, Array<const float, 1> means,
             Array<const float, 3> references, Array<const std::int64_t, 1> images, Array<const double, 2> offsets,
             Array<const int, 2> reach, Array<float, 2> scores, int threads) const {
    const Rows rows = make_rows(images, offsets, reach);
    const Tables tables(search.rings, search.options, static_cast<int>(stack.shape(1)), furthest(rows).data());
    const std::int64_t k = references.shape(0);
    const std::vector<float> panel = prepare(tables.plan(), references.data(), k, threads);
    const Stack s{stack.data(), means.data(), static_cast<std::int64_t>(stack.shape(0))};
    share(blocks(rows.count), threads, kernels_->scratch_bytes(tables.plan(), k), [&](std::int64_t b, void* scratch) {
      kernels_->score(tables.plan(), s, rows, b * kernels_->lanes, panel.data(), k, scores.data(), scratch);
    });
  }

  void match(const Search& search, Array<const float, 3> stack, Array<const float, 1> means,
             Array<const float, 3> references, Array<const std::int64_t, 1> labels, Array<const std::int64_t, 1> order,
             Array<const std::int64_t, 1> images, Array<const double, 2> offsets, Array<const int, 2> reach,
             Array<float, 1> score, Array<double, 1> position, Array<int, 2> trial, Array<std::uint8_t, 1> mirror,
             int threads) const {
    Rows rows = make_rows(images, offsets, reach);
    rows.label = labels.data();
    rows.order = order.data();
    const Tables tables(search.rings, search.options, static_cast<int>(stack.shape(1)), furthest(rows).data());
    const std::vector<float> panel = prepare(tables.plan(), references.data(), references.shape(0), threads);
    const Stack s{stack.data(), means.data(), static_cast<std::int64_t>(stack.shape(0))};
    const Found found{score.data(), position.data(), trial.data(), nullptr, mirror.data()};
    share(blocks(rows.count), threads, kernels_->scratch_bytes(tables.plan(), 0), [&](std::int64_t b, void* scratch) {
      kernels_->match(tables.plan(), s, rows, b * kernels_->lanes, panel.data(), found, scratch);
    });
  }

  // order: rows class after class; bounds [class + 1]: where each class begins in it; placements: cos, sin, x, y, mirror.
  void total(Array<const float, 3> stack, Array<const std::int64_t, 1> order, Array<const std::int64_t, 1> bounds,
             Array<const std::int64_t, 1> images, Array<const double, 2> placements, Array<double, 3> sums,
             int threads) const {
    const int box = static_cast<int>(stack.shape(1));
    const std::int64_t pixels = std::int64_t(box) * box;
    const Classes classes{bounds.data(), static_cast<std::int64_t>(bounds.shape(0)) - 1, pixels, sums.data()};
    add_up(classes, [](std::int64_t) { return kChunk; }, threads, line_bytes(box),
           [&](std::int64_t first, std::int64_t last, double* sum, void* scratch) {
             for (std::int64_t i = first; i < last; ++i) {
               const std::int64_t row = order.data()[i];
               kernels_->warp(stack.data() + images.data()[row] * pixels, box, placement(placements.data() + 5 * row),
                              nullptr, sum, static_cast<float*>(scratch));
             }
           });
  }

  void warp(Array<const float, 3> stack, Array<const std::int64_t, 1> images, Array<const double, 2> placements,
            Array<float, 3> out, int threads) const {
    const int box = static_cast<int>(stack.shape(1));
    const std::size_t pixels = std::size_t(box) * box;
    share(static_cast<std::int64_t>(images.shape(0)), threads, line_bytes(box), [&](std::int64_t row, void* scratch) {
      kernels_->warp(stack.data() + images.data()[row] * pixels, box, placement(placements.data() + 5 * row),
                     out.data() + row * pixels, nullptr, static_cast<float*>(scratch));
    });
  }

 private:
  std::int64_t blocks(std::int64_t rows) const { return (rows + kernels_->lanes - 1) / kernels_->lanes; }
  static std::size_t line_bytes(int box) { return 5 * sizeof(float) * box; }
  static Placement placement(const double* p) { return {p[0], p[1], p[2], p[3], p[4] != 0}; }

  std::vector<float> prepare(const Plan& plan, const float* references, std::int64_t k, int threads) const {
    std::vector<float> panel(2 * static_cast<std::size_t>(k) * plan.coefficients);
    share(blocks(k), threads, kernels_->scratch_bytes(plan, 0), [&](std::int64_t b, void* scratch) {
      kernels_->prepare(plan, references, b * kernels_->lanes, k, panel.data(), scratch);
    });
    return panel;
  }

  const Kernels* kernels_;
};

}  // namespace

const Kernels* kernels_named(const std::string& name) {
  for (const Kernels* k : available()) {
    if (name == k->name) return k;
  }
  throw std::invalid_argument("this processor or build has no instruction set named " + name);
}

}  // namespace cryoisac

NB_MODULE(_native, m) {
  using namespace cryoisac;
  const auto free = nb::call_guard<nb::gil_scoped_release>();
  m.doc() = "Compiled kernels of cryoisac; use cryoisac.engine.native.";
  m.def("instruction_sets", &instruction_sets, "Names of the instruction sets that run here, best first.");
  nb::class_<Search>(m, "Search").def_static("make", &make_search);
  nb::class_<Engine>(m, "Engine")
      .def(nb::init<const std::string&>())
      .def("score", &Engine::score, free)
      .def("match", &Engine::match, free)
      .def("total", &Engine::total, free)
      .def("warp", &Engine::warp, free);
  bind_fast(m);
  bind_stored(m);
  bind_rings(m);
  bind_moving(m);
}

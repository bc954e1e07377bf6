// The fast search in the Python module: moments of references, bases, scores and poses.

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "arrays.hpp"
#include "basis.hpp"
#include "fast.hpp"
#include "parallel.hpp"

namespace nb = nanobind;

namespace cryoisac {
namespace {

// Shifts of references: steps to either side, and what follows from them.
class Grid {
 public:
  Grid(const Search& search, int box, int nx, int ny)
      : tables_(search.rings, search.options, box, std::vector<int>{nx, nx, ny, ny}.data()) {
    for (int y = -ny; y <= ny; ++y) {
      for (int x = -nx; x <= nx; ++x) {
        at_.push_back(static_cast<float>(x * search.options.step));
        at_.push_back(static_cast<float>(y * search.options.step));
      }
    }
    shifts_ = {(2 * nx + 1) * (2 * ny + 1), 2 * nx + 1, at_.data(), std::hypot(at_[0], at_[1])};
  }
  const Plan& plan() const { return tables_.plan(); }
  const Shifts& shifts() const { return shifts_; }

 private:
  Tables tables_;
  std::vector<float> at_;
  Shifts shifts_;
};

// The first, middle and last trial of an axis.
std::vector<Trial> outer(const Axis& axis) {
  std::vector<Trial> kept{axis.trials[axis.count / 2]};
  if (axis.count > 1) kept.push_back(axis.trials[0]), kept.push_back(axis.trials[axis.count - 1]);
  return kept;
}

class FastSearch {
 public:
  FastSearch(const std::string& instructions, const Search& search, int box, int nx, int ny, int threads)
      : kernels_(kernels_named(instructions)),
        fast_(kernels_->fast),
        threads_(threads),
        grid_(search, box, nx, ny),
        centre_(search.rings, search.options, box, std::vector<int>(4).data()) {}

  // Sums over references, at the outermost shifts and none, of products between rings [order][ring][ring].
  void moments(Array<const float, 3> references, Array<double, 3> sums) const {
    Plan plan = grid_.plan();
    const std::vector<Trial> x = outer(plan.x), y = outer(plan.y);
    plan.x.trials = x.data(), plan.x.count = static_cast<int>(x.size());
    plan.y.trials = y.data(), plan.y.count = static_cast<int>(y.size());
    const std::int64_t count = references.shape(0), groups = std::min(kGroups, blocks(count));
    const std::size_t size = sums.size();
    std::vector<double> parts(groups * size);
    share(groups, threads_, fast_->moments_scratch_bytes(plan), [&](std::int64_t group, void* scratch) {
      for (std::int64_t b = group; b < blocks(count); b += groups) {
        fast_->moments(plan, references.data(), b * kernels_->lanes, count, parts.data() + group * size, scratch);
      }
    });
    std::fill(sums.data(), sums.data() + size, 0.0);
    for (std::size_t i = 0; i < parts.size(); ++i) sums.data()[i % size] += parts[i];
  }

  std::size_t panel_size(const BasisTables& tables, std::int64_t references) const {
    return 2 * static_cast<std::size_t>(references) * grid_.shifts().count * tables.basis().coefficients;
  }

  void prepare(const BasisTables& tables, Array<const float, 3> references, Array<float, 1> panel) const {
    const std::int64_t count = references.shape(0);
    const Basis& basis = tables.basis();
    const std::size_t bytes = fast_->scratch_bytes(grid_.plan(), basis);
    share(blocks(count), threads_, bytes, [&](std::int64_t b, void* scratch) {
      fast_->prepare(grid_.plan(), basis, grid_.shifts(), references.data(), b * kernels_->lanes, count, panel.data(),
                     scratch);
    });
  }

  void score(const BasisTables& tables, Array<const float, 1> panel, Array<const float, 3> stack,
             Array<const float, 1> means, Array<const std::int64_t, 1> images, Array<const double, 2> offsets,
             Array<const float, 2> room, Array<float, 2> scores) const {
    const FastRows rows = make_rows(images, offsets, room);
    const Stack s{stack.data(), means.data(), static_cast<std::int64_t>(stack.shape(0))};
    const Panel references{panel.data(), nullptr, static_cast<std::int64_t>(scores.shape(1))};
    const std::int64_t group = group_of(blocks(rows.rows.count), threads_);
    each_group(tables, rows, group, [&](std::int64_t first, void* scratch) {
      fast_->score(centre_.plan(), tables.basis(), grid_.shifts(), s, rows, first, static_cast<int>(group), references,
                   scores.data(), scratch);
    });
  }

  void match(const BasisTables& tables, Array<const float, 1> panel, Array<const float, 3> stack,
             Array<const float, 1> means, Array<const std::int64_t, 1> labels, Array<const std::int64_t, 1> order,
             Array<const std::int64_t, 1> images, Array<const double, 2> offsets, Array<const float, 2> room,
             Array<float, 1> score, Array<double, 1> position, Array<int, 1> shift,
             Array<std::uint8_t, 1> mirror) const {
    FastRows rows = make_rows(images, offsets, room);
    rows.rows.label = labels.data(), rows.rows.order = order.data();
    const Stack s{stack.data(), means.data(), static_cast<std::int64_t>(stack.shape(0))};
    const Found found{score.data(), position.data(), nullptr, shift.data(), mirror.data()};
    const Panel references{panel.data(), nullptr, 0};
    each_group(tables, rows, 1, [&](std::int64_t first, void* scratch) {
      fast_->match(centre_.plan(), tables.basis(), grid_.shifts(), s, rows, first, references, found, scratch);
    });
  }

 private:
  std::int64_t blocks(std::int64_t rows) const { return (rows + kernels_->lanes - 1) / kernels_->lanes; }

  static FastRows make_rows(const Array<const std::int64_t, 1>& images, const Array<const double, 2>& offsets,
                            const Array<const float, 2>& room) {
    const std::int64_t count = static_cast<std::int64_t>(images.shape(0));
    return {{images.data(), offsets.data(), nullptr, nullptr, nullptr, count}, room.data()};
  }

  template <class Work>
  void each_group(const BasisTables& tables, const FastRows& rows, std::int64_t group, Work work) const {
    const std::size_t bytes = fast_->scratch_bytes(centre_.plan(), tables.basis());
    share((blocks(rows.rows.count) + group - 1) / group, threads_, bytes,
          [&](std::int64_t b, void* scratch) { work(b * group * kernels_->lanes, scratch); });
  }

  const Kernels* kernels_;
  const FastKernels* fast_;
  int threads_;
  Grid grid_;
  Tables centre_;
};

}  // namespace

void bind_fast(nb::module_& module) {
  const auto free = nb::call_guard<nb::gil_scoped_release>();
  nb::class_<BasisTables>(module, "Basis")
      .def(nb::init<Array<const int, 1>, Array<const int, 1>, Array<const int, 1>, Array<const float, 1>, int, int,
                    int>());
  nb::class_<FastSearch>(module, "FastSearch")
      .def(nb::init<const std::string&, const Search&, int, int, int, int>())
      .def("moments", &FastSearch::moments, free)
      .def("panel_size", &FastSearch::panel_size)
      .def("prepare", &FastSearch::prepare, free)
      .def("score", &FastSearch::score, free)
      .def("match", &FastSearch::match, free);
}

}  // namespace cryoisac

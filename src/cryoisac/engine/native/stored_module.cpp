// The likelihood of stored rings in the Python module.

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "arrays.hpp"
#include "basis.hpp"
#include "classes.hpp"
#include "parallel.hpp"
#include "stored.hpp"

namespace nb = nanobind;

namespace cryoisac {
namespace {

constexpr std::int64_t kChunk = 256;  // rows of one class that are added up in one go
constexpr std::int64_t kParts = 128;  // of all rows of a sum over classes, at most, beside one for each class

using Samples = Array<const float, 2>;
using Indices = Array<const std::int64_t, 1>;

// Shifts, as a list.
class ShiftList {
 public:
  explicit ShiftList(Array<const double, 2> shifts) {
    float furthest = 0;
    for (std::size_t i = 0; i < shifts.shape(0); ++i) {
      for (int axis = 0; axis < 2; ++axis) at_.push_back(static_cast<float>(shifts.data()[2 * i + axis]));
      furthest = std::max(furthest, std::hypot(at_[2 * i], at_[2 * i + 1]));
    }
    shifts_ = {static_cast<int>(shifts.shape(0)), 0, at_.data(), furthest};
  }
  ShiftList(const ShiftList&) = delete;
  ShiftList& operator=(const ShiftList&) = delete;
  const Shifts& shifts() const { return shifts_; }

 private:
  std::vector<float> at_;
  Shifts shifts_;
};

class StoredSearch {
 public:
  StoredSearch(const std::string& instructions, const Search& search, int box, int threads)
      : kernels_(kernels_named(instructions)),
        stored_(kernels_->stored),
        threads_(threads),
        tables_(search.rings, search.options, box, std::vector<int>(4).data()) {}

  // Sums over references and shifts of products between rings [order][ring][ring].
  void moments(Samples references, const ShiftList& shifts, Array<double, 3> sums) const {
    const std::int64_t pairs = static_cast<std::int64_t>(references.shape(0)) * shifts.shifts().count;
    const std::int64_t groups = std::min(kGroups, blocks(pairs)), size = static_cast<std::int64_t>(sums.size());
    std::vector<double> parts(groups * size);
    share(groups, threads_, stored_->moments_scratch_bytes(plan()), [&](std::int64_t group, void* scratch) {
      const std::int64_t first = blocks(pairs) * group / groups, last = blocks(pairs) * (group + 1) / groups;
      stored_->moments(plan(), shifts.shifts(), stored(references), first * kernels_->lanes,
                       std::min(last * kernels_->lanes, pairs), parts.data() + group * size, scratch);
    });
    std::fill(sums.data(), sums.data() + size, 0.0);
    for (std::int64_t i = 0; i < groups * size; ++i) sums.data()[i % size] += parts[i];
  }

  void prepare(const BasisTables& tables, Samples references, const ShiftList& shifts, Array<float, 1> panel) const {
    const std::int64_t pairs = static_cast<std::int64_t>(references.shape(0)) * shifts.shifts().count;
    share(blocks(pairs), threads_, stored_->scratch_bytes(plan(), tables.basis()), [&](std::int64_t b, void* scratch) {
      stored_->prepare(plan(), tables.basis(), shifts.shifts(), stored(references), b * kernels_->lanes, pairs,
                       panel.data(), scratch);
    });
  }

  void score(const BasisTables& tables, const ShiftList& shifts, Array<const float, 1> panel, Samples powers,
             Samples samples, Samples squares, Indices images, Array<float, 2> scores) const {
    const StoredRows rows = make_rows(samples, squares, images, nullptr, nullptr);
    const Panel references{panel.data(), powers.data(), static_cast<std::int64_t>(powers.shape(0))};
    const std::int64_t group = group_of(blocks(rows.rows.count), threads_);
    share((blocks(rows.rows.count) + group - 1) / group, threads_, stored_->scratch_bytes(plan(), tables.basis()),
          [&](std::int64_t g, void* scratch) {
            stored_->score(plan(), tables.basis(), shifts.shifts(), rows, g * group * kernels_->lanes,
                           static_cast<int>(group), references, scores.data(), scratch);
          });
  }

  void match(const BasisTables& tables, const ShiftList& shifts, Array<const float, 1> panel, Samples powers,
             Samples samples, Samples squares, Indices labels, Indices order, Indices images, Array<float, 1> score,
             Array<double, 1> position, Array<int, 1> shift, Array<std::uint8_t, 1> mirror) const {
    const StoredRows rows = make_rows(samples, squares, images, labels.data(), order.data());
    const Panel references{panel.data(), powers.data(), static_cast<std::int64_t>(powers.shape(0))};
    const Found found{score.data(), position.data(), nullptr, shift.data(), mirror.data()};
    share(blocks(rows.rows.count), threads_, stored_->scratch_bytes(plan(), tables.basis()),
          [&](std::int64_t b, void* scratch) {
            stored_->match(plan(), tables.basis(), shifts.shifts(), rows, b * kernels_->lanes, references, found,
                           scratch);
          });
  }

  // poses [row][4]: angle in radians, shift, mirror; replaced by what is found.
  void refine(Samples references, Samples powers, Samples samples, Samples squares, Indices labels, Indices order,
              Indices images, Array<double, 2> poses, Array<float, 1> score) const {
    const StoredRows rows = make_rows(samples, squares, images, labels.data(), order.data());
    share(blocks(rows.rows.count), threads_, stored_->refine_scratch_bytes(plan()), [&](std::int64_t b, void* scratch) {
      stored_->refine(plan(), rows, b * kernels_->lanes, stored(references), powers.data(),
                      {poses.data(), score.data()}, scratch);
    });
  }

  // order: rows class after class; bounds [class + 1]: where each class begins in it.
  void total(Samples samples, Indices order, Indices bounds, Indices images, Array<const double, 2> poses,
             Array<double, 2> sums) const {
    const StoredRows rows = make_rows(samples, samples, images, nullptr, order.data());
    const std::int64_t part = (rows.rows.count / kParts + kChunk) / kChunk * kChunk;
    const Classes classes{bounds.data(), static_cast<std::int64_t>(sums.shape(0)),
                          static_cast<std::int64_t>(sums.shape(1)), sums.data()};
    add_up(classes, [&](std::int64_t) { return part; }, threads_, stored_->total_scratch_bytes(plan()),
           [&](std::int64_t first, std::int64_t last, double* sum, void* scratch) {
             for (std::int64_t i = first; i < last; i += kChunk) {
               stored_->total(plan(), rows, i, std::min(i + kChunk, last), poses.data(), sum, scratch);
             }
           });
  }

 private:
  const Plan& plan() const { return tables_.plan(); }
  std::int64_t blocks(std::int64_t rows) const { return (rows + kernels_->lanes - 1) / kernels_->lanes; }
  static Stored stored(const Samples& samples) {
    return {samples.data(), static_cast<std::int64_t>(samples.shape(1))};
  }
  static StoredRows make_rows(const Samples& samples, const Samples& squares, const Indices& images,
                              const std::int64_t* labels, const std::int64_t* order) {
    const std::int64_t count = static_cast<std::int64_t>(images.shape(0));
    return {{images.data(), nullptr, nullptr, labels, order, count}, stored(samples), squares.data(),
            static_cast<std::int64_t>(squares.shape(1))};
  }

  const Kernels* kernels_;
  const StoredKernels* stored_;
  int threads_;
  Tables tables_;
};

}  // namespace

void bind_stored(nb::module_& module) {
  const auto free = nb::call_guard<nb::gil_scoped_release>();
  nb::class_<ShiftList>(module, "Shifts").def(nb::init<Array<const double, 2>>());
  nb::class_<StoredSearch>(module, "StoredSearch")
      .def(nb::init<const std::string&, const Search&, int, int>())
      .def("moments", &StoredSearch::moments, free)
      .def("prepare", &StoredSearch::prepare, free)
      .def("score", &StoredSearch::score, free)
      .def("match", &StoredSearch::match, free)
      .def("refine", &StoredSearch::refine, free)
      .def("total", &StoredSearch::total, free);
}

}  // namespace cryoisac

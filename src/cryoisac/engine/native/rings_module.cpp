// Sums of classes by rings in the Python module.

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "arrays.hpp"
#include "classes.hpp"
#include "parallel.hpp"
#include "rings.hpp"

namespace nb = nanobind;

namespace cryoisac {
namespace {

constexpr std::int64_t kPart = 256, kParts = 64;  // rows of a class added up in one go, and in how many at most

// Owns what a Canvas points to.
class CanvasTables {
 public:
  CanvasTables(const Plan& plan, int furthest) : orders_(plan.longest / 2 + 1) {
    const int last = plan.rings - 1;
    for (int r = plan.rings; r <= furthest; ++r) {
      for (int k = 0; k < orders_; ++k) fall_.push_back(static_cast<float>(std::pow(double(last) / r, k)));
    }
    for (int k = 0; k < orders_; ++k) {
      sharpen_.push_back(static_cast<float>(3 / (2 + std::cos(2 * std::numbers::pi * k / plan.longest))));
    }
    for (const bool odd : {false, true}) lay_equations(furthest, odd);
    for (int y = 0; y < plan.box; ++y) {
      for (int x = 0; x < plan.box; ++x) lay_pixel(x - plan.box / 2, y - plan.box / 2, plan.longest, furthest);
    }
    canvas_ = {furthest + 1, fall_.data(), sharpen_.data(), {solve_[0].data(), solve_[1].data()},
               plan.box * plan.box, corner_.data(), weight_.data()};
  }
  CanvasTables(const CanvasTables&) = delete;
  CanvasTables& operator=(const CanvasTables&) = delete;
  const Canvas& canvas() const { return canvas_; }

 private:
  // (b[r - 1] + 4 b[r] + b[r + 1]) / 6 = c[r], b[-1] = b[1] or, for odd orders, -b[1], and b mirrored at the last ring.
  void lay_equations(int furthest, bool odd) {
    double above = 0;
    for (int r = 0; r <= furthest; ++r) {
      const double below = r == 0 ? 0 : r == furthest ? 2 : 1, pivot = 4 - below * above;
      above = (r > 0 ? 1 : odd ? 0 : 2) / pivot;
      for (const double value : {6 / pivot, below / pivot, above}) solve_[odd].push_back(static_cast<float>(value));
    }
  }

  void lay_pixel(int x, int y, int angles, int furthest) {
    const double radius = std::hypot(x, y), turn = std::atan2(x, y) / (2 * std::numbers::pi);
    const double angle = (turn < 0 ? turn + 1 : turn) * angles;
    const int i = static_cast<int>(radius), j = static_cast<int>(angle);
    for (int ring = i - 1; ring < i + 3; ++ring) {
      const int place = ring < 0 ? j + angles / 2 : j;  // through the centre, to the other side
      corner_.push_back(std::min(std::abs(ring), furthest) * (angles + 3) + place % angles);
    }
    for (const double t : {radius - i, angle - j}) {
      const double rest = 1 - t;
      weight_.push_back(static_cast<float>(rest * rest * rest / 6));
      weight_.push_back(static_cast<float>(2.0 / 3 - t * t + t * t * t / 2));
      weight_.push_back(static_cast<float>(2.0 / 3 - rest * rest + rest * rest * rest / 2));
      weight_.push_back(static_cast<float>(t * t * t / 6));
    }
  }

  int orders_;
  std::vector<float> fall_, sharpen_, solve_[2], weight_;
  std::vector<int> corner_;
  Canvas canvas_;
};

// Rows of a class that are added up together: so many that a class has kParts parts at most.
std::int64_t part_of(std::int64_t rows) {
  return kPart * std::max<std::int64_t>(1, (rows + kPart * kParts - 1) / (kPart * kParts));
}

class RingSums {
 public:
  RingSums(const std::string& instructions, const Search& search, int box, int furthest, int threads)
      : kernels_(kernels_named(instructions)),
        threads_(threads),
        tables_(search.rings, search.options, box, std::vector<int>(4).data()),
        canvas_(tables_.plan(), furthest) {
    for (std::size_t p = 0; p < search.rings.points.size(); ++p) {
      const double t = search.rings.points[p] - std::floor(search.rings.points[p]), square = t * t;
      for (const double w : {((2 - t) * t - 1) * t, (3 * t - 5) * square + 2, ((4 - 3 * t) * t + 1) * t, (t - 1) * square}) {
        weights_.push_back(static_cast<float>(w / 2));
      }
    }
  }

  std::int64_t size() const { return 2 * tables_.plan().coefficients; }

  // order: rows class after class; bounds [class + 1]: where each class begins in it; turns [row]: cos, sin.
  void total(Array<const float, 3> stack, Array<const std::int64_t, 1> order, Array<const std::int64_t, 1> bounds,
             Array<const std::int64_t, 1> images, Array<const double, 2> offsets, Array<const double, 2> turns,
             Array<const std::uint8_t, 1> mirror, Array<double, 3> out) const {
    const RingKernels& kernels = *kernels_->rings;
    const Plan& plan = tables_.plan();
    const std::int64_t count = out.shape(0);
    std::vector<double> sums(count * size());
    const Stack s{stack.data(), nullptr, static_cast<std::int64_t>(stack.shape(0))};
    const Rows rows{images.data(), offsets.data(), nullptr, nullptr, order.data(), 0};
    const TurnedRows turned{rows, turns.data(), mirror.data(), weights_.data()};
    add_up({bounds.data(), count, size(), sums.data()}, part_of, threads_, kernels.sum_bytes(plan),
           [&](std::int64_t first, std::int64_t last, double* sum, void* scratch) {
             kernels.sum(plan, s, turned, first, last, sum, scratch);
           });
    const std::int64_t blocks = (count + kernels_->lanes - 1) / kernels_->lanes;
    share(blocks, threads_, kernels.draw_bytes(plan, canvas_.canvas()), [&](std::int64_t b, void* scratch) {
      kernels.draw(plan, canvas_.canvas(), sums.data(), b * kernels_->lanes, count, out.data(), scratch);
    });
  }

 private:
  const Kernels* kernels_;
  int threads_;
  Tables tables_;
  CanvasTables canvas_;
  std::vector<float> weights_;  // of cubic convolution (Keys, a = -1/2)
};

}  // namespace

void bind_rings(nb::module_& module) {
  nb::class_<RingSums>(module, "RingSums")
      .def(nb::init<const std::string&, const Search&, int, int, int>())
      .def("total", &RingSums::total, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace cryoisac

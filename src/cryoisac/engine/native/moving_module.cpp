// Images under poses, and sums over classes of them, in the Python module.

#include <nanobind/stl/string.h>

#include "arrays.hpp"
#include "classes.hpp"
#include "parallel.hpp"

namespace nb = nanobind;

namespace cryoisac {
namespace {

constexpr std::int64_t kPart = 256;  // rows of one class that are added up in one go

// How images of one shape are moved, by one instruction set's kernel.
class Mover {
 public:
  // between and beyond count as the enums do; window: [kWindowSteps + 2][kTaps].
  Mover(const std::string& instructions, int rows, int columns, int between, int beyond, float fill,
        Array<const float, 2> window, int threads)
      : kernels_(kernels_named(instructions)), window_(window.data(), window.data() + window.size()), threads_(threads),
        how_{rows, columns, static_cast<Between>(between), static_cast<Beyond>(beyond), fill, window_.data()} {}

  // placements: cos / scale, sin / scale, x, y, mirror; fine: images on the window's grid, or none.
  void move(Array<const float, 3> images, Array<const float, 3> fine, Array<const double, 2> placements,
            Array<float, 3> out) const {
    share(static_cast<std::int64_t>(images.shape(0)), threads_, line_bytes(), [&](std::int64_t i, void* scratch) {
      move_one(images, fine, placements, i, out.data() + i * pixels(), nullptr, scratch);
    });
  }

  // order: images class after class; bounds [class + 1]: where each class begins in it.
  void add(Array<const float, 3> images, Array<const float, 3> fine, Array<const double, 2> placements,
           Array<const std::int64_t, 1> order, Array<const std::int64_t, 1> bounds, Array<double, 3> sums) const {
    const Classes classes{bounds.data(), static_cast<std::int64_t>(bounds.shape(0)) - 1, pixels(), sums.data()};
    add_up(classes, [](std::int64_t) { return kPart; }, threads_, line_bytes(),
           [&](std::int64_t first, std::int64_t last, double* sum, void* scratch) {
             for (std::int64_t i = first; i < last; ++i) {
               move_one(images, fine, placements, order.data()[i], nullptr, sum, scratch);
             }
           });
  }

 private:
  void move_one(const Array<const float, 3>& images, const Array<const float, 3>& fine,
                const Array<const double, 2>& placements, std::int64_t i, float* out, double* sum,
                void* scratch) const {
    const double* p = placements.data() + 5 * i;
    const std::int64_t finer = static_cast<std::int64_t>(fine.shape(1)) * static_cast<std::int64_t>(fine.shape(2));
    kernels_->move(how_, images.data() + i * pixels(), fine.data() + i * finer, {p[0], p[1], p[2], p[3], p[4] != 0},
                   out, sum, static_cast<float*>(scratch));
  }

  std::int64_t pixels() const { return std::int64_t(how_.rows) * how_.columns; }
  std::size_t line_bytes() const { return 8 * sizeof(float) * how_.columns; }

  const Kernels* kernels_;
  std::vector<float> window_;
  int threads_;
  Moving how_;
};

}  // namespace

void bind_moving(nb::module_& module) {
  const auto free = nb::call_guard<nb::gil_scoped_release>();
  module.attr("TAPS") = kTaps;
  module.attr("WINDOW_STEPS") = kWindowSteps;
  nb::class_<Mover>(module, "Mover")
      .def(nb::init<const std::string&, int, int, int, int, float, Array<const float, 2>, int>())
      .def("move", &Mover::move, free)
      .def("add", &Mover::add, free);
}

}  // namespace cryoisac

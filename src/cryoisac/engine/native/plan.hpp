// The tables that follow from rings and trial shifts.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace cryoisac {

struct Rings {
  std::vector<int> lengths;
  std::vector<double> sample_weights, reference_weights;
  std::vector<double> points;  // [sample][2], x, y
  int last_radius;
};

struct Options {
  double step;
  int stride;
  bool refine, normalise, mirror;
};

// Owns what a Plan points to.
class Tables {
 public:
  // reach: the largest numbers of steps towards -x, +x, -y, +y.
  Tables(const Rings& rings, const Options& options, int box, const int reach[4]);
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;
  const Plan& plan() const { return plan_; }

 private:
  struct AxisTables {
    std::vector<Trial> trials;
    std::vector<double> phases;
  };
  Axis lay_axis(AxisTables& tables, double step, int below, int above) const;
  void lay_transforms();
  void lay_coefficients();
  void lay_samples(const std::vector<double>& points);

  Plan plan_{};
  AxisTables x_, y_;
  std::vector<int> lengths_, corner_, first_ring_, start_;
  std::vector<float> sample_weights_, reference_weights_, fraction_x_, fraction_y_, points_;
  std::vector<float> twiddles_[kSizes], split_[kSizes];
  std::vector<int> place_[kSizes];
};

}  // namespace cryoisac

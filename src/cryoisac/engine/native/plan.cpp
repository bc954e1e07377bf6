#include "plan.hpp"

#include <cmath>
#include <numbers>

namespace cryoisac {
namespace {

int place_of(int order, int size) {
  if (size <= 2) return size == 2 ? order : 0;
  return (order % 4) * (size / 4) + place_of(order / 4, size / 4);
}

void push_angle(std::vector<float>& table, double turns) {
  table.push_back(static_cast<float>(std::cos(2 * std::numbers::pi * turns)));
  table.push_back(static_cast<float>(std::sin(2 * std::numbers::pi * turns)));
}

}  // namespace

Tables::Tables(const Rings& rings, const Options& options, int box, const int reach[4]) : lengths_(rings.lengths) {
  plan_.box = box;
  plan_.rings = static_cast<int>(lengths_.size());
  plan_.longest = lengths_.back();
  plan_.last_radius = rings.last_radius;
  plan_.stride = options.stride;
  plan_.refine = options.refine;
  plan_.normalise = options.normalise;
  plan_.mirror = options.mirror;
  for (int r = 0; r < plan_.rings; ++r) {
    plan_.total_weight += rings.sample_weights[r] * lengths_[r];
    sample_weights_.push_back(static_cast<float>(rings.sample_weights[r]));
    reference_weights_.push_back(static_cast<float>(rings.reference_weights[r] / plan_.longest));
  }
  plan_.x = lay_axis(x_, options.step, reach[0], reach[1]);
  plan_.y = lay_axis(y_, options.step, reach[2], reach[3]);
  lay_samples(rings.points);
  lay_coefficients();
  lay_transforms();
  plan_.lengths = lengths_.data();
  plan_.sample_weights = sample_weights_.data();
  plan_.reference_weights = reference_weights_.data();
}

Axis Tables::lay_axis(AxisTables& tables, double step, int below, int above) const {
  int lowest = 0, highest = 0;
  for (int i = -below; i <= above; ++i) {
    const double shift = i * step;
    int whole = static_cast<int>(std::floor(shift));
    double phase = shift - whole;
    if (phase > 1 - 1e-9) ++whole, phase = 0;
    int known = 0;
    const int count = static_cast<int>(tables.phases.size());
    while (known < count && std::abs(tables.phases[known] - phase) > 1e-9) ++known;
    if (known == count) tables.phases.push_back(phase);
    tables.trials.push_back({i, whole, known});
    lowest = std::min(lowest, whole);
    highest = std::max(highest, whole);
  }
  return {tables.trials.data(), static_cast<int>(tables.trials.size()), tables.phases.data(),
          static_cast<int>(tables.phases.size()), lowest, 2 * plan_.last_radius + 3 + highest - lowest};
}

void Tables::lay_samples(const std::vector<double>& points) {
  for (std::size_t s = 0; s < points.size(); s += 2) {
    const double x = std::floor(points[s]), y = std::floor(points[s + 1]);
    corner_.push_back((static_cast<int>(y) + plan_.last_radius) * plan_.x.side + static_cast<int>(x) +
                      plan_.last_radius);
    fraction_x_.push_back(static_cast<float>(points[s] - x));
    fraction_y_.push_back(static_cast<float>(points[s + 1] - y));
    points_.push_back(static_cast<float>(points[s] / plan_.box));
    points_.push_back(static_cast<float>(points[s + 1] / plan_.box));
  }
  plan_.corner = corner_.data();
  plan_.fraction_x = fraction_x_.data();
  plan_.fraction_y = fraction_y_.data();
  plan_.points = points_.data();
}

void Tables::lay_coefficients() {
  int coefficients = 0;
  for (int k = 0, first = 0; k <= plan_.longest / 2; ++k) {
    while (lengths_[first] / 2 < k) ++first;
    first_ring_.push_back(first);
    start_.push_back(coefficients);
    coefficients += plan_.rings - first;
  }
  plan_.coefficients = coefficients;
  plan_.first_ring = first_ring_.data();
  plan_.start = start_.data();
}

void Tables::lay_transforms() {
  for (int log = 0; log < kSizes && (1 << log) <= plan_.longest; ++log) {
    const int size = 1 << log;
    for (int j = 0; j < size / 4; ++j) {
      for (int m = 1; m <= 3; ++m) push_angle(twiddles_[log], double(j) * m / size);
      push_angle(split_[log], double(j) / size);
    }
    for (int k = 0; k < size; ++k) place_[log].push_back(place_of(k, size));
    plan_.twiddles[log] = twiddles_[log].data();
    plan_.split[log] = split_[log].data();
    plan_.place[log] = place_[log].data();
  }
}

}  // namespace cryoisac

// Poses between the samples of a search: Newton steps on the correlation of stored rings with a reference.
#pragma once

#include "newton.hpp"
#include "turning.hpp"

namespace cryoisac::VARIANT {
namespace {

constexpr int kNewtonSteps = 5;

// Weighted samples of each lane's reference.
void load_references(const Plan& plan, const StoredRows& rows, std::int64_t first, const Stored& references,
                     Floats* out) {
  const float* own[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    own[lane] = references.samples + rows.rows.label[row_at(rows.rows, first + lane)] * references.apart;
  }
  for (int r = 0, sample = 0; r < plan.rings; sample += plan.lengths[r], ++r) {
    load_ring(own, sample, plan.lengths[r], out + sample);
    const float weight = plan.sample_weights[r] / plan.lengths[r];
    for (int j = 0; j < plan.lengths[r]; ++j) out[sample + j] *= weight;
  }
}

// Sums over one ring that slopes and bends are made of; x, y: times the sample's point.
struct RingSums {
  Floats even[3];             // a curve or its derivatives against the moved reference
  Floats x, y, turn_x, turn_y;  // the curve, its derivative against the reference moved and opposite
  Floats xx, xy, yy;
};

// One ring of the correlation with a reference moved by -d: with phase c, s and p, q the reference at a sample and
// opposite, that is A = c p + s q and, opposite, B = c q - s p; the derivative by d turns A into B and B into -A.
RingSums correlate_ring(const Plan& plan, int first, int n, Floats dx, Floats dy, const Floats* reference,
                        Complex* const* curves) {
  const int* place = plan.place[log2_of(n / 2)];
  RingSums s = {};
  const auto add = [&](int j, const Floats* here, const Floats* there) {
    const float* point = plan.points + 2 * (first + j);
    const Floats p = reference[first + j], q = reference[first + j + n / 2];
    const Turn t = turn_of(point[0] * dx + point[1] * dy);
    const Floats a = t.cosine * p + t.sine * q, b = t.cosine * q - t.sine * p;
    const Floats even = a * here[0] + b * there[0];
    const Floats odd = b * here[0] - a * there[0], turned = b * here[1] - a * there[1];
    s.even[0] += even;
    s.even[1] += a * here[1] + b * there[1];
    s.even[2] += a * here[2] + b * there[2];
    s.x += point[0] * odd, s.y += point[1] * odd;
    s.turn_x += point[0] * turned, s.turn_y += point[1] * turned;
    s.xx += point[0] * point[0] * even, s.xy += point[0] * point[1] * even, s.yy += point[1] * point[1] * even;
  };
  for (int j = 0; j < n / 4; ++j) {
    const int at = place[j], opposite = place[j + n / 4];
    Floats here[2][3], there[2][3];
    for (int i = 0; i < 3; ++i) {
      here[0][i] = curves[i][at].re, here[1][i] = curves[i][at].im;
      there[0][i] = curves[i][opposite].re, there[1][i] = curves[i][opposite].im;
    }
    add(2 * j, here[0], there[0]);
    add(2 * j + 1, here[1], there[1]);
  }
  return s;
}

inline void add_lanes(Floats values, double scale, double* sums) {
  for (int lane = 0; lane < kLanes; ++lane) sums[lane] += scale * values[lane];
}

// The correlation of each lane at its pose, with slopes and bends by (b, dx, dy).
void correlate(const Plan& plan, const Placed& placed, const TurnScratch& scratch, Hills<kLanes>* hills) {
  constexpr double kTurn = 6.283185307179586;
  Floats dx, dy;
  for (int lane = 0; lane < kLanes; ++lane) {
    dx[lane] = static_cast<float>(placed.x[lane]), dy[lane] = static_cast<float>(placed.y[lane]);
  }
  *hills = {};
  lay_factors(plan, placed.turn, scratch.factors);
  const Complex* x = scratch.spectra;
  for (int r = 0, first = 0; r < plan.rings; ++r) {
    const int n = plan.lengths[r];
    inverse_real(scratch.curves[0], n, plan, [&](int k) { return times(x[k], scratch.factors[k]); });
    inverse_real(scratch.curves[1], n, plan, [&](int k) {
      const Complex y = times(x[k], scratch.factors[k]);
      return Complex{static_cast<float>(k) * y.im, -static_cast<float>(k) * y.re};
    });
    inverse_real(scratch.curves[2], n, plan, [&](int k) {
      const Complex y = times(x[k], scratch.factors[k]);
      const float square = -static_cast<float>(k) * static_cast<float>(k);
      return Complex{square * y.re, square * y.im};
    });
    const RingSums s = correlate_ring(plan, first, n, dx, dy, scratch.references, scratch.curves);
    add_lanes(s.even[0], 1, hills->value);
    add_lanes(s.even[1], 1, hills->slope[0]);
    add_lanes(s.x, kTurn, hills->slope[1]);
    add_lanes(s.y, kTurn, hills->slope[2]);
    add_lanes(s.even[2], 1, hills->bend[0]);
    add_lanes(s.turn_x, kTurn, hills->bend[1]);
    add_lanes(s.turn_y, kTurn, hills->bend[2]);
    add_lanes(s.xx, -kTurn * kTurn, hills->bend[3]);
    add_lanes(s.xy, -kTurn * kTurn, hills->bend[4]);
    add_lanes(s.yy, -kTurn * kTurn, hills->bend[5]);
    first += n, x += n / 2 + 1;
  }
}

// Newton steps of every lane; a step that leads down is halved, from where it was made.
void climb(const Plan& plan, const TurnScratch& scratch, Placed* placed, Hills<kLanes>* hills) {
  correlate(plan, *placed, scratch, hills);
  for (int step = 0; step < kNewtonSteps; ++step) {
    Placed trial = *placed;
    for (int lane = 0; lane < kLanes; ++lane) {
      double move[3];
      newton_step(*hills, lane, plan.box / 2.0, move);
      trial.turn[lane] += move[0], trial.x[lane] += move[1], trial.y[lane] += move[2];
    }
    Hills<kLanes> found;
    correlate(plan, trial, scratch, &found);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!(found.value[lane] > hills->value[lane])) {
        for (auto& slope : hills->slope) slope[lane] /= 2;
        continue;
      }
      hills->take(found, lane);
      placed->turn[lane] = trial.turn[lane], placed->x[lane] = trial.x[lane], placed->y[lane] = trial.y[lane];
    }
  }
}

void refine(const Plan& plan, const StoredRows& rows, std::int64_t first, const Stored& references,
            const float* powers, const Refined& refined, void* memory) {
  TurnScratch scratch;
  turn_layout(plan, true, static_cast<char*>(memory), &scratch);
  Placed placed = load_poses(rows, first, refined.poses);
  load_turnable(plan, rows, first, placed.mirror, scratch);
  load_references(plan, rows, first, references, scratch.references);
  Hills<kLanes> hills;
  climb(plan, scratch, &placed, &hills);
  for (int lane = 0; lane < kLanes && first + lane < rows.rows.count; ++lane) {
    const std::int64_t row = row_at(rows.rows, first + lane);
    const float* squares = rows.squares + rows.rows.image[row] * rows.squares_apart;
    const float* power = powers + rows.rows.label[row] * plan.rings;
    double norm = 0;
    for (int r = 0; r < plan.rings; ++r) norm += power[r] * squares[r];
    const double sign = placed.mirror[lane] ? -1 : 1;
    double* pose = refined.poses + 4 * row;
    pose[0] = sign * placed.turn[lane], pose[1] = sign * placed.x[lane], pose[2] = placed.y[lane];
    refined.score[row] = static_cast<float>(hills.value[lane] - norm);
  }
}

}  // namespace
}  // namespace cryoisac::VARIANT

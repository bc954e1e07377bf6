// The search over shifted references in real space: rings are sampled around each row's offset once, and references
// around shifted centres.

#include "fast.hpp"

#include "compress.hpp"
#include "kernels.hpp"
#include "lanes.hpp"
#include "sampling.hpp"
#include "shifts.hpp"

namespace cryoisac::VARIANT {
namespace {

struct FastScratch {
  Scratch sampling;
  ShiftScratch shifts;
  Block blocks[kGroup];
};

std::size_t fast_layout(const Plan& plan, const Basis& basis, char* at, FastScratch* scratch) {
  std::size_t used = scratch_layout(plan, 0, at, scratch ? &scratch->sampling : nullptr);
  used += shift_layout(plan, basis, at + used, scratch ? &scratch->shifts : nullptr);
  return used + block_layout(plan, basis, kGroup, at + used, scratch ? scratch->blocks : nullptr);
}

std::size_t fast_scratch_bytes(const Plan& plan, const Basis& basis) {
  return fast_layout(plan, basis, nullptr, nullptr);
}

Room load_room(const Shifts& shifts, const FastRows& rows, std::int64_t first) {
  Room room;
  for (int lane = 0; lane < kLanes; ++lane) {
    const float* own = rows.room + 4 * row_at(rows.rows, first + lane);
    room.left[lane] = own[0], room.right[lane] = own[1], room.down[lane] = own[2], room.up[lane] = own[3];
  }
  const float far = shifts.furthest;
  room.ample = (room.left >= far) & (room.right >= far) & (room.down >= far) & (room.up >= far);
  return room;
}

void load_block(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stack& stack, const FastRows& rows,
                std::int64_t first, const Scratch& sampling, Block* block) {
  const Lanes lanes = load_lanes(plan, stack, rows.rows, first);
  Floats gap_x, gap_y;
  fill_region(plan, lanes, 0, 0, sampling.region, &gap_x, &gap_y);
  block->room = load_room(shifts, rows, first);
  block->scale = trial_spectra(plan, lanes, sampling.region, gap_x, gap_y, sampling, plan.normalise);
  weigh(plan, false, sampling.spectra);
  project(plan, basis, sampling.spectra, block->coefficients);
}

void score(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stack& stack, const FastRows& rows,
           std::int64_t first, int blocks, const Panel& panel, float* scores, void* memory) {
  FastScratch scratch;
  fast_layout(plan, basis, static_cast<char*>(memory), &scratch);
  for (int b = 0; b < blocks && first + b * kLanes < rows.rows.count; ++b) {
    load_block(plan, basis, shifts, stack, rows, first + b * kLanes, scratch.sampling, &scratch.blocks[b]);
  }
  score_blocks(plan, basis, shifts, panel, scratch.blocks, blocks, first, rows.rows.count, scores, scratch.shifts);
}

void match(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stack& stack, const FastRows& rows,
           std::int64_t first, const Panel& panel, const Found& found, void* memory) {
  FastScratch scratch;
  fast_layout(plan, basis, static_cast<char*>(memory), &scratch);
  load_block(plan, basis, shifts, stack, rows, first, scratch.sampling, &scratch.blocks[0]);
  match_block(plan, basis, shifts, panel, scratch.blocks[0], rows.rows, first, found, scratch.shifts);
}

// References [first, first + lanes), each in the middle of its box, open to every shift.
Lanes load_references(const Plan& plan, const float* references, std::int64_t first, std::int64_t count) {
  Lanes lanes = {};
  const Ints far = all(1 << 30);
  lanes.left = lanes.right = lanes.down = lanes.up = far;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < count ? first + lane : count - 1;
    lanes.image[lane] = references + at * plan.box * plan.box;
    lanes.centre_x[lane] = lanes.centre_y[lane] = plan.box / 2;
  }
  return lanes;
}

void prepare(const Plan& plan, const Basis& basis, const Shifts& shifts, const float* references, std::int64_t first,
             std::int64_t count, float* panel, void* memory) {
  FastScratch scratch;
  fast_layout(plan, basis, static_cast<char*>(memory), &scratch);
  Pair* coefficients = scratch.blocks[0].coefficients;
  const Lanes lanes = load_references(plan, references, first, count);
  each_trial(plan, lanes, scratch.sampling, [&](int x, int y, Ints, Floats) {
    const int shift = (y + shifts.count / shifts.side / 2) * shifts.side + x + shifts.side / 2;
    weigh(plan, true, scratch.sampling.spectra);
    project(plan, basis, scratch.sampling.spectra, coefficients);
    for (int lane = 0; lane < kLanes && first + lane < count; ++lane) {
      float* own = panel + 2 * ((first + lane) * shifts.count + shift) * basis.coefficients;
      store_lane(coefficients, basis.coefficients, lane, own);
    }
  });
}

std::size_t moments_scratch_bytes(const Plan& plan) {
  return scratch_layout(plan, 0, nullptr, nullptr) + moments_size(plan) * sizeof(Floats);
}

void moments(const Plan& plan, const float* references, std::int64_t first, std::int64_t count, double* out,
             void* memory) {
  Scratch scratch = scratch_at(plan, 0, memory);
  Floats* sums = reinterpret_cast<Floats*>(static_cast<char*>(memory) + scratch_layout(plan, 0, nullptr, nullptr));
  const std::size_t size = moments_size(plan);
  for (std::size_t i = 0; i < size; ++i) sums[i] = Floats{};
  const Lanes lanes = load_references(plan, references, first, count);
  each_trial(plan, lanes, scratch, [&](int, int, Ints, Floats) {
    weigh(plan, true, scratch.spectra);
    add_moments(plan, one_over_energy(plan, scratch.spectra, count - first, false), scratch.spectra, sums);
  });
  gather_moments(plan, sums, out);
}

}  // namespace

extern const FastKernels fast_kernels = {fast_scratch_bytes, moments_scratch_bytes, moments, prepare, score, match};

}  // namespace cryoisac::VARIANT

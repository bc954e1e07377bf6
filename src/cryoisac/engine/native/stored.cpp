// The search over shifted references for stored rings of Hartley transforms: rows come from memory, and references are
// shifted by phases.

#include "stored.hpp"

#include "compress.hpp"
#include "lanes.hpp"
#include "loading.hpp"
#include "refining.hpp"
#include "shifts.hpp"
#include "spectra.hpp"
#include "turning.hpp"

namespace cryoisac::VARIANT {
namespace {

struct StoredScratch {
  Complex* ring;  // [longest / 2]
  Pair* spectra;  // [coefficient]
  ShiftScratch shifts;
  Block blocks[kGroup];
};

std::size_t spectra_layout(const Plan& plan, char* at, StoredScratch* scratch) {
  const std::size_t ring = plan.longest / 2 * sizeof(Complex);
  if (scratch) {
    scratch->ring = reinterpret_cast<Complex*>(at);
    scratch->spectra = reinterpret_cast<Pair*>(at + ring);
  }
  return ring + plan.coefficients * sizeof(Pair);
}

std::size_t stored_layout(const Plan& plan, const Basis& basis, char* at, StoredScratch* scratch) {
  std::size_t used = spectra_layout(plan, at, scratch);
  used += shift_layout(plan, basis, at + used, scratch ? &scratch->shifts : nullptr);
  return used + block_layout(plan, basis, kGroup, at + used, scratch ? scratch->blocks : nullptr);
}

std::size_t stored_scratch_bytes(const Plan& plan, const Basis& basis) {
  return stored_layout(plan, basis, nullptr, nullptr);
}

// Samples, weights and transforms of each lane's rings, moved by each lane's shift where one is given.
void load_spectra(const Plan& plan, const float* const* rows, const Floats* shift, const StoredScratch& scratch) {
  Floats* ring = reinterpret_cast<Floats*>(scratch.ring);
  for (int r = 0, first = 0; r < plan.rings; first += plan.lengths[r], ++r) {
    load_ring(rows, first, plan.lengths[r], ring);
    if (shift) move_ring(plan, first, plan.lengths[r], shift[0], shift[1], ring);
    transform_ring(plan, r, scratch.ring, scratch.spectra);
  }
  weigh(plan, shift != nullptr, scratch.spectra);
}

void load_block(const Plan& plan, const Basis& basis, const StoredRows& rows, std::int64_t first,
                const StoredScratch& scratch, Block* block) {
  const float* own[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t image = rows.rows.image[row_at(rows.rows, first + lane)];
    own[lane] = rows.images.samples + image * rows.images.apart;
    for (int r = 0; r < plan.rings; ++r) block->squares[r][lane] = rows.squares[image * rows.squares_apart + r];
  }
  load_spectra(plan, own, nullptr, scratch);
  project(plan, basis, scratch.spectra, block->coefficients);
  block->room.ample = all(-1);
  block->scale = all(1.0f);
}

void score(const Plan& plan, const Basis& basis, const Shifts& shifts, const StoredRows& rows, std::int64_t first,
           int blocks, const Panel& panel, float* scores, void* memory) {
  StoredScratch scratch;
  stored_layout(plan, basis, static_cast<char*>(memory), &scratch);
  for (int b = 0; b < blocks && first + b * kLanes < rows.rows.count; ++b) {
    load_block(plan, basis, rows, first + b * kLanes, scratch, &scratch.blocks[b]);
  }
  score_blocks(plan, basis, shifts, panel, scratch.blocks, blocks, first, rows.rows.count, scores, scratch.shifts);
}

void match(const Plan& plan, const Basis& basis, const Shifts& shifts, const StoredRows& rows, std::int64_t first,
           const Panel& panel, const Found& found, void* memory) {
  StoredScratch scratch;
  stored_layout(plan, basis, static_cast<char*>(memory), &scratch);
  load_block(plan, basis, rows, first, scratch, &scratch.blocks[0]);
  match_block(plan, basis, shifts, panel, scratch.blocks[0], rows.rows, first, found, scratch.shifts);
}

// Spectra of references at shifts, of pairs [first, first + lanes): a reference moves against the image's shift.
void load_pairs(const Plan& plan, const Shifts& shifts, const Stored& references, std::int64_t first,
                std::int64_t pairs, const StoredScratch& scratch) {
  const float* own[kLanes];
  Floats shift[2];
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t pair = first + lane < pairs ? first + lane : pairs - 1;
    own[lane] = references.samples + pair / shifts.count * references.apart;
    const float* at = shifts.at + 2 * (pair % shifts.count);
    shift[0][lane] = -at[0], shift[1][lane] = -at[1];
  }
  load_spectra(plan, own, shift, scratch);
}

void prepare(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stored& references, std::int64_t first,
             std::int64_t pairs, float* panel, void* memory) {
  StoredScratch scratch;
  stored_layout(plan, basis, static_cast<char*>(memory), &scratch);
  load_pairs(plan, shifts, references, first, pairs, scratch);
  Pair* coefficients = scratch.blocks[0].coefficients;
  project(plan, basis, scratch.spectra, coefficients);
  for (int lane = 0; lane < kLanes && first + lane < pairs; ++lane) {
    store_lane(coefficients, basis.coefficients, lane, panel + 2 * (first + lane) * basis.coefficients);
  }
}

std::size_t stored_moments_scratch_bytes(const Plan& plan) {
  return spectra_layout(plan, nullptr, nullptr) + moments_size(plan) * sizeof(Floats);
}

void moments(const Plan& plan, const Shifts& shifts, const Stored& references, std::int64_t first, std::int64_t last,
             double* out, void* memory) {
  StoredScratch scratch;
  Floats* sums = reinterpret_cast<Floats*>(static_cast<char*>(memory) +
                                           spectra_layout(plan, static_cast<char*>(memory), &scratch));
  const std::size_t size = moments_size(plan);
  for (std::size_t i = 0; i < size; ++i) sums[i] = Floats{};
  for (; first < last; first += kLanes) {
    load_pairs(plan, shifts, references, first, last, scratch);
    add_moments(plan, one_over_energy(plan, scratch.spectra, last - first, true), scratch.spectra, sums);
  }
  gather_moments(plan, sums, out);
}

}  // namespace

extern const StoredKernels stored_kernels = {
    stored_scratch_bytes, stored_moments_scratch_bytes, refine_scratch_bytes, total_scratch_bytes, moments, prepare,
    score, match, refine, total};

}  // namespace cryoisac::VARIANT

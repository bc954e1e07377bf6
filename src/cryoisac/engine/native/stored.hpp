// The likelihood of stored rings: the search over shifted references, poses between its samples, and sums of classes.
#pragma once

#include <cstdint>

#include "fast.hpp"
#include "kernels.hpp"

namespace cryoisac {

// Rings [row][sample], rows ``apart`` samples apart; a search may use the first rings only.
struct Stored {
  const float* samples;
  std::int64_t apart;
};

struct StoredRows {
  Rows rows;  // images, labels, order
  Stored images;
  const float* squares;  // [image][ring] mean squared CTF
  std::int64_t squares_apart;
};

// What a pose search between samples starts from, and finds.
struct Refined {
  double* poses;  // [row][4] angle in radians, shift x, y in pixels, mirror; as model.poses has them
  float* score;
};

struct StoredKernels {
  std::size_t (*scratch_bytes)(const Plan&, const Basis&);
  std::size_t (*moments_scratch_bytes)(const Plan&);
  std::size_t (*refine_scratch_bytes)(const Plan&);
  std::size_t (*total_scratch_bytes)(const Plan&);
  // Pairs of a reference and a shift, reference after reference: the moments of pairs [first, last) are added to moments
  // [order][ring][ring]; the coefficients of pairs [first, first + lanes) are put into panel [pair][coefficient][2].
  void (*moments)(const Plan&, const Shifts&, const Stored& references, std::int64_t first, std::int64_t last,
                  double* moments, void* scratch);
  void (*prepare)(const Plan&, const Basis&, const Shifts&, const Stored& references, std::int64_t first,
                  std::int64_t pairs, float* panel, void* scratch);
  void (*score)(const Plan&, const Basis&, const Shifts&, const StoredRows&, std::int64_t first, int blocks,
                const Panel&, float* scores, void* scratch);
  void (*match)(const Plan&, const Basis&, const Shifts&, const StoredRows&, std::int64_t first, const Panel&,
                const Found&, void* scratch);
  // Poses of the rows at positions [first, first + lanes), on references whose powers are as in a panel.
  void (*refine)(const Plan&, const StoredRows&, std::int64_t first, const Stored& references, const float* powers,
                 const Refined&, void* scratch);
  // Adds the rings of the rows at positions [first, last), turned and shifted, to sum.
  void (*total)(const Plan&, const StoredRows&, std::int64_t first, std::int64_t last, const double* poses, double* sum,
                void* scratch);
};

namespace baseline { extern const StoredKernels stored_kernels; }
namespace avx2 { extern const StoredKernels stored_kernels; }
namespace avx512 { extern const StoredKernels stored_kernels; }

}  // namespace cryoisac

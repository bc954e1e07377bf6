// What the kernels are given and what they offer. Every kernel is compiled once for each instruction set.
//
// Rows are worked on in blocks: one row a SIMD lane. Names: order = angular frequency, coefficient = one order of one
// ring, place = where an order lies after an in-place transform.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cryoisac {

constexpr int kSizes = 17;  // transforms of 2^0 ... 2^16 points

// One axis of the trial shifts: i * step = whole + phase, phase in [0, 1).
struct Trial {
  int i;
  int whole;
  int phase;
};

struct Axis {
  const Trial* trials;
  int count;
  const double* phases;
  int phase_count;
  int lowest;  // smallest whole part
  int side;    // pixels of the region along this axis
};

// A search, and the tables that follow from it.
struct Plan {
  int box;
  int rings;
  int longest;
  int last_radius;
  int stride;  // samples between the angles tried
  bool refine;  // peaks between samples
  bool normalise;
  bool mirror;
  double total_weight;
  const int* lengths;             // [ring]
  const float* sample_weights;    // [ring]
  const float* reference_weights; // [ring], divided by the longest length
  const int* corner;              // [sample] pixel of the region at the sample's lower corner, at the lowest shift
  const float* fraction_x;        // [sample]
  const float* fraction_y;        // [sample]
  const float* points;            // [sample][2], x, y over the side of the box
  int coefficients;
  const int* first_ring;          // [order] innermost ring that has it
  const int* start;               // [order] its first coefficient
  const float* twiddles[kSizes];  // [size/4][3][2]: cos, sin of 2 pi j m / size, m = 1, 2, 3
  const float* split[kSizes];     // [size/4][2]: cos, sin of 2 pi k / size
  const int* place[kSizes];       // [order]
  Axis x, y;
};

// The images that rows point into.
struct Stack {
  const float* pixels;
  const float* means;  // taken off before sampling where rings are normalised
  std::int64_t count;
};

struct Rows {
  const std::int64_t* image;
  const double* offset;   // [row][2], x, y
  const int* reach;       // [row][4], trial steps towards -x, +x, -y, +y; null for none
  const std::int64_t* label;
  const std::int64_t* order;  // the row that each position holds; null when rows are taken as they come
  std::int64_t count;
};

// The row that a position of a block holds; beyond the last, the last one again.
static inline std::int64_t row_at(const Rows& rows, std::int64_t position) {
  const std::int64_t at = position < rows.count ? position : rows.count - 1;
  return rows.order ? rows.order[at] : at;
}

struct Found {
  float* score;
  double* position;  // of the peak, in samples
  int* trial;        // [row][2], steps along x, y
  int* shift;        // [row], of the reference, where references are shifted
  std::uint8_t* mirror;
};

// Pose of one image, ready for use: cos, sin, shift.
struct Placement {
  double cosine, sine, x, y;
  bool mirror;
};

// How images of one shape are moved: what a point between pixels takes, and one outside.
enum class Between { linear, quadratic, cubic, window };
enum class Beyond { own, repeat, fill };

struct Moving {
  int rows, columns;
  Between between;
  Beyond beyond;
  float fill;
  const float* window;  // [kWindowSteps + 2][kTaps] weights of the window for each fraction
};

constexpr int kTaps = 8;            // of the window, in pixels of the fine grid
constexpr int kWindowSteps = 2048;  // fractions of a pixel at which the window is tabulated

struct FastKernels;
struct StoredKernels;
struct RingKernels;

struct Kernels {
  const char* name;
  int lanes;
  std::size_t (*scratch_bytes)(const Plan&, std::int64_t references);
  // Spectra of references [first, first + lanes) into panel [reference][coefficient][2].
  void (*prepare)(const Plan&, const float* references, std::int64_t first, std::int64_t count, float* panel,
                  void* scratch);
  // Scores of rows [first, first + lanes) with every reference.
  void (*score)(const Plan&, const Stack&, const Rows&, std::int64_t first, const float* panel,
                std::int64_t references, float* scores, void* scratch);
  // Best poses of the rows at positions [first, first + lanes).
  void (*match)(const Plan&, const Stack&, const Rows&, std::int64_t first, const float* panel, const Found&,
                void* scratch);
  // One image under a pose, written to out or added to sum (whichever is not null); line has 5 * box floats.
  void (*warp)(const float* image, int box, const Placement&, float* out, double* sum, float* line);
  // One image under a pose, of any shape and by any rule; fine is the image on a grid twice as fine with kTaps - 1 wrapped
  // pixels around, for the window alone; line has 8 * columns floats, at a multiple of 8 bytes.
  void (*move)(const Moving&, const float* image, const float* fine, const Placement&, float* out, double* sum,
               float* line);
  const FastKernels* fast;
  const StoredKernels* stored;
  const RingKernels* rings;
};

namespace baseline { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }

}  // namespace cryoisac

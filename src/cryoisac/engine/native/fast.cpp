// Scores and poses of rows on shifted references, by the coefficients of a radial basis: the spectra of search.cpp, but
// summed over few coefficients instead of rings. The best shift is chosen from as many angles as the main orders need;
// its peak is then looked for at all angles.

#include "fast.hpp"

#include "compress.hpp"
#include "fourier.hpp"
#include "kernels.hpp"
#include "lanes.hpp"
#include "peaks.hpp"
#include "sampling.hpp"

namespace cryoisac::VARIANT {
namespace {

constexpr float kNear = 1e-4f;  // pixels, so that rounding does not decide about a whole step

// Spectra of correlations with Tile references: the values of each order kept and of its negative.
template <int Tile>
void multiply(const Basis& basis, const Pair* x, const float* const* panels, Complex* products) {
  for (int i = 0; i < basis.orders; ++i) {
    Complex up[Tile] = {}, down[Tile] = {};
    for (int c = basis.start[i]; c < basis.start[i + 1]; ++c) {
      const Pair p = x[c];
      for (int t = 0; t < Tile; ++t) {
        const float plus = panels[t][2 * c], minus = panels[t][2 * c + 1];
        up[t].re += p.plus * plus;
        up[t].im += p.minus * plus;
        down[t].re += p.minus * minus;
        down[t].im += p.plus * minus;
      }
    }
    for (int t = 0; t < Tile; ++t) {
      Complex* out = products + t * product_size(basis) + 2 * i;
      out[0] = up[t];
      out[1] = down[t];
    }
  }
}

// Room of the lanes' centres, and for which of them every shift keeps within it at all angles.
struct Room {
  Floats left, right, down, up;
  Ints ample;
};

Room load_room(const Shifts& shifts, const FastRows& rows, std::int64_t first) {
  Room room;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < rows.rows.count ? first + lane : rows.rows.count - 1;
    const float* own = rows.room + 4 * (rows.rows.order ? rows.rows.order[at] : at);
    room.left[lane] = own[0], room.right[lane] = own[1], room.down[lane] = own[2], room.up[lane] = own[3];
  }
  const float far = shifts.furthest;
  room.ample = (room.left >= far) & (room.right >= far) & (room.down >= far) & (room.up >= far);
  return room;
}

// Lanes whose centre may move as a shift of the reference by (dx, dy) means at an angle.
inline Ints allowed(const Room& room, Floats dx, Floats dy, float cosine, float sine) {
  const Floats x = sine * dy - cosine * dx, y = -sine * dx - cosine * dy;
  return (x >= -room.left - kNear) & (x <= room.right + kNear) & (y >= -room.down - kNear) & (y <= room.up + kNear);
}

struct Peak {
  Floats value;
  Ints index, mirror;
};

// The largest of a transformed curve over the angles tried and allowed; of equal ones the straight, then the last.
Peak scan(const Plan& plan, const Basis& basis, const Complex* curve, int n, int stride, const Room& room, Floats dx,
          Floats dy) {
  const int* place = plan.place[log2_of(n)];
  const Floats none = all(-__builtin_inff());
  Complex top = {none, none};
  Ints at_re = {}, at_im = {};
  const bool limited = any(~room.ample);
  for (int k = 0; k < n; k += stride) {
    Complex z = curve[place[k]];
    if (limited) {
      const float* turn = basis.turns + 2 * static_cast<std::ptrdiff_t>(k) * (plan.longest / n);
      z.re = allowed(room, dx, dy, turn[0], turn[1]) ? z.re : none;
      z.im = allowed(room, -dx, dy, turn[0], turn[1]) ? z.im : none;
    }
    const Ints more_re = z.re >= top.re, more_im = z.im >= top.im;
    top = {more_re ? z.re : top.re, more_im ? z.im : top.im};
    at_re = more_re ? all(k) : at_re;
    at_im = more_im ? all(k) : at_im;
  }
  const Ints mirror = plan.mirror ? top.im > top.re : Ints{};
  return {mirror ? top.im : top.re, mirror ? at_im : at_re, mirror};
}

// The spectrum of n angles, laid out for a transform in place.
void spread(const Complex* product, const int* source, int n, Complex* curve) {
  for (int k = 0; k < n; ++k) curve[k] = product[source[k]];
}

// The largest real and imaginary parts over all angles of a correlation.
Complex largest_anywhere(const Plan& plan, const Basis& basis, const Complex* product, Complex* curve) {
  const int n = basis.angles, part = n / 8;
  if (part < 2) {
    spread(product, basis.source, n, curve);
    return transform_largest(curve, n, plan);
  }
  eighths(product, basis.source, n, basis.turns, plan.longest / n, curve);
  Complex top = transform_largest(curve, part, plan);
  for (int p = 1; p < 8; ++p) {
    const Complex other = transform_largest(curve + p * part, part, plan);
    top = {larger(top.re, other.re), larger(top.im, other.im)};
  }
  return top;
}

// The largest correlation at a shift of the reference by (dx, dy). Lanes short of room must not change what others get.
Floats largest(const Plan& plan, const Basis& basis, const Complex* product, const Room& room, float dx, float dy,
               Complex* curve) {
  Floats value = {};
  if (basis.stride == 1) {
    const Complex top = largest_anywhere(plan, basis, product, curve);
    value = plan.mirror ? larger(top.re, top.im) : top.re;
    if (!any(~room.ample)) return value;
  }
  spread(product, basis.source, basis.angles, curve);
  transform<1>(curve, basis.angles, plan);
  const Peak peak = scan(plan, basis, curve, basis.angles, basis.stride, room, all(dx), all(dy));
  return room.ample & (basis.stride == 1) ? value : peak.value;
}

// A block of rows, ready for products.
struct Block {
  FastScratch scratch;
  Room room;
  Floats scale;
};

Block load_block(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stack& stack, const FastRows& rows,
                 std::int64_t first, void* memory) {
  Block block = {fast_scratch_at(plan, basis, memory), load_room(shifts, rows, first), {}};
  const Scratch& sampling = block.scratch.sampling;
  const Lanes lanes = load_lanes(plan, stack, rows.rows, first);
  Floats gap_x, gap_y;
  fill_region(plan, lanes, 0, 0, sampling.region, &gap_x, &gap_y);
  block.scale = trial_spectra(plan, lanes, sampling.region, gap_x, gap_y, sampling, plan.normalise);
  weigh(plan, false, sampling.spectra);
  project(plan, basis, sampling.spectra, block.scratch.coefficients);
  return block;
}

// Calls visit(shift, largest correlation of each lane, spectra) for every shift of one reference.
template <class Visit>
void each_shift(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block, const float* panel,
                Visit visit) {
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(basis.coefficients);
  Complex* products = block.scratch.products;
  for (int s = 0; s < shifts.count;) {
    const int tile = shifts.count - s >= kTile ? kTile : 1;
    const float* panels[kTile];
    for (int t = 0; t < tile; ++t) panels[t] = panel + (s + t) * apart;
    if (tile == kTile) multiply<kTile>(basis, block.scratch.coefficients, panels, products);
    else multiply<1>(basis, block.scratch.coefficients, panels, products);
    for (int t = 0; t < tile; ++t, ++s) {
      const Complex* product = products + t * product_size(basis);
      visit(s, block.scale * largest(plan, basis, product, block.room, shifts.at[2 * s], shifts.at[2 * s + 1],
                                     block.scratch.curve),
            product);
    }
  }
}

// What a search over shifts has found: of each lane the best value, its shift, and its spectrum.
struct Best {
  Floats score;
  Ints shift;
};

// Searches the shifts of one reference for some lanes; leaves the spectra of their best in block.scratch.best.
void search_shifts(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block, const float* panel,
                   Ints lanes, Best* best) {
  Complex* kept = block.scratch.best;
  each_shift(plan, basis, shifts, block, panel, [&](int s, Floats value, const Complex* product) {
    const Ints better = lanes & (value >= best->score);
    if (!any(better)) return;
    best->score = better ? value : best->score;
    best->shift = better ? all(s) : best->shift;
    for (int i = 0; i < 2 * basis.orders; ++i) {
      kept[i] = {better ? product[i].re : kept[i].re, better ? product[i].im : kept[i].im};
    }
  });
}

// The peak at the best shifts, over all angles of the longest ring; its curve is left in block.scratch.curve.
Peak finest(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block, Ints shift) {
  const int n = plan.refine ? plan.longest : basis.angles;
  Floats dx, dy;
  for (int lane = 0; lane < kLanes; ++lane) {
    dx[lane] = shifts.at[2 * shift[lane]], dy[lane] = shifts.at[2 * shift[lane] + 1];
  }
  Complex* curve = block.scratch.curve;
  spread(block.scratch.best, plan.refine ? basis.source_longest : basis.source, n, curve);
  transform<1>(curve, n, plan);
  return scan(plan, basis, curve, n, plan.refine ? 1 : basis.stride, block.room, dx, dy);
}

void score(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stack& stack, const FastRows& rows,
           std::int64_t first, const float* panel, std::int64_t references, float* scores, void* memory) {
  const Block block = load_block(plan, basis, shifts, stack, rows, first, memory);
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(basis.coefficients) * shifts.count;
  for (std::int64_t k = 0; k < references; ++k) {
    Best best = {all(-__builtin_inff()), all(shifts.count / 2)};
    search_shifts(plan, basis, shifts, block, panel + k * apart, all(-1), &best);
    const Floats value = block.scale * finest(plan, basis, shifts, block, best.shift).value;
    for (int lane = 0; lane < kLanes && first + lane < rows.rows.count; ++lane) {
      scores[(first + lane) * references + k] = value[lane];
    }
  }
}

// Every lane on the reference that its label names: one search for each label that the block holds.
Best search_own(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block,
                const std::int64_t* label, const float* panel) {
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(basis.coefficients) * shifts.count;
  Best best = {all(-__builtin_inff()), all(shifts.count / 2)};
  for (int lane = 0; lane < kLanes; ++lane) {
    Ints own = {};
    bool seen = false;
    for (int other = 0; other < kLanes; ++other) {
      own[other] = label[other] == label[lane] ? -1 : 0;
      seen |= other < lane && own[other];
    }
    if (!seen) search_shifts(plan, basis, shifts, block, panel + label[lane] * apart, own, &best);
  }
  return best;
}

void match(const Plan& plan, const Basis& basis, const Shifts& shifts, const Stack& stack, const FastRows& rows,
           std::int64_t first, const float* panel, const Found& found, void* memory) {
  const Block block = load_block(plan, basis, shifts, stack, rows, first, memory);
  std::int64_t label[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t at = first + lane < rows.rows.count ? first + lane : rows.rows.count - 1;
    label[lane] = rows.rows.label[rows.rows.order[at]];
  }
  const Ints shift = search_own(plan, basis, shifts, block, label, panel).shift;
  const Peak peak = finest(plan, basis, shifts, block, shift);
  const Floats value = block.scale * peak.value;
  const int rise = shifts.count / shifts.side;
  for (int lane = 0; lane < kLanes && first + lane < rows.rows.count; ++lane) {
    const std::int64_t row = rows.rows.order[first + lane];
    const bool mirror = peak.mirror[lane] != 0;
    found.score[row] = value[lane];
    found.position[row] = plan.refine
                              ? refine(plan, block.scratch.curve, lane, peak.index[lane], mirror)
                              : static_cast<double>(peak.index[lane]) * (plan.longest / basis.angles);
    found.trial[2 * row] = shift[lane] % shifts.side - shifts.side / 2;
    found.trial[2 * row + 1] = shift[lane] / shifts.side - rise / 2;
    found.mirror[row] = mirror;
  }
}

void prepare(const Plan& plan, const Basis& basis, const Shifts& shifts, const float* references, std::int64_t first,
             std::int64_t count, float* panel, void* memory) {
  const FastScratch scratch = fast_scratch_at(plan, basis, memory);
  const Lanes lanes = load_references(plan, references, first, count);
  each_trial(plan, lanes, scratch.sampling, [&](int x, int y, Ints, Floats) {
    const int shift = (y + shifts.count / shifts.side / 2) * shifts.side + x + shifts.side / 2;
    weigh(plan, true, scratch.sampling.spectra);
    project(plan, basis, scratch.sampling.spectra, scratch.coefficients);
    for (int lane = 0; lane < kLanes && first + lane < count; ++lane) {
      float* y = panel + 2 * ((first + lane) * shifts.count + shift) * basis.coefficients;
      for (int c = 0; c < basis.coefficients; ++c) {
        y[2 * c] = scratch.coefficients[c].plus[lane];
        y[2 * c + 1] = scratch.coefficients[c].minus[lane];
      }
    }
  });
}

}  // namespace

extern const FastKernels fast_kernels = {fast_scratch_bytes, moments_scratch_bytes, moments, prepare, score, match};

}  // namespace cryoisac::VARIANT

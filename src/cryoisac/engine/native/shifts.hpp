// The search over shifted references, by the coefficients of a radial basis: the spectra of search.cpp, but summed over
// few coefficients instead of rings. The best shift is chosen from as many angles as the main orders need; its peak is
// then looked for at all angles. Where the samples of rings come from, and how references were shifted, is not seen here.
#pragma once

#include "compress.hpp"
#include "fast.hpp"
#include "fourier.hpp"
#include "lanes.hpp"
#include "peaks.hpp"
#include "spectra.hpp"

namespace cryoisac::VARIANT {
namespace {

constexpr float kNear = 1e-4f;  // pixels, so that rounding does not decide about a whole step

// How far the lanes' centres may move, and for which of them every shift keeps within that at all angles.
struct Room {
  Floats left, right, down, up;
  Ints ample;
};

// A block of rows, one a lane, ready for products.
struct Block {
  Pair* coefficients;  // [coefficient]
  Floats* squares;     // [ring] squared CTF, from which norms follow; unused without powers
  Room room;
  Floats scale;
};

// Memory of a search over shifts.
struct ShiftScratch {
  Complex* products;  // [tile][product_size]
  Complex* best;      // [product_size] of the best shifts
  Complex* curve;     // [longest]
};

// Values of a correlation's spectrum that are worked out, and a zero for all the others.
inline int product_size(const Basis& basis) { return 2 * basis.orders + 1; }

std::size_t shift_layout(const Plan& plan, const Basis& basis, char* at, ShiftScratch* scratch) {
  const std::size_t product = product_size(basis), size = sizeof(Complex);
  if (scratch) {
    *scratch = {reinterpret_cast<Complex*>(at), reinterpret_cast<Complex*>(at + product * kTile * size),
                reinterpret_cast<Complex*>(at + product * (kTile + 1) * size)};
    for (std::size_t t = 1; t <= kTile; ++t) scratch->products[t * product - 1] = Complex{};
    for (std::size_t i = 0; i < product; ++i) scratch->best[i] = Complex{};
  }
  return (product * (kTile + 1) + plan.longest) * size;
}

// Memory of several blocks of rows.
std::size_t block_layout(const Plan& plan, const Basis& basis, int count, char* at, Block* blocks) {
  const std::size_t own = (2 * std::size_t(basis.coefficients) + plan.rings) * sizeof(Floats);
  for (int b = 0; blocks && b < count; ++b) {
    blocks[b].coefficients = reinterpret_cast<Pair*>(at + b * own);
    blocks[b].squares = reinterpret_cast<Floats*>(blocks[b].coefficients + basis.coefficients);
  }
  return count * own;
}

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
    top = larger(top, transform_largest(curve + p * part, part, plan));
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

// What a search over shifts has found: of each lane the best value, and its shift.
struct Best {
  Floats score;
  Ints shift;
};

// Of lanes in which no shift has a value, because an image is not finite, there is no peak either.
Floats peak_value(const Best& best, const Block& block, const Peak& peak) {
  return best.score > -__builtin_inff() ? block.scale * peak.value : all(__builtin_nanf(""));
}

Best none_yet(const Shifts& shifts) { return {all(-__builtin_inff()), all(shifts.count / 2)}; }

// Spectra of correlations with Tile shifts of a reference; of the lanes that one of them betters, keeps the spectra.
template <int Tile>
void search_tile(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block, const float* panel,
                 int first, Ints lanes, const ShiftScratch& scratch, Best* best) {
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(basis.coefficients);
  const int size = product_size(basis);
  const float* panels[Tile];
  for (int t = 0; t < Tile; ++t) panels[t] = panel + (first + t) * apart;
  multiply<Tile>(basis, block.coefficients, panels, scratch.products);
  Ints winner = all(-1);
  for (int t = 0; t < Tile; ++t) {
    const int s = first + t;
    const Floats value = block.scale * largest(plan, basis, scratch.products + t * size, block.room, shifts.at[2 * s],
                                               shifts.at[2 * s + 1], scratch.curve);
    const Ints better = lanes & (value >= best->score);
    best->score = better ? value : best->score;
    winner = better ? all(t) : winner;
  }
  if (!any(winner >= 0)) return;
  best->shift = winner >= 0 ? first + winner : best->shift;
  for (int i = 0; i < 2 * basis.orders; ++i) {
    Complex kept = scratch.best[i];
    for (int t = 0; t < Tile; ++t) {
      const Complex product = scratch.products[t * size + i];
      kept = {winner == t ? product.re : kept.re, winner == t ? product.im : kept.im};
    }
    scratch.best[i] = kept;
  }
}

// Searches the shifts of one reference for some lanes; leaves the spectra of their best in scratch.best.
void search_shifts(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block, const float* panel,
                   Ints lanes, const ShiftScratch& scratch, Best* best) {
  int s = 0;
  const auto search = [&]<int Tile>() {
    for (; s + Tile <= shifts.count; s += Tile) {
      search_tile<Tile>(plan, basis, shifts, block, panel, s, lanes, scratch, best);
    }
  };
  search.template operator()<kTile>();
  search.template operator()<kTile / 2>();
  search.template operator()<1>();
}

// The peak at the best shifts, over all angles of the longest ring; its curve is left in scratch.curve.
Peak finest(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block, Ints shift,
            const ShiftScratch& scratch) {
  const int n = plan.refine ? plan.longest : basis.angles;
  Floats dx, dy;
  for (int lane = 0; lane < kLanes; ++lane) {
    dx[lane] = shifts.at[2 * shift[lane]], dy[lane] = shifts.at[2 * shift[lane] + 1];
  }
  spread(scratch.best, plan.refine ? basis.source_longest : basis.source, n, scratch.curve);
  transform<1>(scratch.curve, n, plan);
  return scan(plan, basis, scratch.curve, n, plan.refine ? 1 : basis.stride, block.room, dx, dy);
}

// What a lane's reference takes off its correlation, whatever the pose.
float norm(const Plan& plan, const Panel& panel, std::int64_t reference, const Block& block, int lane) {
  if (!panel.powers) return 0;
  const float* power = panel.powers + reference * plan.rings;
  float sum = 0;
  for (int r = 0; r < plan.rings; ++r) sum += power[r] * block.squares[r][lane];
  return sum;
}

// Scores of loaded blocks, whose first row is given, with every reference: a reference stays near while blocks pass.
void score_blocks(const Plan& plan, const Basis& basis, const Shifts& shifts, const Panel& panel, const Block* blocks,
                  int count, std::int64_t first, std::int64_t rows, float* scores, const ShiftScratch& scratch) {
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(basis.coefficients) * shifts.count;
  for (std::int64_t k = 0; k < panel.references; ++k) {
    for (int b = 0; b < count && first + b * kLanes < rows; ++b) {
      Best best = none_yet(shifts);
      search_shifts(plan, basis, shifts, blocks[b], panel.coefficients + k * apart, all(-1), scratch, &best);
      const Peak peak = finest(plan, basis, shifts, blocks[b], best.shift, scratch);
      const Floats value = peak_value(best, blocks[b], peak);
      for (std::int64_t lane = 0, row = first + b * kLanes; lane < kLanes && row < rows; ++lane, ++row) {
        scores[row * panel.references + k] = value[lane] - norm(plan, panel, k, blocks[b], lane);
      }
    }
  }
}

// Every lane on the reference that its label names: one search for each label that the block holds.
Best search_own(const Plan& plan, const Basis& basis, const Shifts& shifts, const Block& block,
                const std::int64_t* label, const float* panel, const ShiftScratch& scratch) {
  const std::ptrdiff_t apart = 2 * static_cast<std::ptrdiff_t>(basis.coefficients) * shifts.count;
  Best best = none_yet(shifts);
  for (int lane = 0; lane < kLanes; ++lane) {
    Ints own = {};
    bool seen = false;
    for (int other = 0; other < kLanes; ++other) {
      own[other] = label[other] == label[lane] ? -1 : 0;
      seen |= other < lane && own[other];
    }
    if (!seen) search_shifts(plan, basis, shifts, block, panel + label[lane] * apart, own, scratch, &best);
  }
  return best;
}

// The best poses of one loaded block.
void match_block(const Plan& plan, const Basis& basis, const Shifts& shifts, const Panel& panel, const Block& block,
                 const Rows& rows, std::int64_t first, const Found& found, const ShiftScratch& scratch) {
  std::int64_t label[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) label[lane] = rows.label[row_at(rows, first + lane)];
  const Best best = search_own(plan, basis, shifts, block, label, panel.coefficients, scratch);
  const Peak peak = finest(plan, basis, shifts, block, best.shift, scratch);
  const Floats value = peak_value(best, block, peak);
  for (int lane = 0; lane < kLanes && first + lane < rows.count; ++lane) {
    const std::int64_t row = row_at(rows, first + lane);
    const bool mirror = peak.mirror[lane] != 0;
    found.score[row] = value[lane] - norm(plan, panel, label[lane], block, lane);
    found.position[row] = plan.refine ? refine(plan, scratch.curve, lane, peak.index[lane], mirror)
                                      : static_cast<double>(peak.index[lane]) * (plan.longest / basis.angles);
    found.shift[row] = best.shift[lane];
    found.mirror[row] = mirror;
  }
}

}  // namespace
}  // namespace cryoisac::VARIANT

/* Layouts of register tiles on a GPU: which thread and which register hold an element.
 *
 * A Layout (ir/tile.h) is two lists of parts. The thread number of the block is read in mixed radix
 * over `lanes`, first part fastest; a register number likewise over `regs`. Digit * stride is added
 * to the coordinate of the part's dim; a part of dim -1 is replication: threads that differ only
 * there hold the same element. A layout may overshoot: a coordinate at or over the tile's extent
 * means that this register of this thread is not used.
 *
 * The tensor-core fragments (16-bit operands, 32-bit accumulators), for lane l of a warp, q = l mod
 * 4, g = l / 4: C  16 x 8   c[r0 r1]     row g + 8*r1,   column 2*q + r0 A  16 x 16  a[r0 r1 r2]
 * row g + 8*r1,   column 2*q + r0 + 8*r2     (r2 is absent when the atom has k = 8) B  16 x 8 b[r0
 * r1]     row 2*q + r0 + 8*r1, column g              (r1 is absent when the atom has k = 8) Warps
 * of a block form a warps_m x warps_n rectangle, n fastest; each owns one contiguous rectangle of
 * the tile. */
#ifndef QUERN_IR_LAYOUT_H
#define QUERN_IR_LAYOUT_H

#include "ir/tile.h"

/* Spreads a box over `threads` (a power of two): the last dim fastest, `vec` neighbours of it per
 * register run when vec divides its extent, what is left over to registers; spare threads
 * replicate. */
Layout *layout_blocked(Cx *cx, int rank, const int *shape, int threads, int vec);
/* A rectangle of m x n elements as a grid of threads_m x threads_n threads (n fastest), each
 * holding runs of `vec_m` rows and `vec_n` columns, repeated over the rectangle: what a tile of
 * FMAs wants. Everything a power of two except m, n. */
Layout *layout_fma(Cx *cx, int m, int n, int threads_m, int threads_n, int vec_m, int vec_n);
/* Fragments; m, n, k are extents of the tile of the block, multiples of the atom times the warps.
 * atom_k: 8 or 16. */
Layout *layout_mma_c(Cx *cx, int m, int n, int warps_m, int warps_n);
Layout *layout_mma_a(Cx *cx, int m, int k, int warps_m, int warps_n, int atom_k);
Layout *layout_mma_b(Cx *cx, int k, int n, int warps_m, int warps_n, int atom_k);
/* What is left when dim `dim` is reduced to extent 1: its lane parts replicate, its register parts
 * go. */
Layout *layout_slice(Cx *cx, const Layout *from, int dim);
/* Renames dims: the layout of a tile whose dim map[d] is read with coordinate d (map[d] = -1: not
 * used; reg parts of such dims go, lane parts replicate). */
Layout *layout_rename(Cx *cx, const Layout *from, const int *map);

bool layout_equal(const Layout *a, const Layout *b);
int layout_threads(const Layout *layout);
int layout_regs(const Layout *layout);
/* Coordinates of register `reg` of thread `thread`; rank of them. */
void layout_at(const Layout *layout, int rank, int thread, int reg, int *coord);
/* When the layout is an mma C fragment tile: the number of warps each way. */
bool layout_is_mma_c(const Layout *layout, int m, int n, int *warps_m, int *warps_n);

/* The digit of lane part `part` as an expression of the thread number (a symbol with bounds
 * 0..threads-1). */
const Expr *layout_digit(Cx *cx, const Layout *layout, int part, const Expr *thread);
/* Coordinate `dim`; regs[p] is the digit of register part p. */
const Expr *layout_coord(Cx *cx, const Layout *layout, int dim, const Expr *thread,
                         const Expr *const *regs);

/* Every element of the tile is held by some thread, and threads x registers are within bounds; else
 * cx_fail. */
bool layout_verify(Cx *cx, const Layout *layout, int rank, const int *shape, int threads);

#endif

/* Contractions. When the accumulator is laid out as mma fragments, the operands are 16-bit floats
 * and the target has mma.sync, warps do them on the tensor cores: lane l of a warp, g = l / 4, q =
 * l mod 4, has of each
 *
 *   A  16 x 8   rows g and g + 8, columns 2q, 2q + 1        B  8 x 8   rows 2q, 2q + 1, column g
 *   C  16 x 8   rows g and g + 8, columns 2q, 2q + 1
 *
 * (an m16n8k16 is two of these along k: the same lanes hold the same places of both halves). Each
 * fragment is loaded once per warp, by ldmatrix where its rows of 16 bytes lie in shared memory.
 * Else each thread does fused multiply-adds for the elements it holds, loading a row of a and of b
 * per step of r. Both add in ascending r in the accumulator's type. */
#include "ir/sim.h"

#include <math.h>
#include <string.h>

typedef struct Held {
    int count, *at; /* ascending */
} Held;

typedef struct Mma {
    SimOp *op;
    int m, n, k;             /* extents of the box */
    int64_t bm, bn, bk;      /* bounds, clipped to it */
    bool direct_a, direct_b; /* operand is one load from shared memory */
    SimVal *a, *b; /* operands of the running warp or thread: a[i * k + r], b[r * n + j] */
    bool fragment;
    uint8_t *used_m, *used_n; /* fragments: blocks of the running warp */
    Held *rows, *columns;     /* else: per thread, those it holds elements of */
    int most_rows, most_columns;
} Mma;

static Dtype operand_dtype(const Value *value)
{
    if (value->op == V_load)
        return value->access->tile ? value->access->tile->dtype : value->access->buffer->dtype;
    if (value->op == V_tile)
        return value->access->tile->dtype;
    return value->dtype;
}

/* What the target's tensor cores multiply: f16, from sm_80 on bf16. */
static bool tensor_operands(const Sim *sim, const SimOp *op)
{
    Dtype a = operand_dtype(op->op->a), b = operand_dtype(op->op->b);
    const Caps *caps = sim->prog->caps;
    return caps->mma_sync && a == b && (a == DT_f16 || (a == DT_bf16 && caps->sm >= 80));
}

/* Whether every element is held by lane (i mod 8) * 4 + (j mod 8) / 2 of the same warps as its 16 x
 * 8 block. */
static bool is_fragment(const SimTile *tile, int m, int n)
{
    if (m % 16 || n % 8)
        return false;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            int head = i / 16 * 16 * n + j / 8 * 8, elem = i * n + j;
            uint32_t first = tile->first[elem], count = tile->first[elem + 1] - first;
            if (count != tile->first[head + 1] - tile->first[head])
                return false;
            for (uint32_t h = 0; h < count; h++)
                if (tile->holder[first + h] !=
                    tile->holder[tile->first[head] + h] / SIM_WARP * SIM_WARP + i % 8 * 4 +
                        j % 8 / 2)
                    return false;
        }
    return true;
}

static bool operand(Sim *sim, Mma *mma, bool is_a, int at, int r, int thread, int seq)
{
    SimOp *op = mma->op;
    SimVal *out = is_a ? &mma->a[at * mma->k + r] : &mma->b[r * mma->n + at];
    *out = (SimVal){.poison = true};
    if (at >= (is_a ? mma->bm : mma->bn) || r >= mma->bk)
        return true;
    sim->slots[op->coord[0]] = is_a ? at : 0;
    sim->slots[op->coord[1]] = is_a ? 0 : at;
    sim->slots[op->coord[2]] = r;
    if (!sim_values(sim, op, is_a ? 1 : 2, thread, seq))
        return false;
    *out = op->out[is_a ? op->root_a : op->root_b];
    return true;
}

static SimVal multiply_add(Dtype type, SimVal c, SimVal a, SimVal b)
{
    SimVal out = {.poison = a.poison || b.poison || c.poison};
    if (out.poison)
        return out;
    if (type == DT_f64)
        out.s.f = fma(a.s.f, b.s.f, c.s.f);
    else if (dtype_is_float(type))
        out.s.f = fmaf((float)a.s.f, (float)b.s.f, (float)c.s.f);
    else
        out.s.i = (int32_t)(uint32_t)((uint64_t)c.s.i + (uint64_t)a.s.i * (uint64_t)b.s.i);
    return out;
}

static void accumulate(Mma *mma, int elem, SimVal *entry)
{
    int i = elem / mma->n, j = elem % mma->n;
    if (i >= mma->bm || j >= mma->bn)
        entry->poison = true;
    for (int r = 0; r < mma->bk && !entry->poison; r++)
        *entry = multiply_add(mma->op->dst->tile->dtype, *entry, mma->a[i * mma->k + r],
                              mma->b[r * mma->n + j]);
}

/* Sites of the loads an operand needs. */
static void operand_sites(Sim *sim, Mma *mma, unsigned bit, int per_thread, bool begin)
{
    for (uint32_t i = 0; i < mma->op->value_count; i++) {
        SimValue *v = &mma->op->values[i];
        if (v->value->op != V_load || !(v->needed & bit) || (bit == 2 && (v->needed & 1)))
            continue;
        if (begin)
            sim_site_begin(sim, v->access.site, per_thread);
        else
            sim_site_count(sim, v->access.site);
    }
}

/* One 8 x 8 matrix: at[row][column] are its addresses, along r within a row for a, along r from row
 * to row for b. */
static void count_matrix(Sim *sim, int64_t at[8][8])
{
    bool by_row = true, by_column = true;
    for (int x = 0; x < 8; x++)
        for (int y = 0; y < 8; y++) {
            if (at[x][y] < 0)
                return;
            by_row = by_row && at[x][y] == at[x][0] + 2 * y && at[x][0] % 16 == 0;
            by_column = by_column && at[y][x] == at[0][x] + 2 * y && at[0][x] % 16 == 0;
        }
    int64_t rows[8];
    for (int x = 0; x < 8; x++)
        rows[x] = by_row ? at[x][0] : at[0][x];
    if (by_row || by_column) {
        sim_count_rows(sim, rows);
        return;
    }
    for (int half = 0; half < 2; half++) { /* plain 2-byte loads: 4 rows of 8 at a time */
        for (int x = 0; x < 8; x++)
            rows[x] = at[x % 4 * 2 + half][x / 4 * 4];
        sim_count_rows(sim, rows);
    }
}

/* Fragments of one operand for one warp: `blocks` 16-row blocks of a, or 8-column blocks of b. seq
 * counts the elements of a lane; matrices are counted as they are loaded when they are direct. */
typedef struct Fragments {
    bool is_a, direct;
    int warp;
    const uint8_t *used; /* per block */
    int blocks;
} Fragments;

static bool load_matrix(Sim *sim, Mma *mma, const Fragments *f, int at, int r, int *seq)
{
    SimSite *site =
        f->direct ? mma->op->values[f->is_a ? mma->op->root_a : mma->op->root_b].access.site : NULL;
    int64_t addr[8][8];
    for (int x = 0; x < 8; x++)
        for (int y = 0; y < 8; y++) { /* x along i or j, y along r */
            int thread = f->warp * SIM_WARP + x * 4 + y / 2, s = *seq + y % 2;
            if (!operand(sim, mma, f->is_a, at + x, r + y, thread, s))
                return false;
            if (site) {
                int64_t *mark = &site->at[(int64_t)thread * site->per_thread + s];
                addr[x][y] = *mark;
                *mark = -1;
            }
        }
    if (site)
        count_matrix(sim, addr);
    *seq += 2;
    return true;
}

static bool load_fragments(Sim *sim, Mma *mma, const Fragments *f)
{
    int step = f->is_a ? 16 : 8, seq = 0;
    for (int block = 0; block < f->blocks; block++)
        for (int r = 0; f->used[block] && r < mma->k; r += 8)
            for (int half = 0; half < step; half += 8)
                if (!load_matrix(sim, mma, f, block * step + half, r, &seq))
                    return false;
    return true;
}

static bool warp_mma(Sim *sim, Mma *mma, int warp)
{
    uint8_t *used_m = mma->used_m, *used_n = mma->used_n;
    SimTile *dst = mma->op->dst;
    int blocks_m = mma->m / 16, blocks_n = mma->n / 8;
    int64_t count = 0;
    memset(used_m, 0, (size_t)blocks_m);
    memset(used_n, 0, (size_t)blocks_n);
    for (int b = 0; b < blocks_m * blocks_n; b++)
        if (sim_reg_entry(dst, b / blocks_n * 16 * mma->n + b % blocks_n * 8, warp * SIM_WARP)) {
            used_m[b / blocks_n] = used_n[b % blocks_n] = 1;
            count++;
        }
    int active = 0;
    for (int l = 0; l < SIM_WARP; l++)
        active += sim->active[warp * SIM_WARP + l];
    if (count == 0 || active == 0)
        return true;
    if (active != SIM_WARP)
        return sim_fail(sim, warp * SIM_WARP, "deadlock: an mma that not all lanes reach");
    Fragments a = {true, mma->direct_a, warp, used_m, blocks_m};
    Fragments b = {false, mma->direct_b, warp, used_n, blocks_n};
    if (!load_fragments(sim, mma, &a) || !load_fragments(sim, mma, &b))
        return false;
    for (int e = 0; e < dst->elems; e++)
        for (uint32_t h = dst->first[e]; h < dst->first[e + 1]; h++)
            if (dst->holder[h] / SIM_WARP == warp)
                accumulate(mma, e, &dst->value[h]);
    sim->report->mma_warp_ops += count * (mma->k / 8);
    return true;
}

static bool tensor_mma(Sim *sim, Mma *mma)
{
    if (sim->threads % SIM_WARP != 0)
        return sim_fail(sim, -1, "mma fragments in a block of %d threads", sim->threads);
    operand_sites(sim, mma, 1, mma->m * mma->k / 16, true);
    operand_sites(sim, mma, 2, mma->n * mma->k / 16, true);
    for (int warp = 0; warp < sim->threads / SIM_WARP; warp++)
        if (!warp_mma(sim, mma, warp))
            return false;
    operand_sites(sim, mma, 1, 0, false);
    operand_sites(sim, mma, 2, 0, false);
    return true;
}

static bool thread_mma(Sim *sim, Mma *mma, int thread)
{
    SimTile *dst = mma->op->dst;
    const Held *rows = &mma->rows[thread], *columns = &mma->columns[thread];
    for (int r = 0; r < mma->k; r++) {
        for (int x = 0; x < rows->count; x++)
            if (!operand(sim, mma, true, rows->at[x], r, thread, r * rows->count + x))
                return false;
        for (int y = 0; y < columns->count; y++)
            if (!operand(sim, mma, false, columns->at[y], r, thread, r * columns->count + y))
                return false;
    }
    for (int x = 0; x < rows->count; x++)
        for (int y = 0; y < columns->count; y++) {
            int elem = rows->at[x] * mma->n + columns->at[y];
            SimVal *entry = sim_reg_entry(dst, elem, thread);
            if (!entry)
                continue;
            accumulate(mma, elem, entry);
            sim->report->fma_ops += mma->bk;
        }
    return true;
}

static bool plain_mma(Sim *sim, Mma *mma)
{
    operand_sites(sim, mma, 1, mma->most_rows * mma->k, true);
    operand_sites(sim, mma, 2, mma->most_columns * mma->k, true);
    for (int t = 0; t < sim->threads; t++)
        if (sim->active[t] && !thread_mma(sim, mma, t))
            return false;
    operand_sites(sim, mma, 1, 0, false);
    operand_sites(sim, mma, 2, 0, false);
    return true;
}

/* Rows (or columns) of the accumulator that each thread holds elements of. */
static Held *held(Sim *sim, const Mma *mma, bool rows, int *most)
{
    const SimTile *dst = mma->op->dst;
    int extent = rows ? mma->m : mma->n, across = rows ? mma->n : mma->m;
    Held *out = NEW_ARRAY(sim->arena, Held, sim->threads);
    for (int t = 0; t < sim->threads; t++)
        out[t].at = NEW_ARRAY(sim->arena, int, extent);
    *most = 0;
    for (int x = 0; x < extent; x++)
        for (int y = 0; y < across; y++) {
            int elem = rows ? x * mma->n + y : y * mma->n + x;
            for (uint32_t h = dst->first[elem]; h < dst->first[elem + 1]; h++) {
                Held *of = &out[dst->holder[h]];
                if (of->count == 0 || of->at[of->count - 1] != x)
                    of->at[of->count++] = x;
                *most = of->count > *most ? of->count : *most;
            }
        }
    return out;
}

static int64_t clipped(Sim *sim, const SimOp *op, int d)
{
    int64_t bound = sim_eval(sim, &op->bound[d]), extent = op->op->box.shape[d];
    return bound < 0 ? 0 : bound > extent ? extent : bound;
}

static bool is_direct(const SimOp *op, uint32_t root)
{
    return op->values[root].value->op == V_load && op->values[root].access.tile;
}

/* What does not change from one execution to the next. */
static bool prepare(Sim *sim, SimOp *op)
{
    const Box *box = &op->op->box;
    const Tile *dst = op->dst->tile;
    if (box->rank != 3 || dst->rank != 2 || dst->shape[0] != box->shape[0] ||
        dst->shape[1] != box->shape[1] || dst->scope != TS_register)
        return sim_fail(sim, -1, "mma: box and accumulator do not fit");
    Mma *mma = op->mma = NEW(sim->arena, Mma);
    *mma = (Mma){.op = op, .m = box->shape[0], .n = box->shape[1], .k = box->shape[2]};
    mma->direct_a = is_direct(op, op->root_a);
    mma->direct_b = is_direct(op, op->root_b) && op->root_a != op->root_b;
    mma->fragment =
        tensor_operands(sim, op) && dst->dtype == DT_f32 && is_fragment(op->dst, mma->m, mma->n);
    if (mma->fragment && mma->k % 8 != 0)
        return sim_fail(sim, -1, "mma fragments of depth %d", mma->k);
    mma->a = NEW_ARRAY(sim->arena, SimVal, (int64_t)mma->m * mma->k);
    mma->b = NEW_ARRAY(sim->arena, SimVal, (int64_t)mma->n * mma->k);
    if (mma->fragment) {
        mma->used_m = NEW_ARRAY(sim->arena, uint8_t, mma->m / 16);
        mma->used_n = NEW_ARRAY(sim->arena, uint8_t, mma->n / 8);
    } else {
        mma->rows = held(sim, mma, true, &mma->most_rows);
        mma->columns = held(sim, mma, false, &mma->most_columns);
    }
    return true;
}

bool sim_mma(Sim *sim, SimOp *op)
{
    if (!op->mma && !prepare(sim, op))
        return false;
    Mma *mma = op->mma;
    mma->bm = clipped(sim, op, 0);
    mma->bn = clipped(sim, op, 1);
    mma->bk = clipped(sim, op, 2);
    bool ok = mma->fragment ? tensor_mma(sim, mma) : plain_mma(sim, mma);
    return ok && !cx_failed(sim->cx);
}

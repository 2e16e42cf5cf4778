/* The interpreter of unplaced tile programs: the oracle schedules are compared with.
 *
 * Grid points run one after the other, in row-major order. Slots hold the value of every symbol, by
 * the id of its expression; expressions are compiled when first met. What a program may not rely on
 * is made visible: tiles start as garbage (NaN), and so do elements of an mma outside its bounds.
 * Every access is checked against its shape: an index outside is a bug of a schedule and goes to
 * cx_fail with the operation's text. Register tiles hold scalars, shared tiles their dtype; padding
 * is laid out as placed programs have it. Prefetches do nothing. */
#include <math.h>
#include <string.h>

#include "ir/tile_impl.h"

typedef struct View {
    int64_t shape[MAX_RANK], strides[MAX_RANK], offset;
} View;

typedef struct Memory {
    int64_t count;
    Scalar *elements; /* register tiles */
    void *bytes;      /* shared tiles */
    int64_t size;
} Memory;

typedef struct Run {
    Cx *cx;
    const TileProg *prog;
    NestRun *io;
    uint32_t id_cap; /* of the two arrays by expression id */
    int64_t *slots;
    ExprCode *codes; /* words NULL: not compiled yet */
    View *views;     /* by buffer */
    Memory *tiles;   /* of the grid, by tile */
    uint32_t result_cap;
    Scalar *results; /* by value of the operation under way */
    bool *needed;    /* likewise */
    int64_t scratch_cap;
    Scalar *scratch; /* operands of an mma, a line of a reduce */
} Run;

/* ---- expressions */

static void reserve(Run *run, uint32_t id)
{
    if (id < run->id_cap)
        return;
    uint32_t cap = (id + 64) * 2;
    int64_t *slots = NEW_ARRAY(run->cx->arena, int64_t, cap);
    ExprCode *codes = NEW_ARRAY(run->cx->arena, ExprCode, cap);
    if (run->id_cap) {
        memcpy(slots, run->slots, run->id_cap * sizeof *slots);
        memcpy(codes, run->codes, run->id_cap * sizeof *codes);
    }
    run->slots = slots;
    run->codes = codes;
    run->id_cap = cap;
}

static int slot_of(void *user, const Expr *sym)
{
    reserve(user, sym->id);
    return (int)sym->id;
}

static void set(Run *run, const Expr *sym, int64_t value)
{
    reserve(run, sym->id);
    run->slots[sym->id] = value;
}

static int64_t eval(Run *run, const Expr *e)
{
    if (e->kind == EX_const)
        return e->value;
    reserve(run, e->id);
    if (e->kind == EX_sym)
        return run->slots[e->id];
    if (!run->codes[e->id].words) {
        ExprCode code = expr_compile(run->cx, e, slot_of, run);
        if (cx_failed(run->cx))
            return 0;
        run->codes[e->id] = code;
    }
    int64_t value = 0;
    if (!expr_code_run(run->codes[e->id], run->slots, &value))
        cx_fail(run->cx, ST_limit, "tile '%s': an expression overflows", run->prog->name);
    return value;
}

/* ---- accesses */

static void out_of_bounds(Run *run, const TileOp *op, const Access *a, int dim, int64_t index)
{
    Text text;
    text_init(&text, run->cx->arena);
    access_print(&text, a, &tile_value_names);
    text_add(&text, ": index %d is %lld in '", dim, (long long)index);
    tile_print_head(&text, op);
    cx_fail(run->cx, ST_internal, "tile '%s': out of bounds: %s'", run->prog->name, text.data);
}

static bool guards_hold(Run *run, const Guard *guards, int count)
{
    for (int i = 0; i < count; i++) {
        int64_t e = eval(run, guards[i].e);
        if (e < eval(run, guards[i].lo) || e >= eval(run, guards[i].hi))
            return false;
    }
    return true;
}

/* The position of the element in elements; -1 after a failure. */
static int64_t locate(Run *run, const TileOp *op, const Access *a)
{
    const View *view = a->buffer ? &run->views[a->buffer->index] : NULL;
    int64_t at = view ? view->offset : 0;
    for (int i = 0; i < a->rank; i++) {
        int64_t index = eval(run, a->index[i]);
        int64_t extent = view ? view->shape[i] : a->tile->shape[i];
        if (index < 0 || index >= extent) {
            out_of_bounds(run, op, a, i, index);
            return -1;
        }
        if (view)
            at += index * view->strides[i];
        else
            at = at * (a->tile->shape[i] + (i == a->rank - 1 ? a->tile->pad : 0)) + index;
    }
    return at;
}

static Scalar load(Run *run, const TileOp *op, const Access *a)
{
    if (!guards_hold(run, a->guards, a->guard_count))
        return a->fill;
    int64_t at = locate(run, op, a);
    if (at < 0)
        return a->fill;
    if (a->buffer)
        return dtype_load(a->buffer->dtype, run->io->buffers[a->buffer->index], at);
    const Memory *memory = &run->tiles[a->tile->id];
    return a->tile->scope == TS_register ? memory->elements[at]
                                         : dtype_load(a->tile->dtype, memory->bytes, at);
}

static void store(Run *run, const TileOp *op, const Access *a, Scalar value)
{
    int64_t at = guards_hold(run, a->guards, a->guard_count) ? locate(run, op, a) : -1;
    if (at < 0)
        return;
    if (a->buffer) {
        dtype_store(a->buffer->dtype, run->io->buffers[a->buffer->index], at, value);
        return;
    }
    Dtype dtype = a->tile->dtype;
    if (a->tile->scope == TS_register)
        run->tiles[a->tile->id].elements[at] = dtype_convert(dtype, dtype_compute(dtype), value);
    else
        dtype_store(dtype, run->tiles[a->tile->id].bytes, at, value);
}

/* ---- values */

/* A bad index sets the error cell and is clamped. */
static Scalar bind(Run *run, const Value *v, Scalar x)
{
    int64_t lo = eval(run, v->lo), hi = eval(run, v->hi), index = x.i;
    bool huge = v->dtype == DT_u64 && index < 0;
    if (v->wraps && index < 0 && !huge)
        index += hi + 1;
    if (index < lo || index > hi || huge) {
        run->io->bad_index = run->io->bad_index ? run->io->bad_index : 1 + tile_bind_number(run->prog, v->sym);
        if (hi < lo)
            cx_fail(run->cx, ST_bad_index, "index %lld into an empty range", (long long)x.i);
        index = index < lo && !huge ? lo : hi;
    }
    set(run, v->sym, index);
    return (Scalar){.i = index};
}

static Scalar eval_value(Run *run, const TileOp *op, const Value *v)
{
    Scalar args[3] = {{0}, {0}, {0}};
    Dtype types[3] = {DT_none, DT_none, DT_none};
    for (int i = 0; i < 3 && v->args[i]; i++) {
        args[i] = run->results[v->args[i]->id];
        types[i] = dtype_compute(v->args[i]->dtype);
    }
    switch (v->op) {
    case V_const: return v->constant;
    case V_index: return dtype_convert(v->dtype, DT_i64, (Scalar){.i = eval(run, v->index)});
    case V_load:
    case V_tile: return load(run, op, v->access);
    case V_scalar: return scalar_eval(v->scalar, types[v->scalar == S_select ? 1 : 0], args);
    case V_cast: return dtype_convert(v->dtype, types[0], args[0]);
    case V_bind: return bind(run, v, args[0]);
    case V_reduce: break;
    }
    BUG("value %%%u cannot be evaluated", v->id);
}

/* ---- boxes */

static void reserve_results(Run *run, uint32_t count)
{
    if (count > run->result_cap) {
        run->results = NEW_ARRAY(run->cx->arena, Scalar, count * 2);
        run->needed = NEW_ARRAY(run->cx->arena, bool, count * 2);
        run->result_cap = count * 2;
    }
}

/* Room for `count` scalars, until the next call. */
static Scalar *scratch(Run *run, int64_t count)
{
    if (count > run->scratch_cap) {
        run->scratch = NEW_ARRAY(run->cx->arena, Scalar, count);
        run->scratch_cap = count;
    }
    return run->scratch;
}

/* The extents under the bounds; false when the box is empty. */
static bool box_limits(Run *run, const Box *box, int limits[MAX_BOX])
{
    bool any = true;
    for (int d = 0; d < box->rank; d++) {
        int64_t bound = box->bound[d] ? eval(run, box->bound[d]) : box->shape[d];
        limits[d] = bound < 0 ? 0 : bound < box->shape[d] ? (int)bound : box->shape[d];
        any = any && limits[d] > 0;
    }
    return any;
}

/* Moves to the next point of the box, last coordinate fastest; false after the last one. */
static bool next_point(int rank, const int *limits, int *point)
{
    for (int d = rank; d-- > 0;) {
        if (++point[d] < limits[d])
            return true;
        point[d] = 0;
    }
    return false;
}

static void set_point(Run *run, const Box *box, const int *point)
{
    for (int d = 0; d < box->rank; d++)
        set(run, box->coord[d], point[d]);
}

static void run_map(Run *run, const TileOp *op)
{
    int limits[MAX_BOX], point[MAX_BOX] = {0};
    if (!box_limits(run, &op->box, limits))
        return;
    do {
        set_point(run, &op->box, point);
        for (uint32_t i = 0; i < op->value_count; i++)
            run->results[i] = eval_value(run, op, op->values[i]);
        for (uint32_t i = 0; i < op->store_count; i++)
            store(run, op, op->stores[i].access, run->results[op->stores[i].value->id]);
    } while (!cx_failed(run->cx) && next_point(op->box.rank, limits, point));
}

/* Every element of the shared tile's box is written: with the fill where a coordinate is not under
 * its bound. */
static void run_copy(Run *run, const TileOp *op)
{
    const Box *box = &op->box;
    int limits[MAX_BOX], point[MAX_BOX] = {0};
    box_limits(run, box, limits);
    do {
        bool inside = true;
        for (int d = 0; d < box->rank; d++)
            inside = inside && point[d] < limits[d];
        set_point(run, box, point);
        const Access *from = op->values[0]->access;
        store(run, op, op->stores[0].access, inside ? load(run, op, from) : from->fill);
    } while (!cx_failed(run->cx) && next_point(box->rank, box->shape, point));
}

static Scalar garbage(Dtype dtype)
{
    return dtype_is_float(dtype) ? (Scalar){.f = (double)NAN}
           : dtype == DT_bool    ? (Scalar){.i = 1}
                                 : dtype_convert(dtype, DT_i64, (Scalar){.i = 0x5BADF00D});
}

/* What `root` needs: bits by value id. Bound values always, since an index may use their symbols.
 */
static void mark_needed(const TileOp *op, const Value *root, bool *needed)
{
    memset(needed, 0, op->value_count * sizeof *needed);
    for (uint32_t i = op->value_count; i-- > 0;) {
        const Value *v = op->values[i];
        if (v != root && v->op != V_bind && !needed[i])
            continue;
        needed[i] = true;
        for (int k = 0; k < 3 && v->args[k]; k++)
            needed[v->args[k]->id] = true;
    }
}

/* One operand as a matrix: rows of coordinate `along` (0: i, 1: j) and columns of r. */
static void eval_operand(Run *run, const TileOp *op, const Value *root, int along,
                         const int *limits, Scalar *out)
{
    int point[MAX_BOX] = {0}, two[2] = {limits[along], limits[2]}, at[2] = {0, 0};
    mark_needed(op, root, run->needed);
    do {
        point[along] = at[0];
        point[2] = at[1];
        set_point(run, &op->box, point);
        for (uint32_t i = 0; i < op->value_count; i++)
            if (run->needed[i])
                run->results[i] = eval_value(run, op, op->values[i]);
        *out++ = run->results[root->id];
    } while (!cx_failed(run->cx) && next_point(2, two, at));
}

static Scalar dot(const Tile *tile, Scalar acc, const Scalar *a, const Scalar *b, int count)
{
    for (int r = 0; r < count; r++) {
        if (dtype_is_float(tile->dtype)) {
            acc = scalar_eval(S_fma, tile->dtype, (const Scalar[3]){a[r], b[r], acc});
        } else {
            Scalar product = scalar_eval(S_mul, tile->dtype, (const Scalar[3]){a[r], b[r], {0}});
            acc = scalar_eval(S_add, tile->dtype, (const Scalar[3]){acc, product, {0}});
        }
    }
    return acc;
}

static void run_mma(Run *run, const TileOp *op)
{
    const Tile *tile = op->dst;
    int limits[MAX_BOX] = {0};
    bool any = box_limits(run, &op->box, limits);
    Scalar *a = scratch(run, (int64_t)(limits[0] + limits[1]) * limits[2]);
    Scalar *b = a + (int64_t)limits[0] * limits[2];
    if (any) {
        eval_operand(run, op, op->a, 0, limits, a);
        eval_operand(run, op, op->b, 1, limits, b);
    }
    for (int i = 0; i < tile->shape[0] && !cx_failed(run->cx); i++) {
        for (int j = 0; j < tile->shape[1]; j++) {
            Scalar *acc = &run->tiles[tile->id].elements[i * tile->shape[1] + j];
            if (i >= limits[0] || j >= limits[1])
                *acc = garbage(tile->dtype);
            else if (any)
                *acc = dot(tile, *acc, a + (int64_t)i * limits[2], b + (int64_t)j * limits[2],
                           limits[2]);
        }
    }
}

/* Neighbours in pairs, then pairs of pairs: the order does not depend on lanes. */
static void run_reduce(Run *run, const TileOp *op)
{
    const Tile *s = op->src;
    const Scalar *from = run->tiles[s->id].elements;
    Scalar *to = run->tiles[op->dst->id].elements;
    int64_t inner = 1, count = s->shape[op->dim];
    ScalarOp combine = monoid_combine(op->monoid);
    for (int i = op->dim + 1; i < s->rank; i++)
        inner *= s->shape[i];
    Scalar *line = scratch(run, count);
    for (int64_t at = 0; at < run->tiles[op->dst->id].count; at++) {
        const Scalar *first = from + at / inner * inner * count + at % inner;
        for (int64_t k = 0; k < count; k++)
            line[k] = first[k * inner];
        for (int64_t left = count; left > 1; left = (left + 1) / 2)
            for (int64_t k = 0; k < left; k += 2)
                line[k / 2] = k + 1 < left ? scalar_eval(combine, dtype_compute(s->dtype),
                                                         (const Scalar[3]){line[k], line[k + 1]})
                                           : line[k];
        to[at] = line[0];
    }
}

/* ---- control */

static void run_block(Run *run, const TileBlock *block);

static void run_for(Run *run, const TileOp *op)
{
    int64_t hi = eval(run, op->hi);
    for (int64_t v = eval(run, op->lo); v < hi && !cx_failed(run->cx); v += op->step) {
        set(run, op->var, v);
        run_block(run, op->body);
        if (v > INT64_MAX - op->step)
            break;
    }
}

static void run_op(Run *run, const TileOp *op)
{
    reserve_results(run, op->value_count);
    switch (op->kind) {
    case TO_for: run_for(run, op); return;
    case TO_if:
        if (guards_hold(run, op->guards, op->guard_count))
            run_block(run, op->body);
        else if (op->other)
            run_block(run, op->other);
        return;
    case TO_map: run_map(run, op); return;
    case TO_mma: run_mma(run, op); return;
    case TO_copy: run_copy(run, op); return;
    case TO_reduce: run_reduce(run, op); return;
    case TO_prefetch: return;
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait: break;
    }
    BUG("an operation of placed programs");
}

static void run_block(Run *run, const TileBlock *block)
{
    for (const TileOp *op = block->first; op && !cx_failed(run->cx); op = op->next)
        run_op(run, op);
}

/* Tiles of a grid point start as garbage. */
static void clear_tiles(Run *run, const Grid *grid)
{
    for (uint32_t t = 0; t < grid->tile_count; t++) {
        Memory *memory = &run->tiles[t];
        if (memory->bytes)
            memset(memory->bytes, 0xFF, (size_t)memory->size);
        for (int64_t i = 0; i < memory->count && memory->elements; i++)
            memory->elements[i] = garbage(grid->tiles[t]->dtype);
    }
}

static void run_grid(Run *run, const Grid *grid)
{
    int64_t extents[MAX_GRID], point[MAX_GRID] = {0};
    run->tiles = NEW_ARRAY(run->cx->arena, Memory, grid->tile_count);
    for (uint32_t t = 0; t < grid->tile_count; t++) {
        Memory *memory = &run->tiles[t];
        memory->count = 1;
        for (int i = 0; i < grid->tiles[t]->rank; i++)
            memory->count *= grid->tiles[t]->shape[i];
        memory->size = tile_bytes(grid->tiles[t]);
        if (grid->tiles[t]->scope == TS_register)
            memory->elements = NEW_ARRAY(run->cx->arena, Scalar, memory->count);
        else
            memory->bytes = NEW_ARRAY(run->cx->arena, char, memory->size);
    }
    for (int d = 0; d < grid->rank; d++) {
        extents[d] = eval(run, grid->extents[d]);
        if (extents[d] <= 0)
            return;
        set(run, grid->ids[d], 0);
    }
    for (int d = 0; d >= 0 && !cx_failed(run->cx);) {
        clear_tiles(run, grid);
        run_block(run, &grid->body);
        for (d = grid->rank - 1; d >= 0; d--) {
            point[d] = point[d] + 1 < extents[d] ? point[d] + 1 : 0;
            set(run, grid->ids[d], point[d]);
            if (point[d])
                break;
        }
    }
}

static void set_up(Run *run)
{
    const TileProg *prog = run->prog;
    for (uint32_t i = 0; i < prog->dim_count; i++)
        set(run, prog->dims[i], run->io->dims[i]);
    run->views = NEW_ARRAY(run->cx->arena, View, prog->buffer_count);
    for (uint32_t i = 0; i < prog->buffer_count; i++) {
        const Buffer *buffer = prog->buffers[i];
        run->views[i].offset = eval(run, buffer->offset);
        for (int d = 0; d < buffer->rank; d++) {
            run->views[i].shape[d] = eval(run, buffer->shape[d]);
            run->views[i].strides[d] = eval(run, buffer->strides[d]);
        }
    }
}

bool tile_run(Cx *cx, const TileProg *prog, NestRun *io)
{
    if (cx_failed(cx))
        return false;
    if (prog->placed && prog->caps->kind != TK_cpu && prog->caps->kind != TK_opencl_cpu) {
        cx_fail(cx, ST_unsupported, "tile '%s': placed GPU programs run in the simulator",
                prog->name);
        return false;
    }
    ArenaMark mark = arena_mark(cx->arena);
    Run run = {.cx = cx, .prog = prog, .io = io};
    io->bad_index = 0;
    set_up(&run);
    for (uint32_t i = 0; i < prog->grid_count && !cx_failed(cx); i++)
        run_grid(&run, prog->grids[i]);
    arena_reset(cx->arena, mark);
    return !cx_failed(cx);
}

/* Building tile programs.
 *
 * The builder keeps what callers give and derives only bounds of symbols: a grid id, a loop
 * variable and a coordinate know their range (and a loop its step), so that expressions over them
 * simplify. Rules are checked by tile_verify. */
#include "ir/tile.h"

#include <string.h>

#include "ir/value_build.h"
#include "ir/value_text.h"

enum { SHARED_ALIGN = 64 };

TileProg *tile_prog(Cx *cx, const char *name, const Caps *caps)
{
    TileProg *prog = NEW(cx->arena, TileProg);
    prog->cx = cx;
    prog->name = arena_strdup(cx->arena, name);
    prog->caps = caps;
    return prog;
}

const Expr *tile_dim(TileProg *prog, const char *name, int64_t lo, int64_t hi, int64_t div)
{
    const Expr *dim = expr_sym(prog->cx, name, lo, hi, div);
    tile_use_dim(prog, dim);
    return dim;
}

void tile_use_dim(TileProg *prog, const Expr *dim)
{
    for (uint32_t i = 0; i < prog->dim_count; i++)
        if (prog->dims[i] == dim)
            return;
    VEC_PUSH(prog->cx->arena, prog->dims, prog->dim_count, prog->dim_cap, dim);
}

Buffer *tile_buffer(TileProg *prog, const char *name, Dtype dtype, BufferRole role, int rank,
                    const Expr *const *shape)
{
    Cx *cx = prog->cx;
    const Expr **dims = NEW_ARRAY(cx->arena, const Expr *, rank + 1);
    for (int i = 0; i < rank; i++)
        dims[i] = shape[i];
    Buffer buffer = {.name = arena_strdup(cx->arena, name), .dtype = dtype, .role = role};
    buffer.rank = rank;
    buffer.shape = dims;
    buffer.strides = buffer_row_major(cx, rank, shape);
    buffer.offset = expr_const(cx, 0);
    buffer.align = buffer_min_align(dtype);
    return tile_use_buffer(prog, &buffer);
}

Buffer *tile_use_buffer(TileProg *prog, const Buffer *buffer)
{
    Buffer *copy = arena_copy(prog->cx->arena, buffer, sizeof *buffer);
    copy->index = (int)prog->buffer_count;
    VEC_PUSH(prog->cx->arena, prog->buffers, prog->buffer_count, prog->buffer_cap, copy);
    return copy;
}

/* A symbol 0 <= v < extent, whatever is known of the extent; never an empty range. */
static const Expr *counter(Cx *cx, const char *name, const Expr *extent)
{
    int64_t hi = extent->hi == INT64_MAX ? INT64_MAX : extent->hi - 1;
    return expr_sym(cx, name, 0, hi < 0 ? 0 : hi, 1);
}

Grid *tile_grid(TileProg *prog, int rank, const char *const *names, const Expr *const *extents)
{
    CHECK(rank >= 0 && rank <= MAX_GRID);
    Grid *grid = NEW(prog->cx->arena, Grid);
    grid->rank = rank;
    grid->threads = 1;
    for (int i = 0; i < rank; i++) {
        grid->extents[i] = extents[i];
        grid->ids[i] = counter(prog->cx, names[i], extents[i]);
    }
    VEC_PUSH(prog->cx->arena, prog->grids, prog->grid_count, prog->grid_cap, grid);
    return grid;
}

Tile *tile_new(TileProg *prog, Grid *grid, const char *name, Dtype dtype, TileScope scope, int rank,
               const int *shape)
{
    CHECK(rank >= 0 && rank <= MAX_BOX);
    Tile *tile = NEW(prog->cx->arena, Tile);
    tile->name = arena_strdup(prog->cx->arena, name);
    tile->dtype = dtype;
    tile->scope = scope;
    tile->rank = rank;
    memcpy(tile->shape, shape, (size_t)rank * sizeof *shape);
    tile->slots = 1;
    tile->id = grid->tile_count;
    VEC_PUSH(prog->cx->arena, grid->tiles, grid->tile_count, grid->tile_cap, tile);
    return tile;
}

static TileOp *append(TileProg *prog, TileBlock *at, TileOpKind kind)
{
    TileOp *op = NEW(prog->cx->arena, TileOp);
    op->kind = kind;
    if (at->last)
        at->last->next = op;
    else
        at->first = op;
    at->last = op;
    return op;
}

static int64_t gcd(int64_t a, int64_t b)
{
    return b ? gcd(b, a % b) : a;
}

/* The values lo, lo + step, ... < hi: with a constant lo the last one is known too. */
static const Expr *loop_var(Cx *cx, const char *name, const Expr *lo, const Expr *hi, int64_t step)
{
    int64_t last = hi->hi == INT64_MAX ? INT64_MAX : hi->hi - 1;
    if (last < lo->lo)
        last = lo->lo;
    if (lo->kind == EX_const && last != INT64_MAX && lo->value >= 0)
        last = lo->value + (last - lo->value) / step * step;
    /* A loop that may run once or not at all keeps a variable: what is proven about it rests on the
     * loop's condition, which a constant in its place would lose. */
    if (hi->kind != EX_const && last != INT64_MAX && last - lo->lo < step)
        last = lo->lo + step;
    return expr_sym(cx, name, lo->lo, last, gcd(lo->div, step));
}

TileBlock *tile_for(TileProg *prog, TileBlock *at, const char *name, const Expr *lo, const Expr *hi,
                    int64_t step, const Expr **var)
{
    CHECK(step > 0);
    TileOp *op = append(prog, at, TO_for);
    op->lo = lo;
    op->hi = hi;
    op->step = step;
    op->stages = 1;
    op->body = NEW(prog->cx->arena, TileBlock);
    op->var = *var = loop_var(prog->cx, name, lo, hi, step);
    return op->body;
}

TileOp *tile_if(TileProg *prog, TileBlock *at, const Guard *guards, int count)
{
    TileOp *op = append(prog, at, TO_if);
    op->guard_count = count;
    op->guards = arena_copy(prog->cx->arena, guards, (size_t)count * sizeof *guards);
    op->body = NEW(prog->cx->arena, TileBlock);
    return op;
}

TileOp *tile_op(TileProg *prog, TileBlock *at, TileOpKind kind, int rank, const char *const *names,
                const int *shape)
{
    CHECK(rank >= 0 && rank <= MAX_BOX);
    CHECK(kind == TO_map || kind == TO_mma || kind == TO_copy || kind == TO_prefetch);
    TileOp *op = append(prog, at, kind);
    op->box.rank = rank;
    for (int i = 0; i < rank; i++) {
        op->box.shape[i] = shape[i];
        op->box.coord[i] = expr_sym(prog->cx, names[i], 0, shape[i] > 0 ? shape[i] - 1 : 0, 1);
    }
    return op;
}

TileOp *tile_reduce(TileProg *prog, TileBlock *at, Tile *dst, Tile *src, int dim, Monoid monoid)
{
    TileOp *op = append(prog, at, TO_reduce);
    op->dst = dst;
    op->src = src;
    op->dim = dim;
    op->monoid = monoid;
    return op;
}

TileOp *tile_convert(TileProg *prog, TileBlock *at, Tile *dst, Tile *src, Tile *via)
{
    TileOp *op = append(prog, at, TO_convert);
    op->dst = dst;
    op->src = src;
    op->via = via;
    return op;
}

TileOp *tile_sync(TileProg *prog, TileBlock *at, TileOpKind kind, int64_t count)
{
    CHECK(kind == TO_barrier || kind == TO_commit || kind == TO_wait);
    TileOp *op = append(prog, at, kind);
    op->count = count;
    return op;
}

static ValueList list_of(TileProg *prog, TileOp *op)
{
    return (ValueList){prog->cx, prog->name, &op->values, &op->value_count, &op->value_cap};
}

Value *tile_const(TileProg *prog, TileOp *op, Dtype dtype, Scalar value)
{
    return value_const(list_of(prog, op), dtype, value);
}

Value *tile_index(TileProg *prog, TileOp *op, Dtype dtype, const Expr *index)
{
    return value_index(list_of(prog, op), dtype, index);
}

Value *tile_load(TileProg *prog, TileOp *op, const Access *access)
{
    Dtype dtype = access->buffer ? access->buffer->dtype : access->tile->dtype;
    Access settled = *access;
    if (op->kind != TO_copy) { /* a copy stays one load, and its fill is for its bounds too */
        if (!access_settle(prog->cx, &settled))
            return tile_const(prog, op, dtype_compute(dtype), access->fill);
        if (settled.guard_count == 0)
            settled.fill = (Scalar){0};
    }
    return value_access(list_of(prog, op), V_load, dtype, &settled);
}

static Access tile_access(Tile *tile, const Expr *const *index, const Expr *copy[MAX_BOX])
{
    for (int i = 0; i < tile->rank; i++)
        copy[i] = index[i];
    return (Access){.tile = tile, .rank = tile->rank, .index = copy};
}

Value *tile_read(TileProg *prog, TileOp *op, Tile *tile, const Expr *const *index)
{
    const Expr *copy[MAX_BOX];
    Access access = tile_access(tile, index, copy);
    return value_access(list_of(prog, op), V_tile, tile->dtype, &access);
}

Value *tile_scalar(TileProg *prog, TileOp *op, ScalarOp s, Value *a, Value *b, Value *c)
{
    return value_scalar(list_of(prog, op), s, a, b, c);
}

Value *tile_cast(TileProg *prog, TileOp *op, Dtype to, Value *a)
{
    return value_cast(list_of(prog, op), to, a);
}

Value *tile_bind(TileProg *prog, TileOp *op, Value *a, const Expr *sym, const Expr *lo,
                 const Expr *hi, bool wraps)
{
    return value_bind(list_of(prog, op), a, sym, lo, hi, wraps);
}

void tile_store(TileProg *prog, TileOp *op, const Access *access, Value *value)
{
    Store store = {.access = access_copy(prog->cx, access), .value = value};
    access_settle(prog->cx, store.access);
    VEC_PUSH(prog->cx->arena, op->stores, op->store_count, op->store_cap, store);
}

void tile_write(TileProg *prog, TileOp *op, Tile *tile, const Expr *const *index, Value *value)
{
    const Expr *copy[MAX_BOX];
    Access access = tile_access(tile, index, copy);
    tile_store(prog, op, &access, value);
}

int64_t tile_bytes(const Tile *tile)
{
    int64_t count = 1;
    for (int i = 0; i < tile->rank; i++)
        count *= tile->shape[i] + (i == tile->rank - 1 ? tile->pad : 0);
    return dtype_bytes(tile->dtype, count);
}

/* Distinct names of bound symbols met so far. */
typedef struct BindWalk {
    const Expr **names;
    uint32_t count, cap;
    Arena *arena;
} BindWalk;

static void walk_binds(BindWalk *w, const TileBlock *block)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        for (uint32_t i = 0; i < op->value_count; i++) {
            const Value *v = op->values[i];
            uint32_t k = 0;
            while (v->op == V_bind && k < w->count && strcmp(w->names[k]->name, v->sym->name) != 0)
                k++;
            if (v->op == V_bind && k == w->count)
                VEC_PUSH(w->arena, w->names, w->count, w->cap, v->sym);
        }
        walk_binds(w, op->body);
        walk_binds(w, op->other);
    }
}

static BindWalk find_binds(const TileProg *prog)
{
    BindWalk w = {.arena = prog->cx->arena};
    for (uint32_t g = 0; g < prog->grid_count; g++)
        walk_binds(&w, &prog->grids[g]->body);
    return w;
}

int tile_bind_number(const TileProg *prog, const Expr *sym)
{
    BindWalk w = find_binds(prog);
    for (uint32_t k = 0; k < w.count; k++)
        if (strcmp(w.names[k]->name, sym->name) == 0)
            return (int)k;
    BUG("tile '%s': '%s' is bound nowhere", prog->name, sym->name);
}

const Expr *tile_bind_sym(const TileProg *prog, int number)
{
    BindWalk w = find_binds(prog);
    return number >= 0 && (uint32_t)number < w.count ? w.names[number] : NULL;
}

int64_t tile_scratch_bytes(const TileProg *prog)
{
    int64_t most = 0;
    for (uint32_t g = 0; g < prog->grid_count; g++) {
        int64_t sum = 0;
        for (uint32_t t = 0; t < prog->grids[g]->tile_count; t++) {
            const Tile *tile = prog->grids[g]->tiles[t];
            if (tile->scope == TS_shared)
                sum += (tile_bytes(tile) * tile->slots + SHARED_ALIGN - 1) / SHARED_ALIGN *
                       SHARED_ALIGN;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

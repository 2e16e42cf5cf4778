/* The driver of the simulator (ir/tile_sim.h): grids in sequence, blocks one after the other, the
 * statements of a block with the set of threads that are active in them. A barrier counts an epoch
 * on; conditions on the thread number narrow the active set, and what needs all threads then
 * refuses. */
#include "ir/sim.h"

#include <string.h>

#include "ir/tile_impl.h"

/* The operation's first line, then what it reads and stores. */
static void op_text(Text *text, const SimOp *sim_op)
{
    const TileOp *op = sim_op->op;
    tile_print_head(text, op);
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->access) {
            text_add(text, " load ");
            access_print(text, op->values[i]->access, &tile_value_names);
        }
    for (uint32_t i = 0; i < op->store_count; i++) {
        text_add(text, " store ");
        access_print(text, op->stores[i].access, &tile_value_names);
    }
}

bool sim_fail(Sim *sim, int thread, const char *fmt, ...)
{
    if (cx_failed(sim->cx))
        return false;
    Text text;
    text_init(&text, sim->arena);
    text_add(&text, "%s: ", sim->prog->name);
    if (sim->block_number > 0) {
        text_add(&text, "block (");
        for (int d = 0; d < sim->grid->rank; d++)
            text_add(&text, d ? ", %lld" : "%lld", (long long)sim->block_id[d]);
        text_add(&text, "), ");
    }
    if (thread >= 0)
        text_add(&text, "thread %d: ", thread);
    va_list args;
    va_start(args, fmt);
    text_addv(&text, fmt, args);
    va_end(args);
    if (sim->op) {
        text_add(&text, "; in: ");
        op_text(&text, sim->op);
    }
    cx_fail(sim->cx, ST_internal, "%s", text.data);
    return false;
}

static bool run_block(Sim *sim, SimOp *op);

static bool run_for(Sim *sim, SimOp *op)
{
    int64_t hi = sim_eval(sim, &op->hi), step = op->op->step;
    for (int64_t v = sim_eval(sim, &op->lo); v < hi && !cx_failed(sim->cx); v += step) {
        sim->slots[op->var] = v;
        if (!run_block(sim, op->body))
            return false;
        if (v > INT64_MAX - step)
            break;
    }
    return !cx_failed(sim->cx);
}

static bool guards_hold(Sim *sim, const SimOp *op)
{
    for (int i = 0; i < op->op->guard_count; i++) {
        int64_t e = sim_eval(sim, &op->guards[i].e);
        if (e < sim_eval(sim, &op->guards[i].lo) || e >= sim_eval(sim, &op->guards[i].hi))
            return false;
    }
    return true;
}

/* Runs `body` with the threads of `was` whose condition came out as `wanted`. */
static bool run_branch(Sim *sim, SimOp *body, const uint8_t *was, const uint8_t *holds, bool wanted)
{
    sim->active_count = 0;
    for (int t = 0; t < sim->threads; t++) {
        sim->active[t] = was[t] && (holds[t] != 0) == wanted;
        sim->active_count += sim->active[t];
    }
    return !body || sim->active_count == 0 || run_block(sim, body);
}

static bool run_if(Sim *sim, SimOp *op)
{
    if (!op->divergent) {
        SimOp *body = guards_hold(sim, op) ? op->body : op->other;
        return !body || run_block(sim, body);
    }
    uint8_t *was = arena_copy(sim->arena, sim->active, (size_t)sim->threads);
    uint8_t *holds = NEW_ARRAY(sim->arena, uint8_t, sim->threads);
    int count = sim->active_count;
    for (int t = 0; t < sim->threads; t++) {
        sim->slots[sim->thread_slot] = t;
        holds[t] = was[t] && guards_hold(sim, op);
    }
    bool ok = run_branch(sim, op->body, was, holds, true) &&
              run_branch(sim, op->other, was, holds, false);
    memcpy(sim->active, was, (size_t)sim->threads);
    sim->active_count = count;
    return ok && !cx_failed(sim->cx);
}

static bool run_barrier(Sim *sim)
{
    if (sim->active_count != sim->threads)
        return sim_fail(sim, -1, "deadlock: only %d of %d threads reach the barrier",
                        sim->active_count, sim->threads);
    sim->epoch++;
    sim->report->barriers++;
    return true;
}

static bool run_op(Sim *sim, SimOp *op)
{
    sim->op = op;
    sim->slot = 0;
    if (op->op->slot)
        sim->slot = sim_eval(sim, &op->slot);
    switch (op->op->kind) {
    case TO_for: return run_for(sim, op);
    case TO_if: return run_if(sim, op);
    case TO_map:
    case TO_copy:
    case TO_prefetch: return sim_map(sim, op);
    case TO_mma: return sim_mma(sim, op);
    case TO_reduce: return sim_reduce(sim, op);
    case TO_convert: return sim_convert(sim, op);
    case TO_barrier: return run_barrier(sim);
    case TO_commit:
        for (int t = 0; t < sim->threads; t++)
            sim->closed[t] += sim->active[t];
        return true;
    case TO_wait: return sim_wait(sim, op->op->count);
    }
    return false;
}

static void note_worst(Sim *sim, const SimOp *op)
{
    if (op->extra <= sim->report->worst_extra)
        return;
    Text text;
    text_init(&text, sim->cx->arena);
    op_text(&text, op);
    sim->report->worst_extra = op->extra;
    sim->report->worst_op = text.data;
}

static bool run_block(Sim *sim, SimOp *op)
{
    for (; op; op = op->next)
        if (!run_op(sim, op) || cx_failed(sim->cx))
            return false;
    return true;
}

static void find_worst(Sim *sim, const SimOp *op)
{
    for (; op; op = op->next) {
        note_worst(sim, op);
        find_worst(sim, op->body);
        find_worst(sim, op->other);
    }
}

static void start_block(Sim *sim)
{
    sim->block_number++;
    sim->report->blocks++;
    memset(sim->active, 1, (size_t)sim->threads);
    sim->active_count = sim->threads;
    sim_mem_clear(sim);
    for (uint32_t i = 0; i < sim->tile_count; i++)
        if (sim->tiles[i].tile->scope == TS_register)
            sim_reg_clear(&sim->tiles[i]);
}

/* Every block of the grid, last dim fastest. */
static void run_blocks(Sim *sim, SimOp *body, const uint32_t *ids, const int64_t *extents)
{
    int rank = sim->grid->rank;
    for (int d = 0; d < rank; d++) {
        sim->block_id[d] = 0;
        if (extents[d] <= 0)
            return;
    }
    for (;;) {
        for (int d = 0; d < rank; d++)
            sim->slots[ids[d]] = sim->block_id[d];
        start_block(sim);
        if (!run_block(sim, body))
            return;
        int d = rank - 1;
        while (d >= 0 && ++sim->block_id[d] == extents[d])
            sim->block_id[d--] = 0;
        if (d < 0)
            return;
    }
}

static int64_t round_up(int64_t value, int64_t to)
{
    return (value + to - 1) / to * to;
}

static bool place_shared(Sim *sim, SimTile *tile)
{
    const Tile *of = tile->tile;
    if (dtype_bits(of->dtype) % 8 != 0 || dtype_bits(of->dtype) == 0)
        return sim_fail(sim, -1, "tile '%s': elements narrower than a byte in shared memory",
                        of->name);
    tile->elem_bytes = dtype_bits(of->dtype) / 8;
    bool swizzle_known =
        of->swizzle == 0 || of->swizzle == 32 || of->swizzle == 64 || of->swizzle == 128;
    if (of->slots < 1 || !swizzle_known || of->pad < 0)
        return sim_fail(sim, -1, "tile '%s': bad slots, swizzle or padding", of->name);
    int64_t align = of->swizzle ? 1024 : 128; /* swizzles count from a multiple of their period */
    bool ring = of->slots > 1 || of->swizzle;
    tile->slot_bytes = round_up(tile_bytes(of), ring ? align : 1);
    tile->base = round_up(sim->shared_bytes, of->swizzle ? 1024 : 64);
    sim->shared_bytes = tile->base + tile->slot_bytes * of->slots;
    return true;
}

/* Reductions over warps exchange one element of 8 bytes per thread behind the tiles. */
static bool has_reduce(const TileBlock *block)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next)
        if (op->kind == TO_reduce || has_reduce(op->body) || has_reduce(op->other))
            return true;
    return false;
}

static bool place_tiles(Sim *sim)
{
    const Grid *grid = sim->grid;
    sim->tile_count = grid->tile_count;
    sim->tiles = NEW_ARRAY(sim->arena, SimTile, grid->tile_count);
    sim->shared_bytes = 0;
    for (uint32_t i = 0; i < grid->tile_count; i++) {
        SimTile *tile = &sim->tiles[i];
        tile->tile = grid->tiles[i];
        bool ok = tile->tile->scope == TS_shared
                      ? place_shared(sim, tile)
                      : sim_reg_init(sim, tile, tile->tile, tile->tile->layout);
        if (!ok)
            return false;
    }
    if (has_reduce(&grid->body))
        sim->shared_bytes = round_up(sim->shared_bytes, 64) + 8 * (int64_t)grid->threads;
    int64_t limit = sim->prog->caps->shared_bytes;
    if (limit > 0 && sim->shared_bytes > limit)
        return sim_fail(sim, -1, "%lld bytes of shared memory, the target has %lld",
                        (long long)sim->shared_bytes, (long long)limit);
    if (sim->shared_bytes > sim->report->shared_bytes)
        sim->report->shared_bytes = sim->shared_bytes;
    sim->shared = NEW_ARRAY(sim->arena, uint8_t, sim->shared_bytes);
    sim->shadow = NEW_ARRAY(sim->arena, ByteShadow, sim->shared_bytes);
    return true;
}

static void run_grid(Sim *sim, const Grid *grid)
{
    sim->grid = grid;
    sim->grid_number++;
    sim->block_number = 0;
    sim->threads = grid->threads;
    if (grid->threads < 1 || grid->threads > 1024) {
        sim_fail(sim, -1, "%d threads in a block", grid->threads);
        return;
    }
    sim->active = NEW_ARRAY(sim->arena, uint8_t, grid->threads);
    sim->closed = NEW_ARRAY(sim->arena, int64_t, grid->threads);
    uint32_t ids[MAX_GRID], syms = sim->sym_count;
    int64_t extents[MAX_GRID];
    for (int d = 0; d < grid->rank; d++) {
        SimCode extent = sim_code(sim, grid->extents[d]);
        extents[d] = cx_failed(sim->cx) ? 0 : sim_eval(sim, &extent);
    }
    for (int d = 0; d < grid->rank; d++)
        ids[d] = sim_add_sym(sim, grid->ids[d]);
    if (grid->thread)
        sim->thread_slot = sim_add_sym(sim, grid->thread);
    SimOp *body = !cx_failed(sim->cx) && place_tiles(sim) ? sim_build(sim, &grid->body) : NULL;
    if (!cx_failed(sim->cx)) {
        run_blocks(sim, body, ids, extents);
        find_worst(sim, body);
    }
    sim->sym_count = syms;
}

static bool stores_to(const TileBlock *block, const Buffer *buffer)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        if (stores_to(op->body, buffer) || stores_to(op->other, buffer))
            return true;
        for (uint32_t i = 0; i < op->store_count; i++)
            if (op->stores[i].access->buffer == buffer)
                return true;
    }
    return false;
}

static bool bind_buffer(Sim *sim, SimBuffer *out, const Buffer *buffer)
{
    out->buffer = buffer;
    out->data = sim->run->buffers[buffer->index];
    SimCode code = sim_code(sim, buffer->offset);
    out->offset = sim_eval(sim, &code);
    int64_t last = out->offset;
    for (int d = 0; d < buffer->rank && !cx_failed(sim->cx); d++) {
        SimCode shape = sim_code(sim, buffer->shape[d]);
        SimCode stride = sim_code(sim, buffer->strides[d]);
        out->shape[d] = sim_eval(sim, &shape);
        out->strides[d] = sim_eval(sim, &stride);
        if (out->shape[d] > 0 && out->strides[d] > 0)
            last += (out->shape[d] - 1) * out->strides[d];
    }
    out->elems = last + 1;
    bool stored = false;
    for (uint32_t g = 0; g < sim->prog->grid_count; g++)
        stored = stored || stores_to(&sim->prog->grids[g]->body, buffer);
    if (stored && (out->elems < 0 || out->elems > INT64_C(1) << 26))
        return sim_fail(sim, -1, "buffer '%s' is too large to simulate", buffer->name);
    if (stored)
        out->shadow = NEW_ARRAY(sim->arena, GlobalShadow, out->elems);
    return !cx_failed(sim->cx);
}

static void finish_arena(void *resource)
{
    arena_finish(resource);
}

bool tile_sim(Cx *cx, const TileProg *prog, NestRun *run, SimReport *report)
{
    SimReport unused;
    report = report ? report : &unused;
    *report = (SimReport){0};
    if (cx_failed(cx))
        return false;
    Arena *arena = NEW(cx->arena, Arena);
    arena_init(arena, cx->arena->from, 0, &cx->oom);
    cx_cleanup(cx, finish_arena, arena);
    Sim *sim = NEW(arena, Sim);
    *sim = (Sim){.cx = cx, .arena = arena, .prog = prog, .run = run, .report = report};
    run->bad_index = 0;
    for (uint32_t d = 0; d < prog->dim_count; d++) {
        uint32_t slot = sim_add_sym(sim, prog->dims[d]);
        sim->slots[slot] = run->dims[d];
    }
    sim->buffers = NEW_ARRAY(arena, SimBuffer, prog->buffer_count);
    for (uint32_t b = 0; b < prog->buffer_count && !cx_failed(cx); b++)
        bind_buffer(sim, &sim->buffers[b], prog->buffers[b]);
    for (uint32_t g = 0; g < prog->grid_count && !cx_failed(cx); g++)
        run_grid(sim, prog->grids[g]);
    arena_finish(arena);
    return !cx_failed(cx);
}

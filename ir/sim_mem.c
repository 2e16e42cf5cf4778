/* Memory of the simulator.
 *
 * Shared memory is bytes with a shadow each: who wrote it last and in which epoch (the number of
 * barriers passed), who read it last, whether it was ever written, whether a cp.async is on its way
 * to it. Two accesses by different threads in one epoch, one of them a write, are a race, whatever
 * order the simulator happened to run them in.
 *
 *   tile at base:   slot 0 | slot 1 | ..       slot: rows of (last extent + pad) elements
 *   swizzle B:      byte offset within the slot, 16-byte chunk number xor (offset / 128 mod B / 16)
 *
 * Global memory keeps the same per element, with the block in place of the epoch where blocks
 * differ. */
#include "ir/sim.h"

#include <string.h>

static const char *place_name(const SimAccess *access)
{
    return access->tile ? access->tile->tile->name : access->buffer->buffer->name;
}

/* "name[1, 2]" of the access at sim->coord. */
static const char *place_text(Sim *sim, const SimAccess *access)
{
    Text text;
    text_init(&text, sim->arena);
    text_add(&text, "%s[", place_name(access));
    for (int d = 0; d < access->rank; d++)
        text_add(&text, d ? ", %lld" : "%lld", (long long)sim->coord[d]);
    text_add(&text, "]");
    if (access->tile && access->tile->tile->slots > 1)
        text_add(&text, " of slot %lld", (long long)sim->slot);
    return text.data;
}

static bool guards_hold(Sim *sim, const SimAccess *access)
{
    for (int g = 0; g < access->guard_count; g++) {
        int64_t e = sim_eval(sim, &access->guards[g].e);
        if (e < sim_eval(sim, &access->guards[g].lo) || e >= sim_eval(sim, &access->guards[g].hi))
            return false;
    }
    return true;
}

static int64_t swizzled(int64_t at, int swizzle)
{
    return swizzle ? at ^ (((at >> 7) & (swizzle / 16 - 1)) << 4) : at;
}

/* Byte address in shared memory or element number in a buffer; -1 after a failure. */
static int64_t locate(Sim *sim, const SimAccess *access, int thread)
{
    int64_t at = 0;
    bool inside = true;
    for (int d = 0; d < access->rank; d++) {
        int64_t i = sim->coord[d] = sim_eval(sim, &access->index[d]);
        int64_t extent = access->tile ? access->tile->tile->shape[d] : access->buffer->shape[d];
        inside = inside && i >= 0 && i < extent;
        if (!inside)
            continue;
        if (!access->tile)
            at += i * access->buffer->strides[d];
        else
            at = at * (d == access->rank - 1 ? extent + access->tile->tile->pad : extent) + i;
    }
    if (!inside) {
        sim_fail(sim, thread, "%s is out of bounds", place_text(sim, access));
        return -1;
    }
    if (!access->tile)
        return at + access->buffer->offset;
    const SimTile *tile = access->tile;
    int64_t slot = tile->tile->slots > 1 ? sim->slot : 0;
    if (slot < 0 || slot >= tile->tile->slots) {
        sim_fail(sim, thread, "slot %lld of tile '%s', which has %d", (long long)slot,
                 tile->tile->name, tile->tile->slots);
        return -1;
    }
    return tile->base + slot * tile->slot_bytes +
           swizzled(at * tile->elem_bytes, tile->tile->swizzle);
}

static bool race(Sim *sim, const SimAccess *access, int thread, int other, const char *what)
{
    return sim_fail(sim, thread, "race: %s %s thread %d with no barrier between",
                    place_text(sim, access), what, other);
}

static bool check_pending(Sim *sim, const SimAccess *access, int thread, const ByteShadow *b)
{
    if (b->state != BS_pending)
        return true;
    return sim_fail(sim, thread, "%s is the destination of a cp.async of thread %d not waited for",
                    place_text(sim, access), b->writer);
}

static bool shared_read(Sim *sim, const SimAccess *access, int thread, int64_t at, bool *poison)
{
    for (int i = 0; i < access->tile->elem_bytes; i++) {
        ByteShadow *b = &sim->shadow[at + i];
        if (!check_pending(sim, access, thread, b))
            return false;
        if (b->state == BS_unset)
            return sim_fail(sim, thread, "%s is read but was never written",
                            place_text(sim, access));
        if (b->write_epoch == sim->epoch && b->writer != thread)
            return race(sim, access, thread, b->writer, "is read, but was written by");
        *poison = *poison || b->state == BS_poison;
        b->several = b->read_epoch == sim->epoch && (b->several || b->reader != thread);
        b->read_epoch = sim->epoch;
        b->reader = (int16_t)thread;
    }
    return true;
}

static bool shared_write(Sim *sim, const SimAccess *access, int thread, int64_t at, ByteState state)
{
    for (int i = 0; i < access->tile->elem_bytes; i++) {
        ByteShadow *b = &sim->shadow[at + i];
        if (!check_pending(sim, access, thread, b))
            return false;
        if (b->write_epoch == sim->epoch && b->writer != thread)
            return race(sim, access, thread, b->writer, "is written, but also by");
        if (b->read_epoch == sim->epoch && (b->several || b->reader != thread))
            return race(sim, access, thread, b->reader, "is written, but was read by");
        b->state = (uint8_t)state;
        b->write_epoch = sim->epoch;
        b->writer = (int16_t)thread;
    }
    return true;
}

static bool global_ordered(const Sim *sim, uint32_t block, uint32_t epoch, int owner, int thread)
{
    return block == sim->block_number && (epoch != sim->epoch || owner == thread);
}

static void note_read(const Sim *sim, GlobalShadow *g, int thread)
{
    bool again = g->read_grid == sim->grid_number;
    if (again && g->read_block != sim->block_number)
        g->read_block = 0;
    else
        g->read_block = sim->block_number;
    bool same_epoch = again && g->read_epoch == sim->epoch && g->read_block != 0;
    g->read_thread = same_epoch && g->read_thread != thread ? -1 : thread;
    g->read_epoch = sim->epoch;
    g->read_grid = sim->grid_number;
}

static bool global_access(Sim *sim, const SimAccess *access, int thread, int64_t at, bool write)
{
    if (!access->buffer->shadow)
        return true;
    if (at >= access->buffer->elems)
        return sim_fail(sim, thread, "%s is outside the memory of the buffer",
                        place_text(sim, access));
    GlobalShadow *g = &access->buffer->shadow[at];
    if (g->grid == sim->grid_number && !global_ordered(sim, g->block, g->epoch, g->thread, thread))
        return sim_fail(sim, thread, "race: %s is %s, but was written by thread %d of %s block",
                        place_text(sim, access), write ? "written" : "read", g->thread,
                        g->block == sim->block_number ? "this" : "another");
    if (write && g->read_grid == sim->grid_number &&
        !global_ordered(sim, g->read_block, g->read_epoch, g->read_thread, thread))
        return sim_fail(sim, thread, "race: %s is written, but was read by another %s",
                        place_text(sim, access),
                        g->read_block == sim->block_number ? "thread" : "block");
    if (!write) {
        note_read(sim, g, thread);
        return true;
    }
    g->grid = sim->grid_number;
    g->block = sim->block_number;
    g->epoch = sim->epoch;
    g->thread = thread;
    return true;
}

bool sim_load(Sim *sim, SimAccess *access, int thread, int seq, SimVal *out)
{
    *out = (SimVal){.s = access->access->fill};
    if (sim->outside || !guards_hold(sim, access))
        return !cx_failed(sim->cx);
    int64_t at = locate(sim, access, thread);
    if (at < 0 || cx_failed(sim->cx))
        return cx_failed(sim->cx) ? false : sim_fail(sim, thread, "negative offset");
    if (access->tile) {
        sim_site_mark(access->site, thread, seq, at);
        if (!shared_read(sim, access, thread, at, &out->poison))
            return false;
        out->s = dtype_load(access->tile->tile->dtype, sim->shared + at, 0);
        return true;
    }
    const Buffer *buffer = access->buffer->buffer;
    sim_site_mark(access->site, thread, seq, at * dtype_bits(buffer->dtype) / 8);
    if (!global_access(sim, access, thread, at, false))
        return false;
    out->s = dtype_load(buffer->dtype, access->buffer->data, at);
    return true;
}

static void store_async(Sim *sim, const SimTile *tile, int64_t at, int thread, Scalar value)
{
    AsyncWrite write = {.thread = thread,
                        .group = sim->closed[thread],
                        .at = at,
                        .bytes = (uint8_t)tile->elem_bytes};
    dtype_store(tile->tile->dtype, write.data, 0, value);
    VEC_PUSH(sim->arena, sim->queue, sim->queue_count, sim->queue_cap, write);
}

static bool store_shared(Sim *sim, SimAccess *access, SimVal value, int64_t at, int thread)
{
    bool async = sim->op->op->async;
    ByteState state = async ? BS_pending : value.poison ? BS_poison : BS_set;
    if (!shared_write(sim, access, thread, at, state))
        return false;
    if (async)
        store_async(sim, access->tile, at, thread, value.s);
    else if (!value.poison)
        dtype_store(access->tile->tile->dtype, sim->shared + at, 0, value.s);
    return true;
}

bool sim_store(Sim *sim, SimAccess *access, Dtype from, SimVal value, int thread, int seq)
{
    if (!guards_hold(sim, access))
        return !cx_failed(sim->cx);
    int64_t at = locate(sim, access, thread);
    if (at < 0 || cx_failed(sim->cx))
        return cx_failed(sim->cx) ? false : sim_fail(sim, thread, "negative offset");
    Dtype to = access->tile ? access->tile->tile->dtype : access->buffer->buffer->dtype;
    if (!value.poison)
        value.s = dtype_convert(to, from, value.s);
    if (access->tile) {
        sim_site_mark(access->site, thread, seq, at);
        return store_shared(sim, access, value, at, thread);
    }
    if (value.poison)
        return sim_fail(sim, thread, "%s is given a value computed from registers never written",
                        place_text(sim, access));
    sim_site_mark(access->site, thread, seq, at * dtype_bits(to) / 8);
    if (!global_access(sim, access, thread, at, true))
        return false;
    dtype_store(to, access->buffer->data, at, value.s);
    return true;
}

/* The active threads wait until at most `open` of the groups they closed are under way: the others
 * land. */
bool sim_wait(Sim *sim, int64_t open)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sim->queue_count; i++) {
        AsyncWrite *w = &sim->queue[i];
        if (!sim->active[w->thread] || w->group >= sim->closed[w->thread] - open) {
            sim->queue[kept++] = *w;
            continue;
        }
        memcpy(sim->shared + w->at, w->data, w->bytes);
        for (int b = 0; b < w->bytes; b++) {
            sim->shadow[w->at + b].state = BS_set;
            sim->shadow[w->at + b].write_epoch = sim->epoch;
        }
    }
    sim->queue_count = kept;
    return true;
}

void sim_mem_clear(Sim *sim)
{
    memset(sim->shadow, 0, sizeof *sim->shadow * (size_t)sim->shared_bytes);
    memset(sim->closed, 0, sizeof *sim->closed * (size_t)sim->threads);
    sim->queue_count = 0;
    sim->epoch = 1;
}

/* The cost model's choice of a schedule for a GPU, and candidates: pure functions of nest and
 * target.
 *
 * Contractions: a tile of bm x bn outputs costs its multiply-adds plus the traffic of its operands
 * from shared memory; blocks share the multiprocessors, and no kernel is faster than one block. The
 * cheapest tile of a short list wins; ties go to the larger one. Few rows or a short sum are left
 * to the general skeleton. */
#include "passes/lower_value.h"

typedef struct TileShape {
    int bm, bn, threads;
} TileShape;

/* For FMAs and for tensor cores; the largest first. Legal for both: warps of 16 x 8 fragments. Four
 * warps at least: a multiprocessor has four schedulers. */
static const TileShape tile_shapes[] = {{128, 128, 256}, {128, 64, 128}, {64, 128, 128},
                                        {64, 64, 128},   {32, 64, 128},  {32, 32, 128},
                                        {16, 64, 128}};

static int64_t likely(const Expr *extent)
{
    if (extent->kind == EX_const)
        return extent->value;
    return extent->hi < 512 ? extent->hi : 512;
}

static int64_t processors(const Caps *caps)
{
    return caps->sm >= 90 ? 132 : caps->sm >= 80 ? 108 : caps->sm ? 40 : 32;
}

static int64_t extents_of(const Nest *nest, uint64_t axes)
{
    int64_t all = 1;
    for (int i = 0; i < nest->axis_count; i++)
        if (axes >> i & 1) {
            int64_t extent = likely(nest->axes[i].extent);
            all = all > INT64_C(1) << 31 ? all : all * (extent < 1 ? 1 : extent);
        }
    return all;
}

/* Whether both factors come as 16-bit floats that the target's tensor cores multiply. */
static bool is_half(const Value *value, const Caps *caps)
{
    Dtype dtype = value->op == V_cast   ? value->dtype
                  : value->op == V_load ? value->access->buffer->dtype
                                        : DT_none;
    return caps->mma_sync && (dtype == DT_f16 || (dtype == DT_bf16 && caps->sm >= 80));
}

static bool on_tensor_cores(const Contraction *c, const Caps *caps)
{
    return c->sum->dtype == DT_f32 && is_half(c->a, caps) && is_half(c->b, caps);
}

static void set_tile(Schedule *s, const TileShape *shape, bool half, const Caps *caps)
{
    s->field[SF_bm] = shape->bm;
    s->field[SF_bn] = shape->bn;
    s->field[SF_threads] = shape->threads;
    s->field[SF_bk] = half ? 32 : 16;
    s->field[SF_stages] = !caps->cp_async ? 1 : half ? 4 : 3;
}

static Schedule choose_tiles(const Nest *nest, const Caps *caps, const Contraction *c)
{
    Schedule best = schedule_default(SK_tiles);
    int64_t rows = extents_of(nest, c->m), best_cost = INT64_MAX;
    int unit = access_unit_axis(nest->cx, nest, nest->stores[0].access, c->n);
    int64_t columns = extents_of(nest, 1ull << unit);
    int64_t batch = extents_of(nest, (c->batch | c->n) & ~(1ull << unit));
    bool half = on_tensor_cores(c, caps), wide = dtype_bits(c->sum->dtype) > 32;
    bool longer = lower_has_transcendental(nest->stores[0].value);
    for (size_t i = 0; i < sizeof tile_shapes / sizeof *tile_shapes; i++) {
        const TileShape *shape = &tile_shapes[i];
        if (wide && shape->bm * shape->bn / shape->threads > 32)
            continue;
        /* 256 threads get 128 registers each (two blocks a multiprocessor): 64 sums, operands and a
         * long epilogue spill */
        if (longer && !half && shape->threads == 256)
            continue;
        int64_t tiles =
            batch * ((rows + shape->bm - 1) / shape->bm) * ((columns + shape->bn - 1) / shape->bn);
        int64_t block = shape->bm * shape->bn + 24 * (shape->bm + shape->bn);
        int64_t shared = tiles * block / processors(caps);
        int64_t cost = shared > block ? shared : block;
        if (cost < best_cost) {
            best_cost = cost;
            set_tile(&best, shape, half, caps);
        }
    }
    return best;
}

static bool worth_tiles(const Nest *nest, const Contraction *c)
{
    return c->has && extents_of(nest, c->m) >= 8 && extents_of(nest, c->k) >= 8;
}

/* A load that is contiguous along another axis than the store. */
static bool transposes(Cx *cx, const Nest *nest)
{
    const Store *store = &nest->stores[0];
    uint64_t axes = store->value->axes;
    int unit = access_unit_axis(cx, nest, store->access, axes);
    for (uint32_t i = 0; unit >= 0 && i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_load || !v->access->buffer)
            continue;
        int load = access_unit_axis(cx, nest, v->access, axes);
        if (load >= 0 && load != unit && !(v->axes & ~axes) && (v->axes >> unit & 1))
            return true;
    }
    return false;
}

/* Extent of the longest reduced axis along which an operand of a reduction is contiguous; 0: none.
 */
static int64_t row_length(Cx *cx, const Nest *nest)
{
    int64_t longest = 0;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *r = nest->values[i];
        for (uint32_t k = 0; r->op == V_reduce && k < i; k++) {
            const Value *load = nest->values[k];
            if (load->op != V_load || !(load->axes & r->reduced))
                continue;
            int unit = access_unit_axis(cx, nest, load->access, r->reduced | r->axes);
            if (unit >= 0 && (r->reduced >> unit & 1) && likely(nest->axes[unit].extent) > longest)
                longest = likely(nest->axes[unit].extent);
        }
    }
    return longest;
}

static int32_t power_within(int64_t wanted, int32_t least, int32_t most)
{
    int32_t power = least;
    while (power < most && power < wanted)
        power *= 2;
    return power;
}

/* As many rows as keep every multiprocessor busy; more warps than 16 rows each have no part in the
 * products. What shared memory holds decides the keys of a block. */
static bool choose_flash(const Nest *nest, const Caps *caps, const Attention *a, Schedule *schedule)
{
    static const int32_t shapes[][4] = {/* bm bn threads stages */
                                        {64, 64, 128, 2}, {64, 32, 128, 2}, {64, 32, 128, 1},
                                        {32, 32, 64, 2},  {32, 32, 64, 1},  {16, 32, 32, 1},
                                        {16, 16, 32, 1}};
    int64_t rows = extents_of(nest, a->m);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        *schedule = schedule_default(SK_flash);
        schedule->field[SF_bm] = shapes[i][0];
        schedule->field[SF_bn] = shapes[i][1];
        schedule->field[SF_threads] = shapes[i][2];
        schedule->field[SF_stages] = caps->cp_async ? shapes[i][3] : 1;
        bool last = i + 1 == sizeof shapes / sizeof *shapes;
        if ((last || shapes[i][0] < 2 * rows) && flash_fits(nest, a, caps, schedule))
            return true;
    }
    return false;
}

Schedule gpu_choose(Cx *cx, const Nest *nest, const Caps *caps)
{
    Contraction c = nest_contraction(cx, nest);
    if (worth_tiles(nest, &c))
        return choose_tiles(nest, caps, &c);
    Attention a = nest_attention(cx, nest);
    Schedule s;
    if (a.has && choose_flash(nest, caps, &a, &s))
        return s;
    return gpu_choose_plain(cx, nest, caps);
}

/* Rows: a block has one, or a thread four points of several. Other outputs: enough blocks for every
 * multiprocessor before more points a thread. */
Schedule gpu_choose_plain(Cx *cx, const Nest *nest, const Caps *caps)
{
    Schedule s = schedule_default(SK_blocks);
    int64_t outputs = extents_of(nest, nest->stores[0].value->axes), row = row_length(cx, nest);
    int32_t most = caps->kind == TK_cuda ? 1024 : 256; /* an OpenCL group has 256 for certain */
    if (row >= 32) {
        s.field[SF_threads] = power_within(row / 4, 128, most);
        if (row > 4 * most && outputs < 4 * processors(caps))
            s.field[SF_each] = 8;
    } else if (transposes(cx, nest)) {
        s.field[SF_rows] = 32;
    } else if (outputs < 1024 * processors(caps)) {
        s.field[SF_each] = 1;
        s.field[SF_threads] = power_within(outputs / processors(caps), 32, 256);
    }
    return s;
}

bool gpu_candidate(const Nest *nest, const Caps *caps, int index, Schedule *schedule)
{
    static const int32_t boxes[][4] = {/* threads each rows keep */
                                       {256, 4, 1, 1},
                                       {128, 1, 1, 0},
                                       {32, 2, 1, 1},
                                       {64, 4, 16, 1},
                                       {128, 8, 1, 0}};
    static const struct {
        TileShape shape;
        int bk, stages;
    } tiles[] = {{{16, 16, 32}, 16, 1}, {{64, 64, 128}, 32, 2},   {{32, 64, 64}, 8, 3},
                 {{64, 32, 64}, 16, 4}, {{128, 128, 256}, 16, 1}, {{64, 128, 128}, 32, 3}};
    static const int32_t flash[][4] = {/* bm bn threads stages */
                                       {16, 16, 32, 1},
                                       {32, 16, 64, 2},
                                       {64, 32, 128, 3},
                                       {16, 64, 32, 1},
                                       {32, 32, 128, 1}};
    int flash_count = nest_attention(nest->cx, nest).has ? (int)(sizeof flash / sizeof *flash) : 0;
    if (index < flash_count) {
        *schedule = schedule_default(SK_flash);
        schedule->field[SF_bm] = flash[index][0];
        schedule->field[SF_bn] = flash[index][1];
        schedule->field[SF_threads] = flash[index][2];
        schedule->field[SF_stages] = caps->cp_async ? flash[index][3] : 1;
        return true;
    }
    index -= flash_count;
    int tile_count = nest_contraction(nest->cx, nest).has ? (int)(sizeof tiles / sizeof *tiles) : 0;
    if (index < tile_count) {
        *schedule = schedule_default(SK_tiles);
        set_tile(schedule, &tiles[index].shape, false, caps);
        schedule->field[SF_bk] = tiles[index].bk;
        schedule->field[SF_stages] = caps->cp_async ? tiles[index].stages : 1;
        return true;
    }
    index -= tile_count;
    if (index >= (int)(sizeof boxes / sizeof *boxes))
        return false;
    *schedule = schedule_default(SK_blocks);
    schedule->field[SF_threads] = boxes[index][0];
    schedule->field[SF_each] = boxes[index][1];
    schedule->field[SF_rows] = boxes[index][2];
    schedule->field[SF_keep] = boxes[index][3];
    return true;
}

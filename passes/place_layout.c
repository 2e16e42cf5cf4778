/* Layouts of register tiles, thread maps of the rest, and conversions where two meet.
 *
 *  1. mma results: the tensor-core fragment when the target has it and operands and shapes fit,
 * else a tile of FMAs; register operands of a fragment get the fragment layout of that operand.
 *  2. Layouts spread through maps (all register tiles of a map agree on its box) and from a
 * reduce's source to its result.
 *  3. What is left starts with a blocked layout, the largest tile first, and spreads.
 *  4. A map that reads a tile in another layout than that of its box gets a converted copy; so does
 * the result of a reduce.
 *  5. Maps and copies without register tiles get a blocked thread map, with vectors where memory
 * allows. */
#include "passes/place_impl.h"

/* ---- mma */

static Dtype half_type(const Value *value)
{
    if (value->op == V_cast)
        return value->dtype;
    if ((value->op == V_load || value->op == V_tile) && value->access)
        return value->access->buffer ? value->access->buffer->dtype : value->access->tile->dtype;
    return DT_none;
}

/* Warps as a rectangle over m x n with the least operand traffic; false when none fits. */
static bool warp_rectangle(const Place *place, int m, int n, int *warps_m, int *warps_n)
{
    int best = 0, warps = place->grid->threads / 32;
    for (int wn = 1; wn <= warps; wn *= 2) {
        int wm = warps / wn;
        if (m % (16 * wm) || n % (8 * wn))
            continue;
        int cost = m / wm + n / wn + (n / wn % 16 ? 1 : 0); /* ldmatrix brings two column atoms */
        if (place->register_a && wn > 1)
            cost += m + n;
        if (best == 0 || cost < best) {
            best = cost;
            *warps_m = wm;
            *warps_n = wn;
        }
    }
    return best > 0;
}

static bool fits_tensor_cores(const Place *place, const TileOp *op)
{
    const Caps *caps = place->prog->caps;
    Dtype a = half_type(op->a), b = half_type(op->b);
    if (!caps->mma_sync || op->dst->dtype != DT_f32 || a != b || (a != DT_f16 && a != DT_bf16))
        return false;
    if (a == DT_bf16 && caps->sm < 80)
        return false;
    return place->grid->threads >= 32 && op->box.shape[2] % 16 == 0 && !op->box.bound[0] &&
           !op->box.bound[1] && !op->box.bound[2];
}

/* Threads as a rectangle with the fewest registers and operand loads, then runs along n for vector
 * stores. */
static Layout *fma_layout(Place *place, const Tile *tile)
{
    int m = tile->shape[0], n = tile->shape[1], threads = place->grid->threads;
    int best_tn = 1;
    int64_t best = INT64_MAX;
    for (int tn = 1; tn <= threads; tn *= 2) {
        int tm = threads / tn, rows = (m + tm - 1) / tm, cols = (n + tn - 1) / tn;
        int64_t cost = (int64_t)rows * cols * 4 + rows + cols;
        if (cost < best) {
            best = cost;
            best_tn = tn;
        }
    }
    int vec = n % (4 * best_tn) == 0 ? 4 : n % (2 * best_tn) == 0 ? 2 : 1;
    return layout_fma(place->cx, m, n, threads / best_tn, best_tn, 1, vec);
}

static void give(Tile *tile, Layout *layout)
{
    if (!tile->layout)
        tile->layout = layout;
}

static void place_mma(Place *place, TileBlock *block, TileOp *op)
{
    (void)block;
    int wm = 1, wn = 1;
    if (op->kind != TO_mma)
        return;
    const int *shape = op->box.shape;
    bool cores =
        fits_tensor_cores(place, op) && warp_rectangle(place, shape[0], shape[1], &wm, &wn);
    if (!cores) {
        if (op->a->op == V_tile || op->b->op == V_tile)
            cx_fail(place->cx, ST_unsupported,
                    "place: an mma of register tiles that tensor cores cannot do");
        give(op->dst, fma_layout(place, op->dst));
        return;
    }
    give(op->dst, layout_mma_c(place->cx, shape[0], shape[1], wm, wn));
    if (op->a->op == V_tile)
        give(op->a->access->tile, layout_mma_a(place->cx, shape[0], shape[2], wm, wn, 16));
    if (op->b->op == V_tile)
        give(op->b->access->tile, layout_mma_b(place->cx, shape[2], shape[1], wm, wn, 16));
}

/* ---- spreading */

static bool is_register(const Access *access)
{
    return access && access->tile && access->tile->scope == TS_register;
}

/* map[k] = the box coordinate that is index k of the access, or -1. */
static void index_map(const TileOp *op, const Access *access, int *map)
{
    for (int k = 0; k < MAX_BOX; k++) {
        map[k] = -1;
        for (int d = 0; k < access->rank && d < op->box.rank; d++)
            if (access->index[k] == op->box.coord[d])
                map[k] = d;
    }
}

static int64_t covered(const Layout *layout)
{
    int64_t points = layout_regs(layout);
    for (int p = 0; p < layout->lane_count; p++)
        points *= layout->lanes[p].dim >= 0 ? layout->lanes[p].extent : 1;
    return points;
}

/* The layout of the op's box by its register tiles: that which covers most; written tiles before
 * read ones. */
static Layout *box_layout(Place *place, const TileOp *op)
{
    Layout *best = NULL;
    for (uint32_t i = place_access_count(op); i-- > 0;) {
        const Access *access = place_access(op, i);
        int map[MAX_BOX];
        if (!is_register(access) || !access->tile->layout)
            continue;
        index_map(op, access, map);
        Layout *layout = layout_rename(place->cx, access->tile->layout, map);
        if (!best || covered(layout) > covered(best))
            best = layout;
    }
    return best;
}

/* The layout a tile must have to be used by an op of this box layout. */
static Layout *wanted_layout(Place *place, const TileOp *op, const Access *access,
                             const Layout *box)
{
    int map[MAX_BOX], back[MAX_BOX];
    index_map(op, access, map);
    for (int d = 0; d < MAX_BOX; d++) {
        back[d] = -1;
        for (int k = 0; k < access->rank; k++)
            if (map[k] == d)
                back[d] = k;
    }
    return layout_rename(place->cx, box, back);
}

static int64_t elements(const Tile *tile)
{
    int64_t count = 1;
    for (int d = 0; d < tile->rank; d++)
        count *= tile->shape[d];
    return count;
}

static bool covers(const TileOp *op, const Access *access)
{
    int64_t box = 1;
    for (int d = 0; d < op->box.rank; d++)
        box *= op->box.shape[d];
    return elements(access->tile) <= box;
}

static void spread(Place *place, TileBlock *block, TileOp *op)
{
    (void)block;
    if (op->kind == TO_reduce && op->src->layout)
        give(op->dst, layout_slice(place->cx, op->src->layout, op->dim));
    if (op->kind != TO_map)
        return;
    Layout *box = box_layout(place, op);
    int64_t most = 0; /* do not let a small tile decide for a larger one */
    for (uint32_t i = 0; i < place_access_count(op); i++)
        if (is_register(place_access(op, i)) && place_access(op, i)->tile->layout)
            most = elements(place_access(op, i)->tile) > most ? elements(place_access(op, i)->tile)
                                                              : most;
    for (uint32_t i = 0; box && i < place_access_count(op); i++) {
        const Access *access = place_access(op, i);
        if (is_register(access) && !access->tile->layout && elements(access->tile) <= most &&
            covers(op, access))
            access->tile->layout = wanted_layout(place, op, access, box);
    }
}

static uint32_t unknown(const Place *place, Tile **largest)
{
    uint32_t count = 0;
    *largest = NULL;
    for (uint32_t i = 0; i < place->grid->tile_count; i++) {
        Tile *tile = place->grid->tiles[i];
        if (tile->scope != TS_register || tile->layout)
            continue;
        count++;
        if (!*largest || elements(tile) > elements(*largest))
            *largest = tile;
    }
    return count;
}

static void spread_all(Place *place)
{
    Tile *largest;
    uint32_t left = unknown(place, &largest);
    while (left > 0) {
        place_each(place, &place->grid->body, spread);
        uint32_t now = unknown(place, &largest);
        if (now == left) {
            int bytes = dtype_bits(largest->dtype) / 8, threads = place->grid->threads;
            int vec =
                bytes > 0 && elements(largest) >= (int64_t)threads * (16 / bytes) ? 16 / bytes : 1;
            largest->layout =
                layout_blocked(place->cx, largest->rank, largest->shape, threads, vec);
            now = unknown(place, &largest);
        }
        left = now;
    }
}

/* ---- conversions */

static Tile *converted(Place *place, const Tile *like, Layout *layout)
{
    Tile *tile = place_tile(place, "cv", like->dtype, TS_register, like->rank, like->shape);
    tile->layout = layout;
    return tile;
}

static TileOp *new_convert(Place *place, Tile *dst, Tile *src)
{
    TileBlock loose = {NULL, NULL};
    Tile *via = place_tile(place, "via", src->dtype, TS_shared, src->rank, src->shape);
    return tile_convert(place->prog, &loose, dst, src, via);
}

static TileOp *previous(const TileBlock *block, const TileOp *op)
{
    TileOp *before = NULL;
    for (TileOp *at = block->first; at != op; at = at->next)
        before = at;
    return before;
}

static void convert_map(Place *place, TileBlock *block, TileOp *op)
{
    Layout *box = box_layout(place, op);
    for (uint32_t i = 0; box && i < place_access_count(op); i++) {
        Access *access = place_access(op, i);
        if (!is_register(access))
            continue;
        Layout *want = wanted_layout(place, op, access, box);
        Tile *old = access->tile;
        if (layout_equal(want, old->layout))
            continue;
        Tile *tile = converted(place, old, want);
        access->tile = tile;
        if (i < op->value_count)
            place_insert(block, previous(block, op), new_convert(place, tile, old));
        else
            place_insert(block, op, new_convert(place, old, tile));
    }
}

static void convert_op(Place *place, TileBlock *block, TileOp *op)
{
    if (op->kind == TO_map)
        convert_map(place, block, op);
    if (op->kind != TO_reduce)
        return;
    Layout *want = layout_slice(place->cx, op->src->layout, op->dim);
    if (!layout_equal(want, op->dst->layout)) {
        Tile *old = op->dst;
        op->dst = converted(place, old, want);
        place_insert(block, op, new_convert(place, old, op->dst));
    }
}

/* ---- thread maps */

/* Elements per thread and run of a copy: the most an asynchronous one can take, where there are
 * such; both sides have to agree. */
static int copy_vector(Place *place, const TileOp *op)
{
    for (int vec = 16; vec >= 1 && place->prog->caps->cp_async; vec /= 2)
        if (op->kind == TO_copy && place_can_copy_async(place, op, vec))
            return vec;
    return place_vector(place, op);
}

static void give_thread_map(Place *place, TileBlock *block, TileOp *op)
{
    (void)block;
    if (op->kind != TO_map && op->kind != TO_copy)
        return;
    for (uint32_t i = 0; i < place_access_count(op); i++)
        if (is_register(place_access(op, i)))
            return;
    int vec = copy_vector(place, op), rank = op->box.rank;
    while (vec > 1 && op->box.shape[rank - 1] % vec)
        vec /= 2;
    op->by = layout_blocked(place->cx, rank, op->box.shape, place->grid->threads, vec);
}

static void find_register_a(Place *place, TileBlock *block, TileOp *op)
{
    (void)block;
    if (op->kind == TO_mma && op->a->op == V_tile)
        place->register_a = true;
}

void place_layouts(Place *place)
{
    place->register_a = false;
    place_each(place, &place->grid->body, find_register_a);
    place_each(place, &place->grid->body, place_mma);
    if (cx_failed(place->cx))
        return;
    spread_all(place);
    place_each(place, &place->grid->body, convert_op);
    place_each(place, &place->grid->body, give_thread_map);
}

/* The table of schedules: text, defaults, candidates, and the dispatch to the lowering of each
 * skeleton. */
#include "passes/schedule.h"
#include "passes/lower_value.h"

#include <string.h>

enum {
    CONTRACTION = 1 << SK_contraction,
    ATTENTION = 1 << SK_attention,
    SCAN = 1 << SK_scan,
    SCATTER = 1 << SK_scatter,
    GENERAL = 1 << SK_general,
    TILES = 1 << SK_tiles,
    BLOCKS = 1 << SK_blocks,
    FLASH = 1 << SK_flash
};

static const struct {
    const char *name;
    unsigned skeletons;
    int32_t lowest, highest, standard;
} fields[SF_count] = {
#define SCHEDULE(field, skeletons, lowest, highest, standard)                                      \
    {#field, skeletons, lowest, highest, standard},
#include "passes/schedule.def"
#undef SCHEDULE
};

static const char *const skeleton_names[SK_count] = {
    "contraction", "attention", "scan", "scatter", "general", "tiles", "blocks", "flash"};

Schedule schedule_default(Skeleton skeleton)
{
    Schedule schedule = {.skeleton = skeleton};
    for (int i = 0; i < SF_count; i++)
        if (fields[i].skeletons >> skeleton & 1)
            schedule.field[i] = fields[i].standard;
    return schedule;
}

void schedule_print(Text *text, const Schedule *schedule)
{
    text_add(text, "%s", skeleton_names[schedule->skeleton]);
    for (int i = 0; i < SF_count; i++)
        if (fields[i].skeletons >> schedule->skeleton & 1)
            text_add(text, " %s=%d", fields[i].name, schedule->field[i]);
}

static int find_field(const Scan *scan, Skeleton skeleton)
{
    for (int i = 0; i < SF_count; i++)
        if ((fields[i].skeletons >> skeleton & 1) && scan_is(scan, fields[i].name))
            return i;
    return -1;
}

bool schedule_parse(Scan *scan, Schedule *schedule)
{
    int skeleton = 0;
    while (skeleton < SK_count && !scan_is(scan, skeleton_names[skeleton]))
        skeleton++;
    if (skeleton == SK_count) {
        scan_fail(scan, "expected a skeleton: contraction, attention, scan, scatter, general, "
                        "tiles, blocks or flash");
        return false;
    }
    scan_next(scan);
    *schedule = schedule_default((Skeleton)skeleton);
    for (int i; (i = find_field(scan, schedule->skeleton)) >= 0;) {
        scan_next(scan);
        if (!scan_expect(scan, "="))
            return false;
        int64_t value = scan_int(scan);
        if (value < fields[i].lowest || value > fields[i].highest) {
            scan_fail(scan, "%s must be in %d..%d", fields[i].name, fields[i].lowest,
                      fields[i].highest);
            return false;
        }
        schedule->field[i] = (int32_t)value;
    }
    return !cx_failed(scan->cx);
}

/* Candidates of one skeleton: how many there are for a nest, and one of them, false when the target
 * lacks the registers for it. */
typedef struct Candidates {
    int (*count)(const Nest *nest);
    bool (*get)(const Caps *caps, int index, Schedule *schedule);
} Candidates;

static const int32_t tile_sizes[][4] = {/* mr nv ku mt */
                                        {8, 3, 4, 8},  {7, 2, 2, 8}, {6, 4, 4, 8}, {6, 2, 4, 4},
                                        {14, 2, 4, 4}, {4, 1, 1, 2}, {3, 2, 3, 1}, {1, 4, 4, 1}};
static const int32_t attention_sizes[][5] = {/* mr nv ku mt keys */
                                             {8, 2, 4, 8, 4},
                                             {6, 4, 4, 4, 2},
                                             {4, 1, 3, 1, 1},
                                             {1, 2, 4, 8, 8},
                                             {3, 2, 1, 2, 3}};
static const int32_t box_sizes[][4] = {/* vec rows grain keep */
                                       {2, 1, 16384, 1},
                                       {1, 1, 256, 0},
                                       {4, 1, 4096, 1},
                                       {1, 4, 1024, 1},
                                       {2, 2, 64, 0}};

static int contraction_count(const Nest *nest)
{
    return nest_contraction(nest->cx, nest).has ? (int)(sizeof tile_sizes / sizeof *tile_sizes) * 3
                                                : 0;
}

static bool contraction_get(const Caps *caps, int index, Schedule *schedule)
{
    const int32_t *t = tile_sizes[index / 3];
    *schedule = schedule_default(SK_contraction);
    schedule->field[SF_mr] = t[0];
    schedule->field[SF_nv] = t[1];
    schedule->field[SF_ku] = t[2];
    schedule->field[SF_mt] = t[3];
    schedule->field[SF_pack] = index % 3;
    if (t[0] * t[1] + t[1] + 1 > caps->registers)
        schedule->field[SF_mr] = (caps->registers - 1 - t[1]) / t[1];
    return schedule->field[SF_mr] > 0;
}

static int attention_count(const Nest *nest)
{
    return nest_attention(nest->cx, nest).has
               ? (int)(sizeof attention_sizes / sizeof *attention_sizes)
               : 0;
}

static bool attention_get(const Caps *caps, int index, Schedule *schedule)
{
    const int32_t *b = attention_sizes[index];
    *schedule = schedule_default(SK_attention);
    schedule->field[SF_mr] = b[0] * b[1] + b[1] < caps->registers ? b[0] : 2;
    schedule->field[SF_nv] = b[1];
    schedule->field[SF_ku] = b[2];
    schedule->field[SF_mt] = b[3];
    schedule->field[SF_keys] = b[4];
    return true;
}

static int scan_count(const Nest *nest)
{
    return nest_scan(nest->cx, nest).has ? 2 : 0;
}

static bool scan_get(const Caps *caps, int index, Schedule *schedule)
{
    (void)caps;
    *schedule = schedule_default(SK_scan);
    schedule->field[SF_vec] = index ? 4 : 1;
    return true;
}

static int scatter_count(const Nest *nest)
{
    return nest_scatter(nest).has ? 2 : 0;
}

static bool scatter_get(const Caps *caps, int index, Schedule *schedule)
{
    (void)caps;
    *schedule = schedule_default(SK_scatter);
    schedule->field[SF_vec] = index ? 4 : 1;
    return true;
}

static int general_count(const Nest *nest)
{
    (void)nest;
    return (int)(sizeof box_sizes / sizeof *box_sizes);
}

static bool general_get(const Caps *caps, int index, Schedule *schedule)
{
    (void)caps;
    *schedule = schedule_default(SK_general);
    schedule->field[SF_vec] = box_sizes[index][0];
    schedule->field[SF_rows] = box_sizes[index][1];
    schedule->field[SF_grain] = box_sizes[index][2];
    schedule->field[SF_keep] = box_sizes[index][3];
    return true;
}

bool schedule_candidate(const Nest *nest, const Caps *caps, int index, Schedule *schedule)
{
    static const Candidates all[] = {{contraction_count, contraction_get},
                                     {attention_count, attention_get},
                                     {scan_count, scan_get},
                                     {scatter_count, scatter_get},
                                     {general_count, general_get}};
    if (target_is_gpu(caps))
        return gpu_candidate(nest, caps, index, schedule);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int count = all[i].count(nest);
        if (index < count)
            return all[i].get(caps, index, schedule);
        index -= count;
    }
    return false;
}

bool schedule_equal(const Schedule *a, const Schedule *b)
{
    return a->skeleton == b->skeleton && memcmp(a->field, b->field, sizeof a->field) == 0;
}

bool schedule_neighbour(const Schedule *from, int index, Schedule *schedule)
{
    for (int f = 0; f < SF_count; f++) {
        int32_t now = from->field[f];
        const int32_t moves[] = {now + 1, now - 1, now * 2, now / 2};
        if (!(fields[f].skeletons >> from->skeleton & 1))
            continue;
        for (int m = 0; m < 4; m++) {
            bool again = m >= 2 && (moves[m] == moves[m - 2] || moves[m] == now);
            if (again || moves[m] < fields[f].lowest || moves[m] > fields[f].highest || index-- > 0)
                continue;
            *schedule = *from;
            schedule->field[f] = moves[m];
            return true;
        }
    }
    return false;
}

/* Results without elements: the indices of such a nest cannot be proven in bounds, and need not be.
 */
static bool stores_nothing(const Nest *nest)
{
    for (uint32_t i = 0; i < nest->store_count; i++) {
        const Buffer *to = nest->stores[i].access->buffer;
        bool empty = false;
        for (int d = 0; d < to->rank; d++)
            empty |= expr_is_const(to->shape[d], 0);
        if (!empty)
            return false;
    }
    return true;
}

bool schedule_apply(Cx *cx, Nest *nest, const Schedule *schedule, const Caps *caps, Lowered *out)
{
    *out = (Lowered){.prog = tile_prog(cx, nest->name, caps)};
    bool for_gpu = schedule->skeleton == SK_tiles || schedule->skeleton == SK_blocks ||
                   schedule->skeleton == SK_flash;
    if (for_gpu != target_is_gpu(caps)) {
        cx_fail(cx, ST_unsupported, "a schedule of '%s' for the target %s",
                skeleton_names[schedule->skeleton], caps->name);
        return false;
    }
    TileProg *prog = out->prog;
    for (uint32_t i = 0; i < nest->dim_count; i++)
        VEC_PUSH(cx->arena, prog->dims, prog->dim_count, prog->dim_cap, nest->dims[i]);
    for (uint32_t i = 0; i < nest->equal_count; i++)
        VEC_PUSH(cx->arena, prog->equals, prog->equal_count, prog->equal_cap, nest->equals[i]);
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        VEC_PUSH(cx->arena, prog->buffers, prog->buffer_count, prog->buffer_cap, nest->buffers[i]);
    if (stores_nothing(nest)) {
        const Expr *none = expr_const(cx, 0);
        tile_grid(prog, 1, (const char *const[]){"none"}, &none);
        return tile_secure(prog);
    }
    Lower *lower = NEW(cx->arena, Lower);
    lower_init(lower, cx, nest, caps, prog);
    bool done = false;
    switch (schedule->skeleton) {
    case SK_contraction: done = apply_contraction(lower, schedule, out); break;
    case SK_attention: done = apply_attention(lower, schedule); break;
    case SK_scan: done = apply_scan(lower, schedule); break;
    case SK_scatter: done = apply_scatter(lower, schedule); break;
    case SK_tiles: done = apply_tiles(lower, schedule); break;
    case SK_flash: done = apply_flash(lower, schedule); break;
    case SK_general:
    case SK_blocks: done = apply_general(lower, schedule, out); break;
    case SK_count: BUG("no skeleton");
    }
    return done && !cx_failed(cx) && tile_secure(prog);
}

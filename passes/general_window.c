/* General skeleton: windows (pooling, depthwise convolution). Along u a window reads points shared
 * with its neighbours' windows: a box of several results loads each once. The results whose windows
 * lie within the operand, the interior, are computed without guards along u; the few at each end
 * one by one, with them. Guards along outer axes (rows above and below) are decided once a task.
 *
 *   u:   | border | box | box | box | rest | border |        guards: always, none .., always
 */
#include "passes/sched_general.h"

#include <string.h>

enum { MAX_ASSUMED = 16, MAX_TESTS = 8, LONGEST = 8 };

enum { ROWS = 3, NEAR = 8192 }; /* rows of an ordinary window; points that stay in L1 */

typedef struct Interior {
    General *g;
    int64_t lo, hi;                      /* along u */
    const Guard *along[MAX_ASSUMED];     /* hold there */
    const Guard *outer[2 * MAX_ASSUMED]; /* those too, where the tests hold */
    int along_count, outer_count, test_count;
    Guard tests[2 * MAX_TESTS];
    bool is_window;
} Interior;

static int64_t floor_to(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

/* lo <= step * u + rest < hi for all values of rest. */
static bool narrow(Interior *in, const Guard *guard)
{
    General *g = in->g;
    int64_t step;
    const Expr *rest;
    if (!expr_linear(g->cx, guard->e, g->nest->axes[g->u].sym, &step, &rest) || step < 1 ||
        guard->lo->kind != EX_const || guard->hi->kind != EX_const ||
        (expr_axes(g->nest, rest) & g->axes) || rest->lo < INT32_MIN || rest->hi > INT32_MAX ||
        in->along_count == MAX_ASSUMED)
        return false;
    int64_t lo = -floor_to(rest->lo - guard->lo->value, step);
    int64_t hi = floor_to(guard->hi->value - 1 - rest->hi, step) + 1;
    in->lo = lo > in->lo ? lo : in->lo;
    in->hi = hi < in->hi ? hi : in->hi;
    in->along[in->along_count++] = guard;
    return true;
}

/* A guard without u: what it asks of the outer axes for every value of the reduced ones. */
static void add_test(Interior *in, const Guard *guard)
{
    General *g = in->g;
    uint64_t outer = expr_axes(g->nest, guard->e) & g->axes;
    if (in->test_count == 2 * MAX_TESTS || outer >> g->v & 1 || guard->lo->kind != EX_const ||
        guard->hi->kind != EX_const)
        return;
    const Expr *low = guard->e, *high = guard->e;
    for (int i = 0; i < g->nest->axis_count; i++) {
        int64_t step;
        const Expr *rest, *sym = g->nest->axes[i].sym, *extent = g->nest->axes[i].extent;
        if (outer >> i & 1 || !expr_uses(low, sym))
            continue;
        if (!expr_linear(g->cx, low, sym, &step, &rest) || step < 0 || extent->kind != EX_const)
            return;
        low = rest;
        expr_linear(g->cx, high, sym, &step, &rest);
        high = expr_addi(g->cx, rest, step * (extent->value - 1));
    }
    in->tests[in->test_count++] = (Guard){low, guard->lo, guard->hi};
    in->tests[in->test_count++] = (Guard){high, guard->lo, guard->hi};
    in->outer[in->outer_count++] = guard;
}

/* Whether an index moves along u and a reduced axis at once. */
static bool slides(const General *g, const Access *access)
{
    for (int d = 0; d < access->rank; d++) {
        uint64_t axes = expr_axes(g->nest, access->index[d]);
        if ((axes >> g->u & 1) && (axes & ~g->axes))
            return true;
    }
    return false;
}

static bool look_at(Interior *in, const Value *value)
{
    const General *g = in->g;
    if (value->op == V_bind || value->op == V_index)
        return false;
    if (value->op != V_load || !value->access->buffer)
        return true;
    in->is_window |= slides(g, value->access);
    for (int i = 0; i < value->access->guard_count; i++) {
        const Guard *guard = &value->access->guards[i];
        if (!(expr_axes(g->nest, guard->e) >> g->u & 1))
            add_test(in, guard);
        else if (!narrow(in, guard))
            return false;
    }
    return true;
}

static bool find_interior(General *g, Interior *in)
{
    *in = (Interior){.g = g};
    if (target_is_gpu(g->lower->caps) || g->u < 0 || g->v < 0 || g->v_outer)
        return false;
    const Expr *u = g->nest->axes[g->u].extent, *v = g->nest->axes[g->v].extent;
    if (u->kind != EX_const || v->kind != EX_const || u->value < 1 ||
        u->value * v->value > (int64_t)LONGEST * g->schedule->field[SF_grain])
        return false;
    in->hi = u->value;
    for (uint32_t i = 0; i < g->nest->value_count; i++)
        if (!look_at(in, g->nest->values[i]))
            return false;
    return in->is_window && in->lo < in->hi;
}

bool general_is_window(General *g)
{
    Interior in;
    return find_interior(g, &in);
}

int64_t general_window_chunk(const General *g)
{
    int64_t u = g->nest->axes[g->u].extent->value, v = g->nest->axes[g->v].extent->value;
    int64_t chunk = v;
    for (int64_t parts = 2; chunk * u * ROWS > NEAR && v / parts >= g->lanes; parts++)
        if (v % parts == 0 && v / parts % g->lanes == 0)
            chunk = v / parts;
    return chunk;
}

typedef struct Window {
    BoxBody *body;
    void *user;
} Window;

/* A rest of known size is a box of that size. */
static void exact_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Window *w = user;
    if (bound && bound->kind == EX_const) {
        size = (int)bound->value;
        bound = NULL;
    }
    w->body(w->user, block, base, size, bound);
}

static void part(Interior *in, TileBlock *block, int64_t lo, int64_t hi, int rows, Window *w)
{
    General *g = in->g;
    if (lo < hi)
        lower_boxes(g->lower, block, g->nest->axes[g->u].sym->name, expr_const(g->cx, lo),
                    expr_const(g->cx, hi), rows, exact_box, w);
}

/* Equal boxes of at most `rows`, where that leaves no rest. */
static int even_rows(int64_t count, int rows)
{
    int least = rows / 2 > 1 ? rows / 2 : 1;
    for (int r = rows; r > least; r--)
        if (count % r == 0)
            return r;
    return count < rows ? (int)count : rows;
}

void general_window_boxes(General *g, TileBlock *block, int rows, BoxBody *body, void *user)
{
    Interior in;
    Window w = {body, user};
    bool window = find_interior(g, &in);
    CHECK(window);
    int64_t extent = g->nest->axes[g->u].extent->value;
    const Guard *assumed[3 * MAX_ASSUMED];
    Lower *lower = g->lower;
    rows = even_rows(in.hi - in.lo, rows);
    part(&in, block, 0, in.lo, 1, &w);
    lower->assumed = assumed;
    lower->assumed_count = in.along_count;
    memcpy(assumed, in.along, sizeof in.along);
    TileBlock *other = block;
    if (in.test_count) {
        for (int i = 0; i < in.test_count; i++)
            in.tests[i].e = lower_expr(lower, in.tests[i].e);
        TileOp *test = tile_if(lower->prog, block, in.tests, in.test_count);
        memcpy(assumed + in.along_count, in.outer, (size_t)in.outer_count * sizeof *assumed);
        lower->assumed_count += in.outer_count;
        part(&in, test->body, in.lo, in.hi, rows, &w);
        lower->assumed_count = in.along_count;
        other = test->other = NEW(g->cx->arena, TileBlock);
    }
    part(&in, other, in.lo, in.hi, rows, &w);
    lower->assumed_count = 0;
    part(&in, block, in.hi, extent, 1, &w);
}

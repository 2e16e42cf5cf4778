/* mma on a GPU: a tile of FMAs for any layout, or tensor cores when the result has the mma C layout
 * (ir/layout.h).
 *
 * FMAs: each thread evaluates its values of a (one per register digit of dim 0) and of b (of dim 1)
 * for one r, then all products. Tensor cores: operands are 16-bit. Fragments of a and b come, in
 * this order of preference, from registers that have the fragment's layout, from shared memory by
 * ldmatrix (contiguous in either direction, rows aligned to 16 bytes), or are packed from single
 * values. One step is 16 along r, which q_mma_* splits where the device's atom is 8. */
#include "codegen/c_impl.h"

/* ---- tiles of FMAs */

enum { CHUNK = 4 }; /* steps of r, or elements of a run, loaded at once */

typedef enum SideMode { SINGLE, ALONG_R, ALONG_SELF } SideMode;

typedef struct Side {
    int dim; /* 0: a, 1: b */
    const Value *value;
    const char *name; /* array of this side's values; with an r in front the raw elements */
    SideMode mode;
} Side;

static int side_count(const Layout *layout, int dim)
{
    int count = 1;
    for (int p = 0; p < layout->reg_count; p++)
        count *= layout->regs[p].dim == dim ? layout->regs[p].extent : 1;
    return count;
}

static const Expr *side_index(CPrint *cp, const Layout *layout, int dim)
{
    const Expr *at = expr_const(cp->cx, 0);
    int64_t below = 1;
    for (int p = 0; p < layout->reg_count; p++)
        if (layout->regs[p].dim == dim) {
            at = expr_add(cp->cx, at, expr_muli(cp->cx, cp->digits[p], below));
            below *= layout->regs[p].extent;
        }
    return at;
}

/* First register part of the side's dim, or -1. */
static int side_run(const Layout *layout, int dim)
{
    for (int p = 0; p < layout->reg_count; p++)
        if (layout->regs[p].dim == dim)
            return layout->regs[p].extent == CHUNK && layout->regs[p].stride == 1 ? p : -1;
    return -1;
}

static void side_coords(CPrint *cp, const Layout *layout, int dim, const Expr *r)
{
    cp->coord[dim] = layout_coord(cp->cx, layout, dim, cp->tid, cp->digits);
    cp->coord[1 - dim] = expr_const(cp->cx, 0);
    cp->coord[2] = r;
}

/* Whether the offset grows by 1 with `digit` from multiples of the chunk. */
static bool is_chunk(CPrint *cp, const Access *access, const Expr *digit)
{
    const Expr *rest;
    int64_t coef;
    return expr_linear(cp->cx, c_offset(cp, access), digit, &coef, &rest) && coef == 1 &&
           rest->div % CHUNK == 0;
}

/* How the side's shared tile can be read in chunks; the full box only. */
static SideMode side_mode(CPrint *cp, const TileOp *op, const Side *side)
{
    const Layout *layout = op->dst->layout;
    const Access *access = side->value->access;
    Cx *cx = cp->cx;
    if (side->value->op != V_load || !access->tile || access->guard_count || access->tile->swizzle)
        return SINGLE;
    int bytes = CHUNK * dtype_bits(access->tile->dtype) / 8, run = side_run(layout, side->dim);
    int covered = 1;
    for (int p = 0; p < layout->lane_count; p++)
        covered *= layout->lanes[p].dim == side->dim ? layout->lanes[p].extent : 1;
    if ((bytes != 4 && bytes != 8 && bytes != 16) ||
        covered * side_count(layout, side->dim) != op->box.shape[side->dim] ||
        op->box.bound[side->dim])
        return SINGLE;
    const Expr *digit = expr_sym(cx, "s", 0, CHUNK - 1, 1);
    for (int p = 0; p < layout->reg_count; p++) /* stand-ins for a proof */
        cp->digits[p] = expr_sym(cx, "r", 0, layout->regs[p].extent - 1, 1);
    const Expr *q = expr_sym(cx, "q", 0, op->box.shape[2] / CHUNK, 1);
    side_coords(cp, layout, side->dim, expr_add(cx, digit, expr_muli(cx, q, CHUNK)));
    if (op->box.shape[2] % CHUNK == 0 && !op->box.bound[2] && is_chunk(cp, access, digit))
        return ALONG_R;
    if (run < 0)
        return SINGLE;
    cp->digits[run] = digit;
    side_coords(cp, layout, side->dim, q);
    return is_chunk(cp, access, digit) ? ALONG_SELF : SINGLE;
}

static void open_side(CPrint *cp, const Layout *layout, int dim, int skip, int *opened)
{
    for (int p = layout->reg_count - 1; p >= 0; p--)
        if (layout->regs[p].dim == dim && p != skip)
            cp->digits[p] = c_unrolled(cp, layout->regs[p].extent, opened);
        else if (p == skip)
            cp->digits[p] = expr_const(cp->cx, 0);
}

static void close_loops(CPrint *cp, int count)
{
    for (int i = 0; i < count; i++)
        c_close(cp);
}

/* Raw chunks of the side at step r (ALONG_R: of four steps): `rNAME[index][4]`. */
static void put_chunks(CPrint *cp, const TileOp *op, const Side *side, const Expr *r)
{
    const Layout *layout = op->dst->layout;
    const Access *access = side->value->access;
    Dtype dtype = access->tile->dtype;
    int opened = 0, skip = side->mode == ALONG_SELF ? side_run(layout, side->dim) : -1;
    int count = side_count(layout, side->dim) / (skip >= 0 ? CHUNK : 1);
    c_line(cp, "q_aligned %s r%s[%d][%d];", c_raw_type(dtype), side->name, count, CHUNK);
    open_side(cp, layout, side->dim, skip, &opened);
    side_coords(cp, layout, side->dim, r);
    const Expr *index = side_index(cp, layout, side->dim);
    if (skip >= 0)
        index = expr_divi(cp->cx, index, CHUNK);
    c_line(cp, "q_load%d_shared(r%s[%s], %s + %s);", CHUNK * dtype_bits(dtype) / 8, side->name,
           c_expr(cp, index), c_base(cp, access), c_element(cp, access));
    close_loops(cp, opened);
}

/* The side's values at one step. Outside the box or its bounds nothing is loaded. */
static void put_side(CPrint *cp, const TileOp *op, const Side *side, const Expr *r,
                     const Expr *step)
{
    const Layout *layout = op->dst->layout;
    const Expr *zero = expr_const(cp->cx, 0);
    int opened = 0, d = side->dim;
    c_line(cp, "%s %s[%d];", c_type(op->dst->dtype), side->name, side_count(layout, d));
    if (side->mode == ALONG_SELF)
        put_chunks(cp, op, side, r);
    open_side(cp, layout, d, -1, &opened);
    side_coords(cp, layout, d, r);
    const Expr *index = side_index(cp, layout, d);
    if (side->mode != SINGLE) {
        bool self = side->mode == ALONG_SELF;
        const Expr *chunk = self ? expr_divi(cp->cx, index, CHUNK) : index;
        const Expr *element = self ? expr_modi(cp->cx, index, CHUNK) : step;
        const char *raw = arena_printf(cp->cx->arena, "r%s[%s][%s]", side->name, c_expr(cp, chunk),
                                       c_expr(cp, element));
        c_line(cp, "%s[%s] = %s;", side->name, c_expr(cp, index),
               c_from_raw(cp, side->value->access->tile->dtype, raw));
    } else {
        Guard guards[2] = {{cp->coord[d], zero, expr_const(cp->cx, op->box.shape[d])},
                           {cp->coord[d], zero, op->box.bound[d]}};
        cp->load_if = c_guards(cp, guards, op->box.bound[d] ? 2 : 1);
        c_values(cp, op, side->value);
        cp->load_if = NULL;
        c_line(cp, "%s[%s] = v%u;", side->name, c_expr(cp, index), (unsigned)side->value->id);
    }
    close_loops(cp, opened);
}

static void put_products(CPrint *cp, const TileOp *op)
{
    const Layout *layout = op->dst->layout;
    Dtype dtype = dtype_compute(op->dst->dtype);
    int opened = 0;
    open_side(cp, layout, 1, -1, &opened);
    open_side(cp, layout, 0, -1, &opened);
    const Expr *at = expr_const(cp->cx, 0);
    int64_t below = 1;
    for (int p = 0; p < layout->reg_count; p++) {
        at = expr_add(cp->cx, at, expr_muli(cp->cx, cp->digits[p], below));
        below *= layout->regs[p].extent;
    }
    Arena *arena = cp->cx->arena;
    const char *acc = arena_printf(arena, "%s[%s]", c_tile_name(cp, op->dst), c_expr(cp, at));
    const char *x = arena_printf(arena, "fa[%s]", c_expr(cp, side_index(cp, layout, 0)));
    const char *y = arena_printf(arena, "fb[%s]", c_expr(cp, side_index(cp, layout, 1)));
    const char *product = arena_printf(arena, "(%s)", c_scalar(cp, S_mul, dtype, x, y, ""));
    c_line(cp, "%s = %s;", acc,
           dtype_is_float(dtype) ? c_scalar(cp, S_fma, dtype, x, y, acc)
                                 : c_scalar(cp, S_add, dtype, acc, product, ""));
    close_loops(cp, opened);
}

static void put_fmas(CPrint *cp, const TileOp *op)
{
    const Layout *layout = op->dst->layout;
    Side a = {0, op->a, "fa", SINGLE}, b = {1, op->b, "fb", SINGLE};
    int opened = 0;
    cp->layout = layout;
    a.mode = side_mode(cp, op, &a);
    b.mode = side_mode(cp, op, &b);
    cp->coord[0] = NULL;
    int chunk = a.mode == ALONG_R || b.mode == ALONG_R ? CHUNK : 1;
    const Expr *extent = expr_const(cp->cx, op->box.shape[2]), *bound = op->box.bound[2];
    const char *end = c_expr(cp, bound ? expr_min(cp->cx, bound, extent) : extent);
    const Expr *q = c_counter(cp, "r", op->box.shape[2] / chunk);
    const char *name = cp->names[cp->name_count - 1].text;
    if (chunk == 1)
        c_open(cp, "for (i32 %s = 0; %s < %s; %s++) ", name, name, end, name);
    else
        c_open(cp, "for (i32 %s = 0; %s < %d; %s++) ", name, name, op->box.shape[2] / chunk, name);
    const Expr *first = expr_muli(cp->cx, q, chunk);
    if (a.mode == ALONG_R)
        put_chunks(cp, op, &a, first);
    if (b.mode == ALONG_R)
        put_chunks(cp, op, &b, first);
    const Expr *step = c_unrolled(cp, chunk, &opened);
    put_side(cp, op, &a, expr_add(cp->cx, first, step), step);
    put_side(cp, op, &b, expr_add(cp->cx, first, step), step);
    put_products(cp, op);
    close_loops(cp, opened + 1);
}

/* ---- tensor cores */

typedef struct Core {
    CPrint *cp;
    const TileOp *op;
    Dtype dtype; /* f16 or bf16 */
    int warps_m, warps_n;
    int atoms_m, atoms_n;  /* per warp: 16 rows, 8 columns */
    const Expr *row, *col; /* where the warp's rectangle starts */
    const Expr *k;         /* first r of the step */
} Core;

/* The 16-bit type a value is known to fit: as loaded, or as cast. */
static Dtype half_type(const Value *value)
{
    if (value->op == V_cast)
        return value->dtype;
    if ((value->op == V_load || value->op == V_tile) && value->access)
        return value->access->buffer ? value->access->buffer->dtype : value->access->tile->dtype;
    return DT_none;
}

static void put_coords(const Core *core, const Expr *i, const Expr *j, const Expr *r)
{
    core->cp->coord[0] = i;
    core->cp->coord[1] = j;
    core->cp->coord[2] = expr_add(core->cp->cx, core->k, r);
}

/* Offsets of a shared operand grow by 1 along coordinate `dim` of the box, and start at multiples
 * of 8 elsewhere. */
static bool runs_along(const Core *core, const Value *value, int dim, const Expr *lane)
{
    CPrint *cp = core->cp;
    const Access *access = value->access;
    if (value->op != V_load || !access->tile || access->guard_count || !cp->dialect->ldmatrix)
        return false;
    const Expr *step = expr_sym(cp->cx, "s", 0, 7, 1), *rest;
    int64_t coef;
    for (int d = 0; d < 3; d++) /* any value elsewhere; the run starts at a multiple of 8 */
        cp->coord[d] = d == dim ? expr_add(cp->cx, step, expr_muli(cp->cx, lane, 8)) : lane;
    const Expr *offset = c_offset(cp, access);
    return expr_linear(cp->cx, offset, step, &coef, &rest) && coef == 1 && rest->div % 8 == 0;
}

static const Expr *bits(CPrint *cp, const Expr *e, int shift, int count)
{
    return expr_modi(cp->cx, expr_divi(cp->cx, e, (int64_t)1 << shift), (int64_t)1 << count);
}

static void put_ldmatrix(const Core *core, const Value *value, const char *into, bool transposed)
{
    CPrint *cp = core->cp;
    c_line(cp, "q_ldmatrix4%s(%s, %s + %s);", transposed ? "_trans" : "", into,
           c_base(cp, value->access), c_element(cp, value->access));
}

/* Two neighbouring elements along r in one register. */
static const char *packed_pair(const Core *core, const Value *value, int dim, const Expr *at,
                               const Expr *r, const char *into)
{
    CPrint *cp = core->cp;
    const Expr *zero = expr_const(cp->cx, 0);
    for (int half = 0; half < 2; half++) {
        c_open(cp, "%s", "");
        put_coords(core, dim == 0 ? at : zero, dim == 1 ? at : zero, expr_addi(cp->cx, r, half));
        c_values(cp, core->op, value);
        const char *v = arena_printf(cp->cx->arena, "v%u", (unsigned)value->id);
        c_line(cp, "%s %s(u32)%s%s;", into, half ? "|= " : "= ", c_to_raw(cp, core->dtype, v),
               half ? " << 16" : "");
        c_close(cp);
    }
    return into;
}

static bool has_layout(const Value *value, const Layout *layout)
{
    return value->op == V_tile && value->access->tile->layout &&
           layout_equal(value->access->tile->layout, layout);
}

/* Fragments of a for all row atoms: fa[atom][4]. */
static void put_a(const Core *core, const Expr *step)
{
    CPrint *cp = core->cp;
    Cx *cx = cp->cx;
    const Value *a = core->op->a;
    const Box *box = &core->op->box;
    const Expr *lane = expr_modi(cx, cp->tid, 32), *zero = expr_const(cx, 0);
    int opened = 0;
    c_line(cp, "u32 fa[%d][4];", core->atoms_m);
    const Expr *atom = c_unrolled(cp, core->atoms_m, &opened);
    const Expr *row = expr_add(cx, core->row, expr_muli(cx, atom, 16));
    const char *into = arena_printf(cx->arena, "fa[%s]", c_expr(cp, atom));
    if (has_layout(
            a, layout_mma_a(cx, box->shape[0], box->shape[2], core->warps_m, core->warps_n, 16))) {
        int64_t steps = box->shape[2] / 16;
        const Expr *reg = expr_muli(cx, expr_add(cx, step, expr_muli(cx, atom, steps)), 8);
        for (int i = 0; i < 4; i++) {
            const char *tile = c_tile_name(cp, a->access->tile);
            c_line(cp, "%s[%d] = (u32)%s[%s] | (u32)%s[%s] << 16;", into, i, tile,
                   c_expr(cp, expr_addi(cx, reg, 2 * i)), tile,
                   c_expr(cp, expr_addi(cx, reg, 2 * i + 1)));
        }
    } else if (runs_along(core, a, 2, lane)) {
        put_coords(core, expr_add(cx, row, bits(cp, lane, 0, 4)), zero,
                   expr_muli(cx, bits(cp, lane, 4, 1), 8));
        put_ldmatrix(core, a, into, false);
    } else if (runs_along(core, a, 0, lane)) {
        put_coords(core, expr_add(cx, row, expr_muli(cx, bits(cp, lane, 3, 1), 8)), zero,
                   expr_add(cx, bits(cp, lane, 0, 3), expr_muli(cx, bits(cp, lane, 4, 1), 8)));
        put_ldmatrix(core, a, into, true);
    } else {
        for (int i = 0; i < 4; i++)
            packed_pair(core, a, 0,
                        expr_addi(cx, expr_add(cx, row, bits(cp, lane, 2, 3)), 8 * (i & 1)),
                        expr_addi(cx, expr_muli(cx, bits(cp, lane, 0, 2), 2), 8 * (i >> 1)),
                        arena_printf(cx->arena, "%s[%d]", into, i));
    }
    for (int i = 0; i < opened; i++)
        c_close(cp);
}

/* Fragments of b for all column atoms: fb[atom][2]; ldmatrix brings two atoms at a time. */
static void put_b(const Core *core)
{
    CPrint *cp = core->cp;
    Cx *cx = cp->cx;
    const Value *b = core->op->b;
    const Expr *lane = expr_modi(cx, cp->tid, 32), *zero = expr_const(cx, 0);
    bool along_r = runs_along(core, b, 2, lane), along_j = !along_r && runs_along(core, b, 1, lane);
    bool pairs = core->atoms_n % 2 == 0 && (along_r || along_j);
    int opened = 0;
    c_line(cp, "u32 fb[%d][2];", core->atoms_n);
    const Expr *atom = c_unrolled(cp, pairs ? core->atoms_n / 2 : core->atoms_n, &opened);
    const Expr *col = expr_add(cx, core->col, expr_muli(cx, atom, pairs ? 16 : 8));
    const char *into =
        arena_printf(cx->arena, "fb[%s]", c_expr(cp, expr_muli(cx, atom, pairs ? 2 : 1)));
    if (pairs && along_r) {
        put_coords(
            core, zero,
            expr_add(cx, col,
                     expr_add(cx, bits(cp, lane, 0, 3), expr_muli(cx, bits(cp, lane, 4, 1), 8))),
            expr_muli(cx, bits(cp, lane, 3, 1), 8));
        put_ldmatrix(core, b, into, false);
    } else if (pairs) {
        put_coords(core, zero, expr_add(cx, col, expr_muli(cx, bits(cp, lane, 4, 1), 8)),
                   bits(cp, lane, 0, 4));
        put_ldmatrix(core, b, into, true);
    } else {
        for (int i = 0; i < 2; i++)
            packed_pair(core, b, 1, expr_add(cx, col, bits(cp, lane, 2, 3)),
                        expr_addi(cx, expr_muli(cx, bits(cp, lane, 0, 2), 2), 8 * i),
                        arena_printf(cx->arena, "%s[%d]", into, i));
    }
    for (int i = 0; i < opened; i++)
        c_close(cp);
}

static void put_cores(CPrint *cp, const TileOp *op, int warps_m, int warps_n)
{
    Cx *cx = cp->cx;
    const Box *box = &op->box;
    const Expr *warp = expr_divi(cx, cp->tid, 32);
    Core core = {
        .cp = cp, .op = op, .dtype = half_type(op->a), .warps_m = warps_m, .warps_n = warps_n};
    int rows = box->shape[0] / warps_m, cols = box->shape[1] / warps_n, opened = 0;
    core.atoms_m = rows / 16;
    core.atoms_n = cols / 8;
    core.row = expr_muli(cx, expr_divi(cx, warp, warps_n), rows);
    core.col = expr_muli(cx, expr_modi(cx, warp, warps_n), cols);
    const Expr *step = c_unrolled(cp, box->shape[2] / 16, &opened);
    core.k = expr_muli(cx, step, 16);
    cp->layout = op->dst->layout;
    put_a(&core, step);
    put_b(&core);
    const Expr *m = c_unrolled(cp, core.atoms_m, &opened),
               *n = c_unrolled(cp, core.atoms_n, &opened);
    const Expr *reg = expr_muli(cx, expr_add(cx, n, expr_muli(cx, m, core.atoms_n)), 4);
    c_line(cp, "q_mma_%s(%s + %s, fa[%s], fb[%s]);", dtype_name(core.dtype),
           c_tile_name(cp, op->dst), c_expr(cp, reg), c_expr(cp, m), c_expr(cp, n));
    for (int i = 0; i < opened; i++)
        c_close(cp);
}

static bool uses_tensor_cores(const CPrint *cp, const TileOp *op, int *warps_m, int *warps_n)
{
    const Box *box = &op->box;
    Dtype a = half_type(op->a), b = half_type(op->b);
    if (!cp->prog->caps->mma_sync || op->dst->dtype != DT_f32 || a != b ||
        (a != DT_f16 && a != DT_bf16))
        return false;
    if (a == DT_bf16 && cp->prog->caps->sm < 80)
        return false;
    if (box->shape[2] % 16 || box->bound[0] || box->bound[1] || box->bound[2])
        return false;
    return layout_is_mma_c(op->dst->layout, box->shape[0], box->shape[1], warps_m, warps_n);
}

void c_gpu_mma(CPrint *cp, const TileOp *op)
{
    int warps_m, warps_n;
    if (!op->dst->layout)
        cx_fail(cp->cx, ST_internal, "c_print: tile %s has no layout", op->dst->name);
    else if (uses_tensor_cores(cp, op, &warps_m, &warps_n))
        put_cores(cp, op, warps_m, warps_n);
    else
        put_fmas(cp, op);
}

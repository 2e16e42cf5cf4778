/* The micro-kernel: a register tile += A * B over a few steps of k.
 *
 * Order matters to the register allocator (measured: other orders spill): per k step the vectors of
 * B, then row by row one broadcast element of A and its multiply-adds. All addresses move to the
 * levels outside the k loop. Rows at or over the bound read the last valid row. A bound on r is 1
 * or more wherever rows and columns have any. */
#include "codegen/llvm_emit.h"

typedef struct Mma {
    Emit *e;
    const TileOp *op;
    const RegTile *t;
    int rows, columns, chunks;
} Mma;

static const Expr *row_of(const Mma *m, int i)
{
    Cx *cx = m->e->cx;
    const Expr *at = expr_const(cx, i), *bound = m->op->box.bound[0];
    if (!bound || expr_always_lt(cx, at, bound))
        return at;
    return expr_min(cx, at, expr_addi(cx, bound, -1));
}

static Ref load_b(const Mma *m, const Expr *r, int chunk)
{
    Emit *e = m->e;
    const Box *box = &m->op->box;
    int start = chunk * e->lanes, left = m->columns - start,
        width = chunk_width(e, m->columns, start), log = 0, level;
    while (1 << log < width)
        log++;
    Point p = {.op = m->op,
               .width = width,
               .lane = width > 1 ? e->lane_syms[log] : NULL,
               .seq = box->coord[2]};
    const Expr *at = expr_const(e->cx, start);
    if (p.lane)
        at = expr_add(e->cx, at, p.lane);
    p.count = 2;
    p.syms[0] = box->coord[1], p.with[0] = at;
    p.syms[1] = box->coord[2], p.with[1] = r;
    if (left < width)
        p.mask = const_mask(e, left, width);
    if (box->bound[1]) {
        Guard inside = {at, expr_const(e->cx, 0), box->bound[1]};
        Ref lanes;
        emit_guards(e, &inside, 1, p.lane, width, &lanes, &level);
        if (lanes)
            p.mask = p.mask ? LLVMBuildAnd(e->b, p.mask, lanes, "") : lanes;
    }
    p.vals = NEW_ARRAY(e->arena, Val, m->op->value_count + 1);
    return point_vector(e, &p, point_value(e, &p, m->op->b));
}

static Ref load_a(const Mma *m, const Expr *r, int i)
{
    Emit *e = m->e;
    const Box *box = &m->op->box;
    Point p = {
        .op = m->op, .width = 1, .seq = box->coord[2], .count = 2, .row = expr_const(e->cx, i)};
    p.syms[0] = box->coord[0], p.with[0] = row_of(m, i);
    p.syms[1] = box->coord[2], p.with[1] = r;
    p.vals = NEW_ARRAY(e->arena, Val, m->op->value_count + 1);
    return point_value(e, &p, m->op->a).v;
}

static void emit_step(const Mma *m, const Expr *r)
{
    Emit *e = m->e;
    Ref b[MAX_PARTS * 4];
    bool is_float = dtype_is_float(m->op->dst->dtype);
    for (int c = 0; c < m->chunks; c++)
        b[c] = load_b(m, r, c);
    for (int i = 0; i < m->rows; i++) {
        Ref a = load_a(m, r, i), x = NULL;
        int of = 0; /* the width that x has */
        for (int c = 0; c < m->chunks; c++) {
            Ref *acc = &e->parts[m->t->first + (uint32_t)(i * m->t->chunks + c)];
            int width = chunk_width(e, m->columns, c * e->lanes);
            x = width == of ? x : splat(e, a, width);
            of = width;
            *acc = is_float ? intrinsic3(e, "llvm.fma", x, b[c], *acc)
                            : LLVMBuildAdd(e->b, *acc, LLVMBuildMul(e->b, x, b[c], ""), "");
        }
    }
}

/* No instruction, but no load crosses it: schedulers would load the operands of all steps first. */
static void emit_fence(Emit *e)
{
    static char clobbers[] = "~{memory}";
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->llvm), NULL, 0, false);
    Ref nothing = LLVMGetInlineAsm(type, "", 0, clobbers, sizeof clobbers - 1, true, false,
                                   LLVMInlineAsmDialectATT, false);
    LLVMBuildCall2(e->b, type, nothing, NULL, 0, "");
}

static void emit_steps(const Mma *m)
{
    for (int r = 0; r < m->op->box.shape[2]; r++) {
        emit_step(m, expr_const(m->e->cx, r));
        emit_fence(m->e);
    }
}

/* The last, shorter stretch of k: a loop over single steps. */
static void emit_short(const Mma *m, const Expr *bound)
{
    Emit *e = m->e;
    bool *written = NEW_ARRAY(e->arena, bool, e->part_count + 1);
    for (int i = 0; i < m->t->rows * m->t->chunks; i++)
        written[m->t->first + (uint32_t)i] = true;
    Loop loop;
    loop_begin(e, &loop, const_int(e->i64, 0), emit_expr(e, bound), 1, false, written);
    sym_define(e, m->op->box.coord[2], loop.var, false);
    emit_step(m, m->op->box.coord[2]);
    loop_end(e, &loop);
}

void emit_mma(Emit *e, const TileOp *op)
{
    const Box *box = &op->box;
    Mma m = {.e = e,
             .op = op,
             .t = tile_find(e, op->dst),
             .rows = box->shape[0],
             .columns = box->shape[1]};
    m.chunks = (m.columns + e->lanes - 1) / e->lanes;
    if (m.chunks > MAX_PARTS * 4 || m.rows > m.t->rows || m.columns != m.t->columns)
        emit_fail(e, ST_unsupported, "kernel %s: a %dx%d mma", e->prog->name, m.rows, m.columns);
    const Expr *bound = box->bound[2], *last = expr_const(e->cx, box->shape[2] - 1);
    if (!bound || expr_always_lt(e->cx, last, bound)) {
        emit_steps(&m);
        return;
    }
    if (box->shape[2] == 1) {
        emit_short(&m, expr_min(e->cx, bound, expr_const(e->cx, 1)));
        return;
    }
    Region r;
    Ref whole = LLVMBuildICmp(e->b, LLVMIntSGT, emit_expr(e, bound), emit_expr(e, last), "");
    region_begin(e, &r, whole);
    emit_steps(&m);
    region_else(e, &r);
    emit_short(&m, bound);
    region_end(e, &r);
}

/* Vector accesses of a thread: a layout whose first register part is a run along the last dim of
 * memory loads and stores the run at once. Requirements, all proven from expressions: the offset is
 * digit + rest with rest a multiple of the run, every condition is the same for the whole run (its
 * terms are multiples of the run), the base is aligned, the run has 4, 8 or 16 bytes. What cannot
 * be proven stays element by element. */
#include "codegen/c_impl.h"

typedef struct Run {
    CPrint *cp;
    const TileOp *op;
    const Expr *digit; /* of the first register part */
    int width;
} Run;

static Dtype place_dtype(const Access *access)
{
    return access->buffer ? access->buffer->dtype : access->tile->dtype;
}

/* Substitutes the coordinates and takes the digit out of the guard; false when the guard may differ
 * within the run. */
static bool uniform_guard(const Run *run, Guard *guard)
{
    CPrint *cp = run->cp;
    guard->e = c_subst(cp, guard->e);
    guard->lo = c_subst(cp, guard->lo);
    guard->hi = c_subst(cp, guard->hi);
    if (expr_uses(guard->lo, run->digit) || expr_uses(guard->hi, run->digit))
        return false;
    if (!expr_uses(guard->e, run->digit))
        return true;
    int64_t coef;
    const Expr *rest;
    if (!expr_linear(cp->cx, guard->e, run->digit, &coef, &rest) || coef != 1)
        return false;
    if (rest->div % run->width || guard->lo->div % run->width || guard->hi->div % run->width)
        return false;
    guard->e = rest;
    return true;
}

/* All guards of the box (its extents or its bounds) made uniform; -1 when one cannot be. */
static int box_guards(const Run *run, bool extents, bool bounds, Guard *guards)
{
    const Box *box = &run->op->box;
    int count = 0;
    for (int d = 0; d < box->rank; d++) {
        const Expr *limits[2] = {extents ? expr_const(run->cp->cx, box->shape[d]) : NULL,
                                 bounds ? box->bound[d] : NULL};
        for (int i = 0; i < 2; i++) {
            if (!limits[i])
                continue;
            guards[count] = (Guard){box->coord[d], expr_const(run->cp->cx, 0), limits[i]};
            if (!uniform_guard(run, &guards[count++]))
                return -1;
        }
    }
    return count;
}

static const char *access_guards(const Run *run, const Access *access)
{
    Guard *guards = NEW_ARRAY(run->cp->cx->arena, Guard, access->guard_count + 1);
    for (int i = 0; i < access->guard_count; i++) {
        guards[i] = access->guards[i];
        CHECK(uniform_guard(run, &guards[i]));
    }
    return c_guards(run->cp, guards, access->guard_count);
}

/* The offset of the run's first element, or NULL when the access is no vector. */
static const Expr *run_offset(const Run *run, const Access *access)
{
    CPrint *cp = run->cp;
    int bits = dtype_bits(place_dtype(access)), bytes = bits * run->width / 8;
    int64_t coef;
    const Expr *rest, *offset = c_offset(cp, access);
    if (bits < 8 || (bytes != 4 && bytes != 8 && bytes != 16))
        return NULL;
    if (access->buffer && access->buffer->align < bytes)
        return NULL;
    if (!expr_linear(cp->cx, offset, run->digit, &coef, &rest) || coef != 1 ||
        rest->div % run->width)
        return NULL;
    for (int i = 0; i < access->guard_count; i++) {
        Guard guard = access->guards[i];
        if (!uniform_guard(run, &guard))
            return NULL;
    }
    return rest;
}

static bool is_memory(const Access *access)
{
    return access && (access->buffer || access->tile->scope == TS_shared);
}

/* Prepares the digit of the run and the coordinates made with it. */
static Run start_run(CPrint *cp, const TileOp *op, const Expr *digit)
{
    cp->digits[0] = digit;
    c_set_coords(cp);
    return (Run){.cp = cp, .op = op, .digit = digit, .width = cp->layout->regs[0].extent};
}

int c_vector_width(CPrint *cp, const TileOp *op)
{
    const Layout *layout = cp->layout;
    if (layout->reg_count == 0 || layout->regs[0].stride != 1 ||
        (layout->regs[0].extent & (layout->regs[0].extent - 1)))
        return 1;
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_bind)
            return 1;
    for (int p = 1; p < layout->reg_count; p++) /* stand-ins: only proofs are made with them */
        cp->digits[p] = expr_sym(cp->cx, "r", 0, layout->regs[p].extent - 1, 1);
    Run run = start_run(cp, op, expr_sym(cp->cx, "r", 0, layout->regs[0].extent - 1, 1));
    Guard guards[2 * MAX_BOX];
    int found = 0;
    if (box_guards(&run, true, true, guards) < 0)
        return 1;
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_load)
            found += run_offset(&run, op->values[i]->access) != NULL;
    for (uint32_t i = 0; i < op->store_count; i++)
        if (is_memory(op->stores[i].access))
            found += run_offset(&run, op->stores[i].access) != NULL;
    return found ? run.width : 1;
}

static const char *swizzled(CPrint *cp, const Access *access, const Expr *offset)
{
    const Tile *tile = access->tile;
    const char *at = c_expr(cp, offset);
    if (!tile || !tile->swizzle)
        return at;
    return arena_printf(cp->cx->arena, "q_swizzle%d(%s, %d)", tile->swizzle, at,
                        dtype_bits(tile->dtype) / 8);
}

static const char *both(CPrint *cp, const char *a, const char *b)
{
    return a && b ? arena_printf(cp->cx->arena, "%s && %s", a, b) : a ? a : b;
}

static const char *space_of(const Access *access)
{
    return access->buffer ? "global" : "shared";
}

static const char *run_array(CPrint *cp, const Run *run, Dtype dtype)
{
    const char *name = arena_printf(cp->cx->arena, "w%u", (unsigned)cp->fresh++);
    c_line(cp, "q_aligned %s %s[%d];", c_raw_type(dtype), name, run->width);
    return name;
}

static void put_vector_load(const Run *run, const Value *value, const char *load_if,
                            const Expr *digit)
{
    CPrint *cp = run->cp;
    const Access *access = value->access;
    const Expr *offset = run_offset(run, access);
    Dtype dtype = place_dtype(access);
    if (!offset)
        return;
    const char *name = run_array(cp, run, dtype);
    const char *guard = both(cp, load_if, access_guards(run, access));
    if (guard)
        c_open(cp, "if (%s) ", guard);
    c_line(cp, "q_load%d_%s(%s, %s + %s);", dtype_bits(dtype) * run->width / 8, space_of(access),
           name, c_base(cp, access), swizzled(cp, access, offset));
    if (guard) {
        c_close(cp);
        c_open(cp, "else ");
        const char *fill = c_to_raw(cp, dtype, c_const(cp, value->dtype, access->fill));
        for (int i = 0; i < run->width; i++)
            c_line(cp, "%s[%d] = %s;", name, i, fill);
        c_close(cp);
    }
    CVector *vector = NEW(cp->cx->arena, CVector);
    *vector = (CVector){.next = cp->vectors, .value = value, .name = name, .digit = digit};
    cp->vectors = vector;
}

static void put_async(const Run *run, const char *load_if)
{
    CPrint *cp = run->cp;
    const TileOp *op = run->op;
    const Access *from = op->values[0]->access, *to = op->stores[0].access;
    const Expr *src = run_offset(run, from), *dst = run_offset(run, to);
    if (op->value_count != 1 || op->store_count != 1 || !src || !dst || !from->buffer ||
        !to->tile || from->fill.i != 0) {
        cx_fail(cp->cx, ST_internal, "c_print: an asynchronous copy that is no aligned run");
        return;
    }
    const char *guard = both(cp, load_if, access_guards(run, from));
    c_line(cp, "q_cp_async%d(%s + %s, %s + %s, %s);", dtype_bits(to->tile->dtype) * run->width / 8,
           c_base(cp, to), swizzled(cp, to, dst), c_base(cp, from), c_expr(cp, src),
           guard ? guard : "1");
}

static void put_elements(const Run *run, const Expr *digit, const char *const *arrays)
{
    CPrint *cp = run->cp;
    const TileOp *op = run->op;
    TileOp scalar = *op; /* the stores that stay element by element */
    scalar.store_count = 0;
    scalar.stores = NEW_ARRAY(cp->cx->arena, Store, op->store_count + 1);
    c_values(cp, op, NULL);
    for (uint32_t i = 0; i < op->store_count; i++) {
        const Store *store = &op->stores[i];
        if (!arrays[i]) {
            scalar.stores[scalar.store_count++] = *store;
            continue;
        }
        Dtype dtype = place_dtype(store->access), from = dtype_compute(store->value->dtype);
        const char *v = arena_printf(cp->cx->arena, "v%u", (unsigned)store->value->id);
        if (from != dtype_compute(dtype))
            v = arena_printf(cp->cx->arena, "(%s)", c_cast(cp, dtype_compute(dtype), from, v));
        c_line(cp, "%s[%s] = %s;", arrays[i], c_expr(cp, digit), c_to_raw(cp, dtype, v));
    }
    c_stores(cp, &scalar);
}

static void put_vector_stores(const Run *run, const char *const *arrays)
{
    CPrint *cp = run->cp;
    for (uint32_t i = 0; i < run->op->store_count; i++) {
        const Access *access = run->op->stores[i].access;
        if (!arrays[i])
            continue;
        const char *guard = both(cp, cp->store_if, access_guards(run, access));
        if (guard)
            c_line(cp, "if (%s)", guard);
        c_line(cp, "%sq_store%d_%s(%s + %s, %s);", guard ? "    " : "",
               dtype_bits(place_dtype(access)) * run->width / 8, space_of(access),
               c_base(cp, access), swizzled(cp, access, run_offset(run, access)), arrays[i]);
    }
}

void c_vector_point(CPrint *cp, const TileOp *op)
{
    int width = cp->layout->regs[0].extent;
    const Expr *digit = c_counter(cp, "r", width);
    const char *name = cp->names[cp->name_count - 1].text;
    Run run = start_run(cp, op, digit);
    bool copy = op->kind == TO_copy;
    Guard guards[2 * MAX_BOX];
    int count = box_guards(&run, true, !copy, guards);
    const char *inside = c_guards(cp, guards, count), *load_if = NULL;
    if (copy)
        load_if = c_guards(cp, guards, box_guards(&run, false, true, guards));
    if (inside)
        c_open(cp, "if (%s) ", inside);
    if (op->async) {
        put_async(&run, load_if);
    } else {
        const char **arrays = NEW_ARRAY(cp->cx->arena, const char *, op->store_count + 1);
        for (uint32_t i = 0; i < op->value_count; i++)
            if (op->values[i]->op == V_load)
                put_vector_load(&run, op->values[i], load_if, digit);
        for (uint32_t i = 0; i < op->store_count; i++)
            if (is_memory(op->stores[i].access) && run_offset(&run, op->stores[i].access))
                arrays[i] = run_array(cp, &run, place_dtype(op->stores[i].access));
        c_line(cp, "%s", cp->dialect->unroll);
        c_open(cp, "for (i32 %s = 0; %s < %d; %s++) ", name, name, width, name);
        cp->load_if = load_if;
        put_elements(&run, digit, arrays);
        cp->load_if = NULL;
        c_close(cp);
        put_vector_stores(&run, arrays);
    }
    if (inside)
        c_close(cp);
    cp->vectors = NULL;
}

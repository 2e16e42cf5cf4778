/* The nest interpreter: the oracle every backend is compared with.
 *
 * A nest is turned into *bodies*: one for each store (looping over the axes its index uses) and one
 * for each reduction (looping over the axes it removes). A body is a list of instructions, one for
 * each value it needs down to the next reductions, with its own results, so that bodies never
 * disturb each other. A reduction met in a body is looked up in its memo, a dense table over the
 * axes it depends on, and computed when it is not there yet.
 *
 *   order inside a body: invariant of its loop (once), then varying (each point); in both the
 * reductions first
 *
 * Index expressions that are linear in axes and dims run as sums, others as ExprCode; slots hold
 * the values of dims, axes and bound values. A body publishes the bound values that an access uses
 * just before it, since another body may have set them in between. Every index is checked against
 * the buffer's shape, every stored element is marked: a violation is a bug of a lowering.
 *
 * Bodies are made in nest_body.c. */
#include "ir/nest_body.h"

#include <string.h>

#include "ir/value_text.h"

enum { MAX_MEMO = 1 << 26, MAX_WRITTEN = 1 << 28 };

typedef struct Memo {
    NestBody *body;
    int axis_count;
    int axes[MAX_AXES];
    int64_t strides[MAX_AXES];
    Scalar *values;
    uint8_t *known;
} Memo;

typedef struct View {
    void *base;
    int64_t shape[MAX_RANK], strides[MAX_RANK], offset;
    uint8_t *written; /* dense over the shape; NULL = not checked */
} View;

typedef struct Run {
    Cx *cx;
    const Nest *nest;
    NestRun *io;
    int64_t *slots; /* dims, axes, bound values by id */
    NestIndex extents[MAX_AXES];
    Memo *memos; /* by value id */
    View *views;
} Run;

/* ---- expressions */

static int64_t index_value(Run *run, const NestIndex *index)
{
    int64_t value = index->constant;
    bool bad = false;
    if (!index->linear)
        bad = !expr_code_run(index->code, run->slots, &value);
    for (int i = 0; i < index->count && index->linear; i++) {
        int64_t term;
        bad = bad || __builtin_mul_overflow(index->coefs[i], run->slots[index->slots[i]], &term) ||
              __builtin_add_overflow(value, term, &value);
    }
    if (bad)
        cx_fail(run->cx, ST_internal, "nest '%s': an expression overflows", run->nest->name);
    return value;
}

static int64_t expr_value(Run *run, const Expr *e)
{
    NestIndex index = nest_body_index(run->cx, run->nest, e);
    return cx_failed(run->cx) ? 0 : index_value(run, &index);
}

/* ---- bodies */

static void eval_loop(Run *run, NestBody *body, int depth, int64_t position);

static const char *axis_name(const void *user, int number)
{
    return ((const Nest *)user)->axes[number].sym->name;
}

static void report_access(Run *run, const Access *access, const char *problem)
{
    Text text;
    text_init(&text, run->cx->arena);
    ValueNames names = {run->nest, axis_name, NULL};
    access_print(&text, access, &names);
    access_print_guards(&text, access);
    text_add(&text, " at");
    for (int i = 0; i < run->nest->axis_count; i++)
        text_add(&text, " %s=%lld", run->nest->axes[i].sym->name,
                 (long long)run->slots[nest_axis_slot(run->nest, i)]);
    cx_fail(run->cx, ST_internal, "nest '%s': %s: %s", run->nest->name, problem, text.data);
}

/* Whether the access takes place; then the element's position in memory and, if asked for, among
 * the shape's elements. */
static bool locate(Run *run, const NestPlace *place, int64_t *offset, int64_t *element)
{
    const Access *access = place->access;
    const View *view = &run->views[access->buffer->index];
    for (int i = 0; i < access->guard_count; i++) {
        int64_t e = index_value(run, &place->guards[3 * i + 1]);
        if (index_value(run, &place->guards[3 * i]) > e ||
            e >= index_value(run, &place->guards[3 * i + 2]))
            return false;
    }
    int64_t at = view->offset, dense = 0;
    for (int i = 0; i < access->rank; i++) {
        int64_t index = index_value(run, &place->index[i]);
        if (index < 0 || index >= view->shape[i]) {
            report_access(run, access, "an index is out of bounds");
            return false;
        }
        at += index * view->strides[i];
        dense = dense * view->shape[i] + index;
    }
    *offset = at;
    *element = dense;
    return !cx_failed(run->cx);
}

static Scalar eval_bind(Run *run, const NestInstr *instr, Scalar arg)
{
    const Value *v = instr->value;
    int64_t lo = index_value(run, &instr->lo), hi = index_value(run, &instr->hi), index = arg.i;
    bool huge = v->dtype == DT_u64 && index < 0;
    if (v->wraps && index < 0 && !huge)
        index += hi + 1;
    if (!huge && index >= lo && index <= hi)
        return (Scalar){.i = index};
    if (!run->io->bad_index)
        run->io->bad_index = (int64_t)v->id + 1;
    if (hi < lo)
        cx_fail(run->cx, ST_bad_index, "index %lld into an empty range", (long long)arg.i);
    return (Scalar){.i = !huge && index < lo ? lo : hi};
}

static Scalar eval_reduce(Run *run, const Value *v)
{
    Memo *memo = &run->memos[v->id];
    int64_t at = 0;
    for (int i = 0; i < memo->axis_count; i++)
        at += memo->strides[i] * run->slots[nest_axis_slot(run->nest, memo->axes[i])];
    if (memo->known[at])
        return memo->values[at];
    NestBody *body = memo->body;
    int64_t saved[MAX_AXES];
    for (int i = 0; i < body->axis_count; i++)
        saved[i] = run->slots[nest_axis_slot(run->nest, body->axes[i])];
    body->started = body->any = false;
    body->acc = monoid_identity(v->monoid, v->dtype);
    eval_loop(run, body, 0, 0);
    for (int i = 0; i < body->axis_count; i++)
        run->slots[nest_axis_slot(run->nest, body->axes[i])] = saved[i];
    memo->known[at] = 1;
    return memo->values[at] = body->acc;
}

static Scalar read_element(Dtype dtype, const void *base, int64_t at)
{
    if (dtype != DT_f32)
        return dtype_load(dtype, base, at);
    float x; /* the common case, a third of the time of a product */
    memcpy(&x, (const char *)base + at * 4, sizeof x);
    return (Scalar){.f = (double)x};
}

static Scalar eval_instr(Run *run, const NestBody *body, const NestInstr *instr)
{
    const Value *v = instr->value;
    for (uint32_t i = 0; i < instr->publish_count; i++)
        run->slots[instr->publish[i].slot] = body->results[instr->publish[i].from].i;
    switch (v->op) {
    case V_const: return v->constant;
    case V_index:
        return dtype_convert(v->dtype, DT_i64, (Scalar){.i = index_value(run, &instr->index)});
    case V_load: {
        int64_t offset, element;
        if (!locate(run, &instr->place, &offset, &element))
            return v->access->fill;
        return read_element(v->access->buffer->dtype, run->views[v->access->buffer->index].base,
                            offset);
    }
    case V_scalar: {
        Scalar args[3] = {0};
        for (int i = 0; i < scalar_arity(v->scalar); i++)
            args[i] = body->results[instr->args[i]];
        return scalar_eval(v->scalar, dtype_compute(v->args[v->scalar == S_select]->dtype), args);
    }
    case V_cast:
        return dtype_convert(v->dtype, dtype_compute(v->args[0]->dtype),
                             body->results[instr->args[0]]);
    case V_bind: return eval_bind(run, instr, body->results[instr->args[0]]);
    case V_reduce: return eval_reduce(run, v);
    case V_tile: break;
    }
    BUG("value %%%u cannot be evaluated", v->id);
}

static void combine(NestBody *body, Scalar x, int64_t position)
{
    const Value *v = body->reduce;
    Dtype dtype = dtype_compute(v->args[0]->dtype);
    if (v->monoid != M_argmin && v->monoid != M_argmax) {
        body->acc = scalar_eval(monoid_combine(v->monoid), dtype, (const Scalar[3]){body->acc, x});
        return;
    }
    bool flt = dtype_is_float(dtype), min = v->monoid == M_argmin;
    bool best_nan = flt && body->any && body->best.f != body->best.f;
    bool better =
        scalar_eval(S_lt, dtype, (const Scalar[3]){min ? x : body->best, min ? body->best : x}).i !=
        0;
    if (!body->any || (!best_nan && (better || (flt && x.f != x.f)))) {
        body->best = x;
        body->acc = (Scalar){.i = position};
    }
    body->any = true;
}

static void store(Run *run, NestBody *body, Scalar x)
{
    const Buffer *buffer = body->store->access->buffer;
    View *view = &run->views[buffer->index];
    int64_t offset, element;
    if (!locate(run, &body->place, &offset, &element))
        return;
    if (view->written && view->written[element]++) {
        report_access(run, body->store->access, "an element is stored twice");
        return;
    }
    dtype_store(buffer->dtype, view->base, offset, x);
}

static void eval_point(Run *run, NestBody *body, int64_t position)
{
    uint32_t first = body->started ? body->varying : 0;
    body->started = true;
    for (uint32_t i = first; i < body->count; i++)
        body->results[i] = eval_instr(run, body, &body->instrs[i]);
    if (body->reduce)
        combine(body, body->results[body->root], position);
    else
        store(run, body, body->results[body->root]);
}

static void eval_loop(Run *run, NestBody *body, int depth, int64_t position)
{
    if (depth == body->axis_count) {
        eval_point(run, body, position);
        return;
    }
    int axis = body->axes[depth];
    int64_t extent = index_value(run, &run->extents[axis]);
    for (int64_t i = 0; i < extent && !cx_failed(run->cx); i++) {
        run->slots[nest_axis_slot(run->nest, axis)] = i;
        eval_loop(run, body, depth + 1, position * extent + i);
    }
}

/* ---- set-up */

static void set_dims(Run *run)
{
    const Nest *nest = run->nest;
    for (uint32_t i = 0; i < nest->dim_count; i++) {
        int64_t value = run->io->dims[i];
        const Expr *dim = nest->dims[i];
        if (value < dim->lo || value > dim->hi || (dim->div > 1 && value % dim->div))
            cx_fail(run->cx, ST_bad_argument, "nest '%s': dim %s is %lld, not in %lld..%lld",
                    nest->name, dim->name, (long long)value, (long long)dim->lo,
                    (long long)dim->hi);
        run->slots[i] = value;
    }
    for (uint32_t i = 0; i < nest->equal_count && !cx_failed(run->cx); i++)
        if (expr_value(run, nest->equals[i].a) != expr_value(run, nest->equals[i].b))
            cx_fail(run->cx, ST_bad_argument, "nest '%s': its dims are not equal as said",
                    nest->name);
}

static void set_view(Run *run, uint32_t position)
{
    const Buffer *buffer = run->nest->buffers[position];
    View *view = &run->views[position];
    int64_t count = 1;
    view->base = run->io->buffers[position];
    view->offset = expr_value(run, buffer->offset);
    for (int i = 0; i < buffer->rank; i++) {
        view->shape[i] = expr_value(run, buffer->shape[i]);
        view->strides[i] = expr_value(run, buffer->strides[i]);
        if (count >= 0 && __builtin_mul_overflow(count, view->shape[i], &count))
            count = -1;
    }
    bool stored = buffer->role == BUF_out || buffer->role == BUF_scratch;
    if (stored && count > 0 && count <= MAX_WRITTEN)
        view->written = NEW_ARRAY(run->cx->arena, uint8_t, count);
    if (!view->base && count != 0)
        cx_fail(run->cx, ST_bad_argument, "nest '%s': no memory for buffer '%s'", run->nest->name,
                buffer->name);
}

/* The largest extent of each axis, into `most`: an extent is evaluated at every point of the axes
 * it uses. */
static int64_t largest_extent(Run *run, uint64_t uses, int axis, int from, const int64_t *most)
{
    while (from < axis && !(uses >> from & 1))
        from++;
    if (from == axis)
        return index_value(run, &run->extents[axis]);
    int64_t largest = 0;
    for (int64_t i = 0; i < most[from]; i++) {
        run->slots[nest_axis_slot(run->nest, from)] = i;
        int64_t extent = largest_extent(run, uses, axis, from + 1, most);
        largest = extent > largest ? extent : largest;
    }
    return largest;
}

static void set_memo(Run *run, const Value *v, const int64_t *most)
{
    Memo *memo = &run->memos[v->id];
    int64_t count = 1;
    for (int i = run->nest->axis_count; i-- > 0;) {
        if (!(v->axes >> i & 1))
            continue;
        memo->axes[memo->axis_count] = i;
        memo->strides[memo->axis_count++] = count;
        if (__builtin_mul_overflow(count, most[i], &count) || count > MAX_MEMO) {
            cx_fail(run->cx, ST_limit, "nest '%s': %%%u has too many points to interpret",
                    run->nest->name, v->id);
            return;
        }
    }
    memo->values = NEW_ARRAY(run->cx->arena, Scalar, count);
    memo->known = NEW_ARRAY(run->cx->arena, uint8_t, count);
    memo->body = NEW(run->cx->arena, NestBody);
    memo->body->reduce = v;
    nest_body_make(run->cx, run->nest, memo->body, v->args[0], v->reduced);
}

static void set_up(Run *run)
{
    const Nest *nest = run->nest;
    Arena *arena = run->cx->arena;
    int64_t most[MAX_AXES] = {0};
    run->slots = NEW_ARRAY(arena, int64_t, nest->dim_count + MAX_AXES + nest->value_count + 1);
    run->memos = NEW_ARRAY(arena, Memo, nest->value_count + 1);
    run->views = NEW_ARRAY(arena, View, nest->buffer_count + 1);
    set_dims(run);
    for (uint32_t i = 0; i < nest->buffer_count && !cx_failed(run->cx); i++)
        set_view(run, i);
    for (int i = 0; i < nest->axis_count && !cx_failed(run->cx); i++) {
        run->extents[i] = nest_body_index(run->cx, run->nest, nest->axes[i].extent);
        most[i] = largest_extent(run, nest_expr_axes(nest, nest->axes[i].extent), i, 0, most);
    }
    for (uint32_t i = 0; i < nest->value_count && !cx_failed(run->cx); i++)
        if (nest->values[i]->op == V_reduce)
            set_memo(run, nest->values[i], most);
}

bool nest_run(Cx *cx, const Nest *nest, NestRun *io)
{
    if (cx_failed(cx))
        return false;
    ArenaMark mark = arena_mark(cx->arena);
    Run run = {.cx = cx, .nest = nest, .io = io};
    io->bad_index = 0;
    set_up(&run);
    for (uint32_t i = 0; i < nest->store_count && !cx_failed(cx); i++) {
        NestBody *body = NEW(cx->arena, NestBody);
        uint64_t axes = 0;
        body->store = &nest->stores[i];
        for (int k = 0; k < body->store->access->rank; k++)
            axes |= nest_expr_axes(nest, body->store->access->index[k]);
        nest_body_make(cx, nest, body, body->store->value, axes);
        body->place = nest_body_place(cx, nest, body->store->access);
        if (!cx_failed(cx))
            eval_loop(&run, body, 0, 0);
    }
    arena_reset(cx->arena, mark);
    return !cx_failed(cx);
}

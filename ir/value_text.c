/* Printing and parsing of dims, buffers, accesses and values: the part of the text forms that nests
 * and tile programs share.
 *
 * The grammar is in value_text.h, names are in names.h. Every parser checks what it reads (ranks,
 * types, numbers), since text is hostile; what needs the whole program is left to the verifiers. */
#include "ir/value_text.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_GUARDS = 64 };

static const char *const role_names[] = {
    [BUF_in] = "in", [BUF_out] = "out", [BUF_const] = "const", [BUF_scratch] = "scratch"};

/* ---- constants */

void scalar_print(Text *text, Dtype dtype, Scalar value)
{
    if (dtype_is_float(dtype))
        text_add_float(text, value.f);
    else
        text_add(text, "%" PRId64, value.i);
}

Scalar scalar_parse(Scan *scan, Dtype dtype)
{
    if (dtype_is_float(dtype))
        return dtype_convert(dtype, DT_f64, (Scalar){.f = scan_float(scan)});
    Scalar value = {.i = scan_int(scan)};
    Scalar held = dtype == DT_u64 ? value : dtype_convert(dtype, DT_i64, value);
    if (held.i != value.i)
        scan_fail(scan, "%" PRId64 " does not fit %s", value.i, dtype_name(dtype));
    return held;
}

/* ---- dims and buffers */

void dim_print(Text *text, const Expr *dim)
{
    text_add(text, "dim %s %" PRId64 "..%" PRId64, dim->name, dim->lo, dim->hi);
    if (dim->div > 1)
        text_add(text, " mult %" PRId64, dim->div);
}

const Expr *dim_parse(Scan *scan, Names *names)
{
    const char *name = scan_name(scan);
    int64_t lo = scan_int(scan);
    scan_expect(scan, "..");
    int64_t hi = scan_int(scan), div = scan_accept(scan, "mult") ? scan_int(scan) : 1;
    if (!cx_failed(names->cx) &&
        (lo < 0 || div < 1 || hi < lo || hi / div < (lo - 1) / div + (lo > 0)))
        scan_fail(scan, "dim '%s': no size is in this range", name);
    if (cx_failed(names->cx))
        return NULL;
    const Expr *dim = expr_sym(names->cx, name, lo, hi, div);
    return names_add_sym(names, scan, name, dim, -1) ? dim : NULL;
}

void equal_print(Text *text, DimsEqual equal)
{
    text_add(text, "equal ");
    expr_print(text, equal.a);
    text_add(text, ", ");
    expr_print(text, equal.b);
}

bool equal_parse(Scan *scan, Names *names, DimsEqual *equal)
{
    equal->a = names_parse_expr(names, scan);
    scan_expect(scan, ",");
    equal->b = names_parse_expr(names, scan);
    return !cx_failed(names->cx);
}

static void print_list(Text *text, int count, const Expr *const *list)
{
    text_add(text, "[");
    for (int i = 0; i < count; i++) {
        if (i)
            text_add(text, ", ");
        expr_print(text, list[i]);
    }
    text_add(text, "]");
}

/* [a, b, c]; the count, or -1 after a failure. */
static int parse_list(Scan *scan, Names *names, const Expr *list[MAX_RANK])
{
    int count = 0;
    scan_expect(scan, "[");
    if (scan_accept(scan, "]"))
        return 0;
    do {
        if (count == MAX_RANK) {
            scan_fail(scan, "more than %d dimensions", MAX_RANK);
            return -1;
        }
        list[count++] = names_parse_expr(names, scan);
    } while (scan_accept(scan, ","));
    return scan_expect(scan, "]") && !cx_failed(names->cx) ? count : -1;
}

int buffer_min_align(Dtype dtype)
{
    int bytes = dtype_bits(dtype) / 8;
    return bytes > 1 ? bytes : 1;
}

const Expr **buffer_row_major(Cx *cx, int rank, const Expr *const *shape)
{
    const Expr **strides = NEW_ARRAY(cx->arena, const Expr *, rank + 1);
    const Expr *stride = expr_const(cx, 1);
    for (int i = rank; i-- > 0; stride = expr_mul(cx, stride, shape[i]))
        strides[i] = stride;
    return strides;
}

/* Whether the strides are those of a dense array, recomputed without a pool: constants and equality
 * suffice, since a product of the same expressions is the same pointer. */
static bool is_row_major(Cx *cx, const Buffer *buffer)
{
    const Expr **dense = buffer_row_major(cx, buffer->rank, buffer->shape);
    for (int i = 0; i < buffer->rank; i++)
        if (dense[i] != buffer->strides[i])
            return false;
    return true;
}

bool role_find(const Scan *scan, BufferRole *role)
{
    for (int i = 0; i <= BUF_scratch; i++) {
        if (scan_is(scan, role_names[i])) {
            *role = (BufferRole)i;
            return true;
        }
    }
    return false;
}

void buffer_print(Text *text, Cx *cx, const Buffer *buffer)
{
    text_add(text, "%s %s %s ", role_names[buffer->role], buffer->name, dtype_name(buffer->dtype));
    print_list(text, buffer->rank, buffer->shape);
    if (!is_row_major(cx, buffer)) {
        text_add(text, " strides ");
        print_list(text, buffer->rank, buffer->strides);
    }
    if (!expr_is_const(buffer->offset, 0)) {
        text_add(text, " offset ");
        expr_print(text, buffer->offset);
    }
    if (buffer->align != buffer_min_align(buffer->dtype))
        text_add(text, " align %d", buffer->align);
}

static void parse_view(Scan *scan, Names *names, Buffer *buffer)
{
    const Expr *list[MAX_RANK + 1] = {0};
    if (scan_accept(scan, "strides")) {
        int count = parse_list(scan, names, list);
        if (count >= 0 && count != buffer->rank)
            scan_fail(scan, "%d strides for %d dimensions", count, buffer->rank);
        if (cx_failed(names->cx))
            return;
        buffer->strides = arena_copy(names->cx->arena, list, (size_t)(count + 1) * sizeof *list);
    }
    if (scan_accept(scan, "offset"))
        buffer->offset = names_parse_expr(names, scan);
    if (scan_accept(scan, "align")) {
        int64_t align = scan_int(scan);
        if (align < buffer->align || align > 4096 || (align & (align - 1)))
            scan_fail(scan, "align: a power of two from the element size to 4096 is required");
        buffer->align = (int)align;
    }
}

Buffer *buffer_parse(Scan *scan, Names *names)
{
    Cx *cx = names->cx;
    Buffer *buffer = NEW(cx->arena, Buffer);
    if (!role_find(scan, &buffer->role)) {
        scan_fail(scan, "expected in, out, const or scratch");
        return NULL;
    }
    scan_next(scan);
    buffer->name = scan_name(scan);
    buffer->dtype = names_parse_dtype(scan);
    const Expr *list[MAX_RANK + 1] = {0};
    buffer->rank = parse_list(scan, names, list);
    if (cx_failed(cx))
        return NULL;
    buffer->shape = arena_copy(cx->arena, list, (size_t)(buffer->rank + 1) * sizeof *list);
    buffer->strides = buffer_row_major(cx, buffer->rank, buffer->shape);
    buffer->offset = expr_const(cx, 0);
    buffer->align = buffer_min_align(buffer->dtype);
    parse_view(scan, names, buffer);
    return !cx_failed(cx) && names_add_buffer(names, scan, buffer) ? buffer : NULL;
}

/* ---- accesses */

void access_print(Text *text, const Access *access, const ValueNames *names)
{
    text_add(text, "%s",
             access->buffer ? access->buffer->name : names->tile_name(names->user, access->tile));
    print_list(text, access->rank, access->index);
}

void access_print_guards(Text *text, const Access *access)
{
    for (int i = 0; i < access->guard_count; i++) {
        text_add(text, i ? ", " : " if ");
        expr_print(text, access->guards[i].lo);
        text_add(text, " <= ");
        expr_print(text, access->guards[i].e);
        text_add(text, " < ");
        expr_print(text, access->guards[i].hi);
    }
}

static Dtype parse_place(Scan *scan, Names *names, Access *access)
{
    const Named *place =
        scan->kind == TOK_name ? names_find_place(names, scan->start, scan->length) : NULL;
    if (!place) {
        scan_fail(scan, "expected the name of a buffer or tile");
        return DT_none;
    }
    scan_next(scan);
    const Expr *list[MAX_RANK + 1] = {0};
    int rank = parse_list(scan, names, list);
    if (rank >= 0 && rank != place->rank)
        scan_fail(scan, "'%s' has %d dimensions, not %d", place->name, place->rank, rank);
    if (cx_failed(names->cx))
        return DT_none;
    access->buffer = place->buffer;
    access->tile = place->tile;
    access->rank = rank;
    access->index = arena_copy(names->cx->arena, list, (size_t)(rank + 1) * sizeof *list);
    return place->dtype;
}

Access *access_parse(Scan *scan, Names *names)
{
    Access *access = NEW(names->cx->arena, Access);
    return parse_place(scan, names, access) != DT_none ? access : NULL;
}

static Dtype place_dtype(const Names *names, const Access *access)
{
    for (uint32_t i = 0; i < names->count; i++) {
        const Named *n = &names->items[i];
        if (!n->sym && n->buffer == access->buffer && n->tile == access->tile)
            return n->dtype;
    }
    return DT_none;
}

bool access_parse_guards(Scan *scan, Names *names, Access *access, bool fill)
{
    if (!scan_accept(scan, "if"))
        return true;
    Guard guards[MAX_GUARDS];
    int count = 0;
    do {
        if (count == MAX_GUARDS) {
            scan_fail(scan, "more than %d guards", MAX_GUARDS);
            return false;
        }
        Guard *g = &guards[count++];
        g->lo = names_parse_expr(names, scan);
        scan_expect(scan, "<=");
        g->e = names_parse_expr(names, scan);
        scan_expect(scan, "<");
        g->hi = names_parse_expr(names, scan);
    } while (scan_accept(scan, ",") && !cx_failed(names->cx));
    access->guard_count = count;
    access->guards = arena_copy(names->cx->arena, guards, (size_t)count * sizeof *guards);
    if (fill && scan_expect(scan, "else"))
        access->fill = scalar_parse(scan, dtype_compute(place_dtype(names, access)));
    return !cx_failed(names->cx);
}

/* ---- values */

static void print_args(Text *text, const Value *value)
{
    for (int i = 0; i < scalar_arity(value->scalar); i++)
        text_add(text, "%s%%%u", i ? ", " : " ", value->args[i]->id);
}

static void print_reduce(Text *text, const Value *value, const ValueNames *names)
{
    text_add(text, "reduce %s %s (", monoid_name(value->monoid), dtype_name(value->dtype));
    const char *comma = "";
    for (int i = 0; i < 64; i++) {
        if (value->reduced >> i & 1) {
            text_add(text, "%s%s", comma, names->axis_name(names->user, i));
            comma = ", ";
        }
    }
    text_add(text, ") %%%u", value->args[0]->id);
}

static void print_bind(Text *text, const Value *value)
{
    text_add(text, "bind %s %%%u in ", value->sym->name, value->args[0]->id);
    expr_print(text, value->lo);
    text_add(text, "..");
    expr_print(text, value->hi);
    if (value->wraps)
        text_add(text, " wrap");
}

void value_print(Text *text, const Value *value, const ValueNames *names)
{
    const char *dtype = dtype_name(value->dtype);
    text_add(text, "%%%u = ", value->id);
    switch (value->op) {
    case V_const:
        text_add(text, "const %s ", dtype);
        scalar_print(text, value->dtype, value->constant);
        break;
    case V_index:
        text_add(text, "index %s ", dtype);
        expr_print(text, value->index);
        break;
    case V_load:
        text_add(text, "load ");
        access_print(text, value->access, names);
        access_print_guards(text, value->access);
        if (value->access->guard_count) {
            text_add(text, " else ");
            scalar_print(text, value->dtype, value->access->fill);
        }
        break;
    case V_tile:
        text_add(text, "tile ");
        access_print(text, value->access, names);
        break;
    case V_scalar:
        text_add(text, "%s %s", scalar_name(value->scalar), dtype);
        print_args(text, value);
        break;
    case V_cast: text_add(text, "cast %s %%%u", dtype, value->args[0]->id); break;
    case V_bind: print_bind(text, value); break;
    case V_reduce: print_reduce(text, value, names); break;
    }
}

static void parse_const(Scan *scan, Value *value)
{
    value->op = V_const;
    value->dtype = names_parse_dtype(scan);
    if (value->dtype != DT_none && dtype_compute(value->dtype) != value->dtype)
        scan_fail(scan, "%s is not a type of computation", dtype_name(value->dtype));
    if (!cx_failed(scan->cx))
        value->constant = scalar_parse(scan, value->dtype);
}

static void parse_index(Scan *scan, Names *names, Value *value)
{
    value->op = V_index;
    value->dtype = names_parse_dtype(scan);
    if (value->dtype != DT_i64 && value->dtype != DT_i32 && value->dtype != DT_f32 &&
        value->dtype != DT_f64)
        scan_fail(scan, "index: i64, i32, f32 or f64 is required");
    value->index = names_parse_expr(names, scan);
}

static void parse_load(Scan *scan, Names *names, Value *value, ValueOp op)
{
    value->op = op;
    value->access = NEW(scan->cx->arena, Access);
    value->dtype = dtype_compute(parse_place(scan, names, value->access));
    if (cx_failed(scan->cx))
        return;
    if (op == V_tile && !value->access->tile)
        scan_fail(scan, "'%s' is not a tile", value->access->buffer->name);
    if (op == V_load)
        access_parse_guards(scan, names, value->access, true);
}

static void parse_cast(Scan *scan, Names *names, Value *value)
{
    value->op = V_cast;
    value->dtype = names_parse_dtype(scan);
    value->args[0] = names_parse_value(names, scan);
}

static void parse_bind(Scan *scan, Names *names, ParsedValue *parsed)
{
    Value *value = &parsed->value;
    value->op = V_bind;
    parsed->bind = scan_name(scan);
    value->args[0] = names_parse_value(names, scan);
    if (value->args[0]) {
        value->dtype = dtype_compute(value->args[0]->dtype);
        if (!dtype_is_int(value->dtype))
            scan_fail(scan, "bind: an integer is required");
    }
    scan_expect(scan, "in");
    value->lo = names_parse_expr(names, scan);
    scan_expect(scan, "..");
    value->hi = names_parse_expr(names, scan);
    value->wraps = scan_accept(scan, "wrap");
}

static void parse_axes(Scan *scan, Names *names, Value *value)
{
    scan_expect(scan, "(");
    do {
        const Named *axis =
            scan->kind == TOK_name ? names_find_sym(names, scan->start, scan->length) : NULL;
        if (!axis || axis->axis < 0) {
            scan_fail(scan, "expected the name of an axis");
            return;
        }
        if (value->reduced >> axis->axis & 1)
            scan_fail(scan, "axis '%s' is given twice", axis->name);
        else
            scan_next(scan);
        value->reduced |= (uint64_t)1 << axis->axis;
    } while (scan_accept(scan, ","));
    scan_expect(scan, ")");
}

static void parse_reduce(Scan *scan, Names *names, Value *value)
{
    value->op = V_reduce;
    int monoid = scan->kind == TOK_name ? monoid_find(scan->start, scan->length) : -1;
    if (monoid < 0) {
        scan_fail(scan, "expected sum, prod, min, max, and, or, argmin or argmax");
        return;
    }
    scan_next(scan);
    value->monoid = (Monoid)monoid;
    value->dtype = names_parse_dtype(scan);
    parse_axes(scan, names, value);
    value->args[0] = names_parse_value(names, scan);
    if (!value->args[0])
        return;
    Dtype from = dtype_compute(value->args[0]->dtype);
    Dtype to = monoid == M_argmin || monoid == M_argmax ? DT_i64 : from;
    if (!monoid_accepts(value->monoid, from))
        scan_fail(scan, "%s does not reduce %s", monoid_name(value->monoid), dtype_name(from));
    else if (to != value->dtype)
        scan_fail(scan, "%s of %s gives %s, not %s", monoid_name(value->monoid), dtype_name(from),
                  dtype_name(to), dtype_name(value->dtype));
}

static void parse_scalar(Scan *scan, Names *names, Value *value)
{
    int op = scan->kind == TOK_name ? scalar_find(scan->start, scan->length) : -1;
    if (op < 0) {
        scan_fail(scan, "unknown operation");
        return;
    }
    scan_next(scan);
    value->op = V_scalar;
    value->scalar = (ScalarOp)op;
    value->dtype = names_parse_dtype(scan);
    Dtype types[3] = {DT_none, DT_none, DT_none};
    for (int i = 0; i < scalar_arity(value->scalar); i++) {
        if (i)
            scan_expect(scan, ",");
        value->args[i] = names_parse_value(names, scan);
        if (!value->args[i])
            return;
        types[i] = dtype_compute(value->args[i]->dtype);
    }
    Dtype result = scalar_result(value->scalar, types);
    if (result == DT_none)
        scan_fail(scan, "%s: operands do not fit", scalar_name(value->scalar));
    else if (result != value->dtype)
        scan_fail(scan, "%s gives %s here, not %s", scalar_name(value->scalar), dtype_name(result),
                  dtype_name(value->dtype));
}

bool value_parse(Scan *scan, Names *names, ParsedValue *parsed)
{
    *parsed = (ParsedValue){0};
    Value *value = &parsed->value;
    if (!names_parse_number(scan, &parsed->number) || !scan_expect(scan, "="))
        return false;
    if (scan_accept(scan, "const"))
        parse_const(scan, value);
    else if (scan_accept(scan, "index"))
        parse_index(scan, names, value);
    else if (scan_accept(scan, "load"))
        parse_load(scan, names, value, V_load);
    else if (scan_accept(scan, "tile"))
        parse_load(scan, names, value, V_tile);
    else if (scan_accept(scan, "cast"))
        parse_cast(scan, names, value);
    else if (scan_accept(scan, "bind"))
        parse_bind(scan, names, parsed);
    else if (scan_accept(scan, "reduce"))
        parse_reduce(scan, names, value);
    else
        parse_scalar(scan, names, value);
    return !cx_failed(names->cx);
}

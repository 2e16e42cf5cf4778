/* The nest's text form (nest.h): printer and parser.
 *
 * The parser goes through the builder, which folds and merges: a text prints as itself when it was
 * printed by nest_print, or is as simple as that. Statements may come in any order that defines
 * names before their use. */
#include <string.h>

#include "ir/nest.h"
#include "ir/value_text.h"

static const char *axis_name(const void *user, int number)
{
    const Nest *nest = user;
    return number < nest->axis_count ? nest->axes[number].sym->name : "?";
}

void nest_print(Text *text, const Nest *nest)
{
    ValueNames names = {.user = nest, .axis_name = axis_name};
    text_add(text, "nest %s {\n", nest->name);
    for (uint32_t i = 0; i < nest->dim_count; i++) {
        text_add(text, "  ");
        dim_print(text, nest->dims[i]);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < nest->equal_count; i++) {
        text_add(text, "  ");
        equal_print(text, nest->equals[i]);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        text_add(text, "  ");
        buffer_print(text, nest->cx, nest->buffers[i]);
        text_add(text, "\n");
    }
    for (int i = 0; i < nest->axis_count; i++) {
        text_add(text, "  axis %s ", nest->axes[i].sym->name);
        expr_print(text, nest->axes[i].extent);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < nest->value_count; i++) {
        text_add(text, "  ");
        value_print(text, nest->values[i], &names);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < nest->store_count; i++) {
        const Store *store = &nest->stores[i];
        text_add(text, "  store ");
        access_print(text, store->access, &names);
        text_add(text, " %%%u", store->value->id);
        access_print_guards(text, store->access);
        text_add(text, "\n");
    }
    text_add(text, "}\n");
}

typedef struct Parse {
    Scan scan;
    Names names;
    Nest *nest;
} Parse;

static bool failed(const Parse *p)
{
    return cx_failed(p->nest->cx);
}

static void parse_buffer(Parse *p)
{
    Nest *nest = p->nest;
    Buffer *buffer = buffer_parse(&p->scan, &p->names);
    if (!buffer)
        return;
    buffer->index = (int)nest->buffer_count;
    VEC_PUSH(nest->cx->arena, nest->buffers, nest->buffer_count, nest->buffer_cap, buffer);
}

static void parse_axis(Parse *p)
{
    Nest *nest = p->nest;
    const char *name = scan_name(&p->scan);
    const Expr *extent = names_parse_expr(&p->names, &p->scan);
    if (failed(p))
        return;
    if (nest->axis_count == MAX_AXES) {
        scan_fail(&p->scan, "more than %d axes", MAX_AXES);
        return;
    }
    const Axis *axis = nest_axis(nest, name, extent);
    names_add_sym(&p->names, &p->scan, name, axis->sym, axis->number);
}

static Value *build(Parse *p, const ParsedValue *parsed)
{
    Nest *nest = p->nest;
    const Value *v = &parsed->value;
    switch (v->op) {
    case V_const: return nest_const(nest, v->dtype, v->constant);
    case V_index: return nest_index(nest, v->dtype, v->index);
    case V_load:
        return nest_load(nest, v->access->buffer, v->access->index, v->access->guards,
                         v->access->guard_count, v->access->fill);
    case V_scalar: return nest_scalar(nest, v->scalar, v->args[0], v->args[1], v->args[2]);
    case V_cast: return nest_cast(nest, v->dtype, v->args[0]);
    case V_reduce: return nest_reduce(nest, v->monoid, v->reduced, v->args[0]);
    case V_bind: {
        Value *bind = nest_bind(nest, parsed->bind, v->args[0], v->lo, v->hi, v->wraps);
        if (!failed(p))
            names_add_sym(&p->names, &p->scan, parsed->bind, bind->sym, -1);
        return bind;
    }
    case V_tile: break;
    }
    scan_fail(&p->scan, "a nest has no tiles");
    return NULL;
}

static void parse_value(Parse *p)
{
    ParsedValue parsed;
    if (!value_parse(&p->scan, &p->names, &parsed))
        return;
    Value *value = build(p, &parsed);
    if (!failed(p))
        names_set_value(&p->names, &p->scan, parsed.number, value);
}

static void parse_store(Parse *p)
{
    Access *access = access_parse(&p->scan, &p->names);
    Value *value = names_parse_value(&p->names, &p->scan);
    if (!access || !value || !access_parse_guards(&p->scan, &p->names, access, false))
        return;
    if (dtype_compute(value->dtype) != dtype_compute(access->buffer->dtype))
        scan_fail(&p->scan, "store to '%s' (%s) of type %s", access->buffer->name,
                  dtype_name(access->buffer->dtype), dtype_name(value->dtype));
    else
        nest_store(p->nest, access->buffer, access->index, access->guards, access->guard_count,
                   value);
}

static void parse_statement(Parse *p)
{
    Scan *scan = &p->scan;
    BufferRole role;
    if (role_find(scan, &role)) {
        parse_buffer(p);
    } else if (scan_accept(scan, "dim")) {
        const Expr *dim = dim_parse(scan, &p->names);
        if (dim)
            nest_use_dim(p->nest, dim);
    } else if (scan_accept(scan, "equal")) {
        DimsEqual equal;
        if (equal_parse(scan, &p->names, &equal))
            nest_equal(p->nest, equal.a, equal.b);
    } else if (scan_accept(scan, "axis")) {
        parse_axis(p);
    } else if (scan_accept(scan, "store")) {
        parse_store(p);
    } else if (scan->kind == TOK_name && scan->start[0] == '%') {
        parse_value(p);
    } else {
        scan_fail(scan, "expected dim, equal, in, const, out, scratch, axis, %%value, store or }");
    }
}

Nest *nest_parse(Cx *cx, const char *file, const char *text)
{
    Parse p = {0};
    scan_init(&p.scan, cx, file, text);
    names_init(&p.names, cx);
    scan_expect(&p.scan, "nest");
    const char *name = scan_name(&p.scan);
    if (!cx_failed(cx) && !name_is_legal(name))
        scan_fail(&p.scan, "'%s' cannot be a name", name);
    if (cx_failed(cx))
        return NULL;
    p.nest = nest_new(cx, name);
    scan_expect(&p.scan, "{");
    while (!cx_failed(cx) && !scan_accept(&p.scan, "}"))
        parse_statement(&p);
    if (!cx_failed(cx) && p.scan.kind != TOK_end)
        scan_fail(&p.scan, "expected the end after '}'");
    if (cx_failed(cx))
        return NULL;
    nest_finish(p.nest);
    return p.nest;
}

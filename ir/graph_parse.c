/* The parser of the graph's text form (graph.h; the printer is graph_text.c).
 *
 * It goes through the builder, which infers; the type written after the colon must be what it
 * infers. Text is hostile: numbers, ranks and list lengths are checked. */
#include "ir/graph_infer.h"
#include "ir/graph_text.h"
#include "ir/value_text.h"

enum { MAX_TENSORS = 1 << 20, MAX_BODY_DEPTH = 20 };

typedef struct Parse {
    Cx *cx;
    Scan scan;
    Names names; /* dims */
    Graph *graph;
    uint32_t count, capacity;
    Tensor **tensors; /* by the number in the text */
    int depth;        /* of bodies */
} Parse;

static bool failed(const Parse *p)
{
    return cx_failed(p->cx);
}

/* At %12: the number; false after a failure. */
static bool parse_number(Parse *p, uint32_t *number)
{
    Scan *scan = &p->scan;
    uint32_t n = 0;
    bool good = scan->kind == TOK_name && scan->start[0] == '%' && scan->length > 1;
    for (size_t i = 1; good && i < scan->length; i++) {
        good = scan->start[i] >= '0' && scan->start[i] <= '9' && n < MAX_TENSORS;
        n = n * 10 + (uint32_t)(scan->start[i] - '0');
    }
    if (!good || n >= MAX_TENSORS) {
        scan_fail(scan, "expected a tensor (%%number)");
        return false;
    }
    *number = n;
    scan_next(scan);
    return true;
}

static void define(Parse *p, uint32_t number, Tensor *tensor)
{
    while (p->count <= number)
        VEC_PUSH(p->cx->arena, p->tensors, p->count, p->capacity, NULL);
    if (failed(p))
        return;
    if (p->tensors[number])
        scan_fail(&p->scan, "%%%u is defined already", number);
    else
        p->tensors[number] = tensor;
}

static Tensor *parse_use(Parse *p)
{
    uint32_t number = 0;
    Scan before = p->scan;
    if (!parse_number(p, &number))
        return NULL;
    if (number < p->count && p->tensors[number])
        return p->tensors[number];
    p->scan = before;
    scan_fail(&p->scan, "%%%u is not defined", number);
    return NULL;
}

/* "text" when there is one, else NULL. */
static const char *parse_string(Parse *p)
{
    Scan *scan = &p->scan;
    if (scan->kind != TOK_string)
        return NULL;
    if (scan->length < 2 || scan->start[scan->length - 1] != '"') {
        scan_fail(scan, "the string has no end");
        return NULL;
    }
    char *text = arena_copy(p->cx->arena, scan->start + 1, scan->length - 1);
    text[scan->length - 2] = 0;
    scan_next(scan);
    return text;
}

static int parse_exprs(Parse *p, int most, const Expr **list)
{
    int count = 0;
    scan_expect(&p->scan, "[");
    while (!failed(p) && !scan_is(&p->scan, "]")) {
        if (count == most) {
            scan_fail(&p->scan, "more than %d entries", most);
            return 0;
        }
        list[count++] = names_parse_expr(&p->names, &p->scan);
        if (!scan_accept(&p->scan, ","))
            break;
    }
    scan_expect(&p->scan, "]");
    return count;
}

static Dtype parse_dtype(Parse *p)
{
    Dtype dtype = p->scan.kind == TOK_name ? dtype_find(p->scan.start, p->scan.length) : DT_none;
    if (dtype == DT_none)
        scan_fail(&p->scan, "expected an element type");
    else
        scan_next(&p->scan);
    return dtype;
}

typedef struct Type {
    Dtype dtype;
    int rank;
    const Expr *shape[MAX_RANK];
} Type;

static Type parse_type(Parse *p)
{
    if (scan_accept(&p->scan, "bundle"))
        return (Type){.dtype = DT_none};
    Type type = {.dtype = parse_dtype(p)};
    if (!failed(p))
        type.rank = parse_exprs(p, MAX_RANK, type.shape);
    return type;
}

static void parse_word_attr(Parse *p, AttrName name, Attr *attr)
{
    Scan *scan = &p->scan;
    bool word = scan->kind == TOK_name;
    if (name == AT_scalar || name == AT_monoid) {
        int op = !word               ? -1
                 : name == AT_scalar ? scalar_find(scan->start, scan->length)
                                     : monoid_find(scan->start, scan->length);
        if (op < 0)
            scan_fail(scan, "no such %s", graph_attr_rows[name].name);
        else
            scan_next(scan);
        attr->i = op;
    } else {
        attr->name = scan_name(scan);
    }
}

static void parse_dtypes(Parse *p, Attr *attr)
{
    int64_t list[GRAPH_MAX_RESULTS];
    scan_expect(&p->scan, "[");
    while (!failed(p) && !scan_is(&p->scan, "]") && attr->count < GRAPH_MAX_RESULTS) {
        list[attr->count++] = parse_dtype(p);
        if (!scan_accept(&p->scan, ","))
            break;
    }
    scan_expect(&p->scan, "]");
    attr->ints = arena_copy(p->cx->arena, list, (size_t)attr->count * sizeof *list);
}

static void parse_attr(Parse *p, Attr attrs[AT_count])
{
    Scan *scan = &p->scan;
    int name = 0;
    while (name < AT_count && !scan_is(scan, graph_attr_rows[name].name))
        name++;
    if (name == AT_count || attrs[name].set) {
        scan_fail(scan,
                  name == AT_count ? "expected an attribute or ':'" : "attribute given twice");
        return;
    }
    scan_next(scan);
    scan_expect(scan, "=");
    Attr *attr = &attrs[name];
    attr->set = true;
    const Expr *list[GRAPH_MAX_LIST];
    switch (graph_attr_rows[name].kind) {
    case KIND_INT:
        if (name == AT_scalar || name == AT_monoid)
            parse_word_attr(p, (AttrName)name, attr);
        else
            attr->i = scan_int(scan);
        break;
    case KIND_NAME: parse_word_attr(p, (AttrName)name, attr); break;
    case KIND_DTYPE: attr->i = parse_dtype(p); break;
    case KIND_FLOAT: attr->f = scan_float(scan); break;
    case KIND_DTYPES: parse_dtypes(p, attr); break;
    case KIND_EXPRS:
    case KIND_INTS: {
        attr->count = parse_exprs(p, GRAPH_MAX_LIST, list);
        attr->exprs = arena_copy(p->cx->arena, list, (size_t)attr->count * sizeof *list);
        if (graph_attr_rows[name].kind == KIND_EXPRS)
            break;
        int64_t *ints = NEW_ARRAY(p->cx->arena, int64_t, attr->count);
        for (int i = 0; i < attr->count && !failed(p); i++) {
            if (list[i]->kind != EX_const)
                scan_fail(scan, "'%s' lists numbers", graph_attr_rows[name].name);
            ints[i] = list[i]->value;
        }
        attr->ints = ints;
        attr->exprs = NULL;
        break;
    }
    }
}

static void parse_statements(Parse *p);

/* A body: tensors are numbered anew, symbols are those of the whole text. */
static Graph *parse_body(Parse *p)
{
    Parse outer = *p;
    if (p->depth == MAX_BODY_DEPTH) {
        scan_fail(&p->scan, "bodies nest deeper than %d", MAX_BODY_DEPTH);
        return NULL;
    }
    p->graph = graph_body(outer.graph, "body");
    p->count = p->capacity = 0;
    p->tensors = NULL;
    p->depth++;
    parse_statements(p);
    Graph *body = p->graph;
    for (uint32_t i = 0; i < body->node_count && !failed(p); i++)
        graph_node_symbols(p->cx, body->nodes[i], graph_use_dim, body);
    p->graph = outer.graph;
    p->count = outer.count;
    p->capacity = outer.capacity;
    p->tensors = outer.tensors;
    p->depth--;
    return body;
}

static void parse_node(Parse *p)
{
    Scan *scan = &p->scan;
    uint32_t number = 0;
    if (!parse_number(p, &number) || !scan_expect(scan, "="))
        return;
    int op = OP_input + 1;
    while (op < OP_count && !scan_is(scan, graph_op_name((GraphOp)op)))
        op++;
    if (op == OP_count || op == OP_constant) {
        scan_fail(scan, "expected an operation");
        return;
    }
    scan_next(scan);
    Tensor *inputs[100];
    int count = 0;
    while (!failed(p) && scan->kind == TOK_name && scan->start[0] == '%') {
        if (count == 99) {
            scan_fail(scan, "more than 99 inputs");
            return;
        }
        inputs[count++] = parse_use(p);
        if (!scan_accept(scan, ","))
            break;
    }
    Attr *attrs = NEW_ARRAY(p->cx->arena, Attr, AT_count);
    while (!failed(p) && !scan_is(scan, ":") && !scan_is(scan, "body"))
        parse_attr(p, attrs);
    Graph *bodies[2];
    int body_count = 0;
    while (body_count < 2 && !failed(p) && scan_accept(scan, "body"))
        bodies[body_count++] = parse_body(p);
    scan_expect(scan, ":");
    Scan at_type = *scan;
    Type type = parse_type(p);
    const char *source = !failed(p) && scan_accept(scan, "from") ? parse_string(p) : NULL;
    if (failed(p))
        return;
    p->graph->source = source;
    Tensor *out =
        graph_node_bodies(p->graph, (GraphOp)op, count, inputs, attrs, body_count, bodies);
    if (failed(p))
        return;
    bool same = out->dtype == type.dtype && out->rank == type.rank;
    for (int d = 0; same && d < type.rank; d++)
        same = out->shape[d] == type.shape[d];
    if (!same) {
        Text text;
        text_init(&text, p->cx->arena);
        tensor_print_type(&text, out);
        *scan = at_type;
        scan_fail(scan, "inference gives %s", text.data);
    }
    define(p, number, out);
}

static void parse_input(Parse *p)
{
    uint32_t number = 0;
    if (!parse_number(p, &number))
        return;
    Type type = parse_type(p);
    const char *name = failed(p) ? NULL : parse_string(p);
    if (!failed(p))
        define(p, number, graph_input(p->graph, name, type.dtype, type.rank, type.shape));
}

static const void *parse_data(Parse *p, Dtype dtype, int64_t count)
{
    int64_t bytes = dtype_bytes(dtype, count);
    if (count < 0 || count > GRAPH_MAX_LIST || bytes < 0 || dtype_compute(dtype) == DT_none) {
        scan_fail(&p->scan, "data of this type or size cannot be inline");
        return NULL;
    }
    char *data = arena_alloc(p->cx->arena, (size_t)bytes + 1);
    scan_expect(&p->scan, "[");
    for (int64_t i = 0; i < count && !failed(p); i++) {
        Scalar value;
        if (dtype_is_float(dtype))
            value.f = scan_float(&p->scan);
        else
            value.i = scan_int(&p->scan);
        dtype_store(dtype, data, i, value);
        if (i + 1 < count)
            scan_expect(&p->scan, ",");
    }
    scan_expect(&p->scan, "]");
    return data;
}

static void parse_constant(Parse *p)
{
    Scan *scan = &p->scan;
    uint32_t number = 0;
    int64_t shape[MAX_RANK], count = 1, weight = -1;
    if (!parse_number(p, &number))
        return;
    Type type = parse_type(p);
    for (int d = 0; d < type.rank && !failed(p); d++) {
        shape[d] = type.shape[d]->value;
        if (type.shape[d]->kind != EX_const || shape[d] < 0 ||
            __builtin_mul_overflow(count, shape[d], &count))
            scan_fail(scan, "the shape of a constant is not constant, or too large");
    }
    if (!failed(p) && scan->kind == TOK_name && scan->start[0] == '@') {
        weight = 0;
        for (size_t i = 1; i < scan->length && weight <= MAX_TENSORS; i++)
            weight = scan->start[i] >= '0' && scan->start[i] <= '9'
                         ? weight * 10 + (scan->start[i] - '0')
                         : MAX_TENSORS + 1;
        if (weight > MAX_TENSORS)
            scan_fail(scan, "expected the number of a weight");
        else
            scan_next(scan);
    }
    const void *data = NULL;
    if (!failed(p) && scan_accept(scan, "="))
        data = parse_data(p, type.dtype, count);
    else if (!failed(p) && weight < 0)
        scan_fail(scan, "a constant without data needs the number of its weight");
    const char *name = failed(p) ? NULL : parse_string(p);
    if (failed(p))
        return;
    Graph *root = graph_root(p->graph);
    uint32_t weights = root->weight_count;
    Tensor *out = graph_constant(p->graph, name, type.dtype, type.rank, shape, data);
    out->weight = (int)weight;
    root->weight_count = weight >= weights ? (uint32_t)weight + 1 : weights;
    define(p, number, out);
}

static void parse_statement(Parse *p)
{
    Scan *scan = &p->scan;
    if (scan_accept(scan, "dim")) {
        const Expr *dim = dim_parse(scan, &p->names);
        if (dim)
            VEC_PUSH(p->cx->arena, p->graph->dims, p->graph->dim_count, p->graph->dim_cap, dim);
    } else if (scan_accept(scan, "in")) {
        parse_input(p);
    } else if (scan_accept(scan, "const")) {
        parse_constant(p);
    } else if (scan_accept(scan, "out")) {
        Tensor *tensor = parse_use(p);
        if (!failed(p) && tensor_is_bundle(tensor))
            scan_fail(scan, "a bundle is no result");
        const char *name = failed(p) ? NULL : parse_string(p);
        if (!failed(p))
            graph_output(p->graph, tensor, name ? name : "");
    } else if (scan->kind == TOK_name && scan->start[0] == '%') {
        parse_node(p);
    } else {
        scan_fail(scan, "expected dim, in, const, out, %%number or }");
    }
}

static void parse_statements(Parse *p)
{
    scan_expect(&p->scan, "{");
    while (!failed(p) && !scan_accept(&p->scan, "}"))
        parse_statement(p);
}

Graph *graph_parse(Cx *cx, const char *file, const char *text)
{
    Parse *p = NEW(cx->arena, Parse);
    p->cx = cx;
    scan_init(&p->scan, cx, file, text);
    names_init(&p->names, cx);
    scan_expect(&p->scan, "graph");
    const char *name = scan_name(&p->scan);
    if (cx_failed(cx))
        return NULL;
    p->graph = graph_new(cx, name);
    parse_statements(p);
    if (!cx_failed(cx) && p->scan.kind != TOK_end)
        scan_fail(&p->scan, "expected the end after '}'");
    p->graph->source = NULL;
    return cx_failed(cx) ? NULL : p->graph;
}

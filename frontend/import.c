/* The import driver: inputs and weights, then the nodes in order, then the outputs (import_io.c).
 *
 * Names are in import_scope.c. A node that fails gives poison outputs: nodes after it that use them
 * are skipped without a word, the rest is still imported, and all problems are reported together.
 * How deep calls nest and how many nodes come out is bounded by the reader. */
#include "frontend/import_ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "ir/value_text.h"

enum { MOST_PROBLEMS = 200 };

struct Frame {
    const OnnxNode *call;
    Frame *up;
};

typedef struct Row {
    const char *domain, *op;
    int since;
    ImportOp *import;
    int64_t arg;
} Row;

#define AI ""
#define ML "ai.onnx.ml"
#define PREVIEW "ai.onnx.preview"
#define TRAINING "ai.onnx.preview.training"
#define MS "com.microsoft"
static const Row rows[] = {
#define ONNX(domain, op, since, importer, arg) {domain, #op, since, importer, arg},
#include "frontend/onnx.def"
#undef ONNX
};
#undef AI
#undef ML
#undef PREVIEW
#undef TRAINING
#undef MS

const ImportRow *import_row(uint32_t i, ImportRow *row)
{
    if (i >= sizeof rows / sizeof *rows)
        return NULL;
    *row = (ImportRow){rows[i].domain, rows[i].op, rows[i].since};
    return row;
}

/* ---- problems */

Tensor *fail(Import *im, Status status, const char *fmt, ...)
{
    char message[800];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    cx_fail(im->cx, status, "%s", message);
    return graph_poison(im->graph);
}

bool collect(Import *im)
{
    Cx *cx = im->cx;
    if (!cx_failed(cx))
        return false;
    ImportProblems *p = im->problems;
    /* A model that is wrong is not excused by what else is unsupported in it. */
    if (p->status == ST_ok || p->status == ST_unsupported)
        p->status = cx->status;
    if (!cx->message) {
        /* told before */
    } else if (p->count < MOST_PROBLEMS) {
        const char *line = arena_strdup(cx->arena, cx->message);
        VEC_PUSH(cx->arena, p->lines, p->count, p->capacity, line);
    } else {
        p->more++;
    }
    cx_recover(cx);
    return true;
}

static void report(Import *im)
{
    const ImportProblems *p = im->problems;
    if (!p->count)
        return;
    Text text;
    text_init(&text, im->cx->arena);
    for (uint32_t i = 0; i < p->count && text.length < 800; i++)
        text_add(&text, "%s%s", i ? "\n" : "", p->lines[i]);
    uint32_t total = p->count + p->more;
    im->cx->where = NULL;
    if (total > 1)
        cx_fail(im->cx, p->status, "%u problems: %s", total, text.data);
    else
        cx_fail(im->cx, p->status, "%s", text.data);
}

/* ---- what importers ask of their node */

Tensor *arg_any(Import *im, const OnnxNode *n, uint32_t i)
{
    return i < n->input_count ? lookup(im, n->inputs[i]) : NULL;
}

Tensor *arg_maybe(Import *im, const OnnxNode *n, uint32_t i)
{
    Tensor *tensor = arg_any(im, n, i);
    return !tensor || !is_list(tensor)
               ? tensor
               : fail(im, ST_bad_model, "input %u is a sequence, optional or map, not a tensor", i);
}

Tensor *arg(Import *im, const OnnxNode *n, uint32_t i)
{
    Tensor *tensor = arg_maybe(im, n, i);
    return tensor ? tensor : fail(im, ST_bad_model, "input %u is missing", i);
}

bool wants(const OnnxNode *n, uint32_t i)
{
    return i < n->output_count && n->outputs[i][0];
}

void set_result(Import *im, uint32_t i, Tensor *tensor)
{
    if (i < im->result_count)
        im->results[i] = tensor;
}

/* A reference takes the attribute of the call, or the function's default; the call may refer
 * further. */
static const OnnxAttr *attr_in(const OnnxNode *n, const Frame *frame, const char *name)
{
    const OnnxAttr *found = onnx_attr_find(n, name);
    while (found && found->ref && found->ref[0]) {
        if (!frame)
            return NULL;
        const char *ref = found->ref;
        found = onnx_attr_find(frame->call, ref);
        const OnnxFunction *function = frame->call->function;
        for (uint32_t i = 0; !found && i < function->default_count; i++)
            if (strcmp(function->defaults[i].name, ref) == 0)
                return &function->defaults[i];
        frame = frame->up;
    }
    return found;
}

const OnnxAttr *attr(Import *im, const OnnxNode *n, const char *name)
{
    return attr_in(n, im->frame, name);
}

static const OnnxAttr *typed(Import *im, const OnnxNode *n, const char *name, OnnxAttrType type)
{
    const OnnxAttr *found = attr(im, n, name);
    if (!found || (found->type == type && found->count))
        return found;
    fail(im, ST_bad_model, "attribute '%s' is of type %s, not %s", name,
         onnx_attr_type_name(found->type), onnx_attr_type_name(type));
    return NULL;
}

int64_t attr_i(Import *im, const OnnxNode *n, const char *name, int64_t other)
{
    const OnnxAttr *found = typed(im, n, name, OA_int);
    return found ? found->ints[0] : other;
}

double attr_f(Import *im, const OnnxNode *n, const char *name, double other)
{
    const OnnxAttr *found = typed(im, n, name, OA_float);
    return found ? (double)found->floats[0] : other;
}

const char *attr_s(Import *im, const OnnxNode *n, const char *name, const char *other)
{
    const OnnxAttr *found = typed(im, n, name, OA_string);
    return found ? found->strings[0].data : other;
}

int attr_word(Import *im, const OnnxNode *n, const char *name, const char *const *words, int count,
              const char *other)
{
    const char *text = attr_s(im, n, name, other);
    for (int i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    fail(im, ST_bad_model, "attribute '%s' is '%s'", name, onnx_printable(im->cx->arena, text));
    return 0;
}

bool attr_list(Import *im, const OnnxNode *n, const char *name, int *count, const int64_t **list)
{
    const OnnxAttr *found = attr(im, n, name);
    *count = 0;
    if (!found)
        return false;
    if (found->type != OA_ints || found->count > 4096) {
        fail(im, ST_bad_model, "attribute '%s' is of type %s, not a short list of integers", name,
             onnx_attr_type_name(found->type));
        return false;
    }
    *count = (int)found->count;
    *list = found->ints;
    return true;
}

/* ---- nodes */

static const char *domain_text(const char *domain)
{
    return domain[0] ? domain : "ai.onnx";
}

/* Every operator that is not there is told once, however many nodes there are of it; what to do,
 * the first time. */
static void report_unknown(Import *im, const OnnxNode *n, int first)
{
    Arena *arena = im->cx->arena;
    const char *op = onnx_printable(arena, n->op);
    const char *domain = onnx_printable(arena, domain_text(n->domain));
    const char *key = arena_printf(arena, "%s %s", domain, op);
    bool alone = im->unknown.count == 0;
    if (map_find_text(&im->unknown, key)) {
        im->cx->status = ST_unsupported; /* without a message: collect keeps none */
        return;
    }
    map_set_text(&im->unknown, key, im);
    if (first)
        fail(im, ST_unsupported,
             "%s of opset %lld of domain %s: supported from opset %d on; convert the model to a "
             "newer opset",
             op, (long long)n->opset, domain, first);
    else
        fail(im, ST_unsupported, "no operator '%s' in domain %s (opset %lld)%s", op, domain,
             (long long)n->opset,
             alone ? "; export the model without it or register a custom operator "
                     "(qn_custom_operator)"
                   : "");
}

/* The row with the largest first opset that is not above the node's; NULL after a failure. */
static const Row *resolve(Import *im, const OnnxNode *n)
{
    const Row *best = NULL;
    int first = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *row = &rows[i];
        if (strcmp(row->op, n->op) != 0 || strcmp(row->domain, n->domain) != 0)
            continue;
        first = !first || row->since < first ? row->since : first;
        if (row->since <= n->opset && (!best || row->since > best->since))
            best = row;
    }
    if (!best)
        report_unknown(im, n, first);
    return best;
}

/* Of a node that cannot be imported because of an earlier one: whether its operators are there. */
static void check_node(Import *im, const OnnxNode *n)
{
    im->cx->where = onnx_node_text(im->cx->arena, n);
    if (n->function)
        for (uint32_t i = 0; i < n->function->body.node_count; i++)
            check_node(im, &n->function->body.nodes[i]);
    else if (!import_find_custom(im, n))
        resolve(im, n);
    collect(im);
}

/* False when an input is missing from an earlier failure: the node is skipped. */
static bool inputs_ready(Import *im, const OnnxNode *n)
{
    for (uint32_t i = 0; i < n->input_count; i++) {
        Tensor *tensor = lookup(im, n->inputs[i]);
        if (cx_failed(im->cx) || (tensor && tensor_is_poison(tensor)))
            return false;
    }
    return true;
}

static void call_function(Import *im, const OnnxNode *n, Tensor **results)
{
    const OnnxFunction *f = n->function;
    Frame frame = {n, im->frame};
    Tensor **inputs = NEW_ARRAY(im->cx->arena, Tensor *, f->body.input_count + 1);
    for (uint32_t i = 0; i < f->body.input_count; i++)
        inputs[i] = i < n->input_count ? lookup(im, n->inputs[i]) : NULL;
    uint32_t mark = im->undo_count;
    im->depth++;
    im->frame = &frame;
    for (uint32_t i = 0; i < f->body.input_count; i++)
        bind(im, f->body.inputs[i].name, inputs[i]);
    import_nodes(im, &f->body);
    for (uint32_t i = 0; i < n->output_count && i < f->body.output_count; i++)
        results[i] = lookup(im, f->body.outputs[i].name);
    im->frame = frame.up;
    im->depth--;
    leave_scope(im, mark);
}

void give_up_node(Import *im, const OnnxNode *n)
{
    im->fork = (Fork){0};
    collect(im);
    for (uint32_t i = 0; i < n->output_count; i++)
        if (wants(n, i))
            bind(im, n->outputs[i], graph_poison(im->graph));
}

void import_node(Import *im, const OnnxNode *n)
{
    Cx *cx = im->cx;
    const char *text = onnx_node_text(cx->arena, n);
    Tensor **results = NEW_ARRAY(cx->arena, Tensor *, n->output_count + 1);
    bool ready = inputs_ready(im, n);
    cx->where = im->graph->source = text;
    if (ready && n->function) {
        call_function(im, n, results);
    } else if (!ready) {
        check_node(im, n);
    } else {
        const CustomOperator *custom = import_find_custom(im, n);
        const Row *row = custom ? NULL : resolve(im, n);
        im->results = results;
        im->result_count = n->output_count;
        im->arg = row ? row->arg : 0;
        bool moved = row && moves_texts(im, n, row->import);
        Tensor *first = moved    ? import_moved_texts(im, n, row->import)
                        : custom ? import_custom(im, n, custom)
                        : row    ? row->import(im, n)
                                 : NULL;
        if (n->output_count)
            results[0] = first;
        for (uint32_t i = 0; i < n->output_count && !cx_failed(cx); i++)
            if (!results[i] && wants(n, i))
                fail(im, ST_unsupported, "output %u (of opset %lld) is not supported", i,
                     (long long)n->opset);
    }
    cx->where = im->graph->source = NULL;
    if (cx_failed(cx)) {
        if (!im->fork.condition)
            give_up_node(im, n);
        return;
    }
    for (uint32_t i = 0; i < n->output_count; i++)
        if (wants(n, i))
            bind(im, n->outputs[i], results[i] ? results[i] : graph_poison(im->graph));
}

Graph *import_model(Cx *cx, const OnnxModel *model, const ImportOptions *options,
                    ImportProblems *problems)
{
    ImportProblems own = {0};
    Import *im = NEW(cx->arena, Import);
    *im = (Import){
        .cx = cx, .model = model, .options = options, .problems = problems ? problems : &own};
    *im->problems = (ImportProblems){0};
    im->graph = graph_new(cx, model->graph.name);
    im->value_count = onnx_names_count(model->names);
    im->values = NEW_ARRAY(cx->arena, Tensor *, im->value_count);
    im->weights = NEW_ARRAY(cx->arena, const OnnxTensor *, im->value_count);
    map_init(&im->unknown, cx->arena);
    import_inputs(im);
    for (uint32_t i = 0; i < model->graph.init_count; i++)
        bind_weight(im, &model->graph.inits[i]);
    import_nodes(im, &model->graph);
    import_outputs(im);
    report(im);
    if (cx_failed(cx))
        return NULL;
    graph_sweep(im->graph);
    return im->graph;
}

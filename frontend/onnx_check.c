/* Opset imports, and what nodes mean by their operator: calls of the model's functions are tied to
 * them, and the functions must call each other without cycles, not too deep, and not expand to too
 * many nodes.
 *
 * A function's nodes use the opsets that it imports itself, so its import cannot disagree with the
 * model's. */
#include "frontend/onnx_read.h"

#include <string.h>

/* ---- opsets ---- */

/* The newest version known of ONNX's own domains; 0 for others, which any version may have. */
static int64_t newest_opset(const char *domain)
{
    static const struct {
        const char *domain;
        int64_t version;
    } known[] = {{"", ONNX_OPSET_NEWEST},
                 {"ai.onnx.ml", 5},
                 {"ai.onnx.training", 1},
                 {"ai.onnx.preview.training", 1},
                 {"ai.onnx.preview", 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(domain, known[i].domain))
            return known[i].version;
    return 0;
}

static void check_opset(Reader *r, const OnnxOpset *opset)
{
    const char *domain = opset->domain[0] ? onnx_show(r, opset->domain) : "ai.onnx";
    int64_t newest = newest_opset(opset->domain);
    if (opset->version < (newest ? 1 : 0) || opset->version > INT32_MAX)
        onnx_fail(r, ST_bad_model, "imports opset %lld of '%s', which cannot be",
                  (long long)opset->version, domain);
    else if (newest && opset->version > newest)
        onnx_fail(r, ST_unsupported,
                  "needs opset %lld of '%s'; versions up to %lld are supported: export it with an "
                  "older opset",
                  (long long)opset->version, domain, (long long)newest);
}

OnnxOpset *onnx_read_opsets(Reader *r, PbOpset *const *from, size_t count)
{
    if (count > ONNX_OPSETS) {
        onnx_fail(r, ST_limit, "imports %zu opsets; at most %d are supported", count, ONNX_OPSETS);
        return NULL;
    }
    OnnxOpset *opsets = NEW_ARRAY(r->cx->arena, OnnxOpset, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++) {
        const char *domain = from[i]->domain;
        bool is_default = domain && !strcmp(domain, "ai.onnx");
        opsets[i] = (OnnxOpset){onnx_name(r->names, is_default ? "" : domain), from[i]->version};
        check_opset(r, &opsets[i]);
        for (size_t j = 0; j < i; j++)
            if (opsets[j].domain == opsets[i].domain && opsets[j].version != opsets[i].version)
                onnx_fail(r, ST_bad_model, "imports two opsets of domain '%s'",
                          domain ? onnx_show(r, domain) : "");
    }
    return opsets;
}

/* ---- functions ---- */

typedef struct Calls {
    Reader *r;
    OnnxFunction **by_name; /* by onnx_name_id of the function's name */
    uint32_t name_count;    /* names interned after the table was made belong to no function */
    uint8_t *state;         /* by function: 0 not visited, 1 being visited, 2 done */
    OnnxModel *model;
    int depth;
} Calls;

typedef struct Extent {
    uint64_t expanded;
    uint32_t height;
} Extent;

static void index_functions(Calls *calls)
{
    OnnxModel *model = calls->model;
    for (uint32_t i = 0; i < model->function_count; i++) {
        OnnxFunction *f = &model->functions[i];
        OnnxFunction **head = &calls->by_name[onnx_name_id(f->name)];
        for (const OnnxFunction *other = *head; other; other = other->sibling) {
            if (other->domain == f->domain && other->overload == f->overload) {
                calls->r->function = f;
                onnx_fail(calls->r, ST_bad_model,
                          "there are two functions of this name and domain");
                return;
            }
        }
        f->sibling = *head;
        *head = f;
    }
}

static OnnxFunction *find_function(const Calls *calls, const OnnxNode *node)
{
    uint32_t id = onnx_name_id(node->op);
    for (const OnnxFunction *f = id < calls->name_count ? calls->by_name[id] : NULL; f;
         f = f->sibling)
        if (f->domain == node->domain && f->overload == node->overload)
            return &calls->model->functions[f - calls->model->functions];
    return NULL;
}

static Extent visit_graph(Calls *calls, OnnxGraph *graph);

static void visit_function(Calls *calls, OnnxFunction *f)
{
    Reader *r = calls->r;
    uint8_t *state = &calls->state[f - calls->model->functions];
    if (*state == 2)
        return;
    if (*state == 1) {
        onnx_fail(r, ST_bad_model,
                  "calls function '%s', which is calling: functions cannot recurse",
                  onnx_show(r, f->name));
        return;
    }
    const OnnxFunction *outer = r->function;
    const OnnxNode *node = r->node;
    *state = 1;
    if (++calls->depth > ONNX_CALL_DEPTH) {
        onnx_fail(r, ST_limit, "functions call each other more than %d deep", ONNX_CALL_DEPTH);
    } else {
        r->function = f;
        Extent extent = visit_graph(calls, &f->body);
        f->expanded = extent.expanded;
        f->height = extent.height + 1;
        r->function = outer;
    }
    calls->depth--;
    r->node = node;
    *state = 2;
}

static void add_extent(Extent *to, Extent more)
{
    to->expanded =
        to->expanded > UINT64_MAX - more.expanded ? UINT64_MAX : to->expanded + more.expanded;
    if (more.height > to->height)
        to->height = more.height;
}

static void visit_node(Calls *calls, OnnxNode *node, Extent *extent)
{
    calls->r->node = node;
    add_extent(extent, (Extent){1, 0});
    OnnxFunction *f = find_function(calls, node);
    node->function = f;
    if (f) {
        visit_function(calls, f);
        add_extent(extent, (Extent){f->expanded, f->height});
    }
    for (uint32_t i = 0; i < node->attr_count && !cx_failed(calls->r->cx); i++) {
        const OnnxAttr *attr = &node->attrs[i];
        bool has_graphs = (attr->type == OA_graph || attr->type == OA_graphs) && !attr->ref[0];
        for (uint32_t j = 0; has_graphs && j < attr->count && !cx_failed(calls->r->cx); j++)
            add_extent(extent, visit_graph(calls, (OnnxGraph *)(uintptr_t)attr->graphs[j]));
        calls->r->node = node;
    }
}

static Extent visit_graph(Calls *calls, OnnxGraph *graph)
{
    Extent extent = {0, 0};
    for (uint32_t i = 0; i < graph->node_count && !cx_failed(calls->r->cx); i++)
        visit_node(calls, &graph->nodes[i], &extent);
    Reader *r = calls->r;
    if (extent.expanded > ONNX_EXPANDED_NODES)
        onnx_fail(r, ST_limit, "becomes more than %d nodes once functions are inlined",
                  ONNX_EXPANDED_NODES);
    else if (extent.height >= ONNX_CALL_DEPTH + (r->function ? 0u : 1u))
        onnx_fail(r, ST_limit, "functions call each other more than %d deep", ONNX_CALL_DEPTH);
    r->node = NULL;
    return extent;
}

void onnx_resolve(Reader *r, OnnxModel *model)
{
    Calls calls = {.r = r, .model = model, .name_count = onnx_names_count(r->names)};
    calls.by_name = NEW_ARRAY(r->cx->arena, OnnxFunction *, calls.name_count);
    calls.state = NEW_ARRAY(r->cx->arena, uint8_t, model->function_count);
    index_functions(&calls);
    for (uint32_t i = 0; i < model->function_count && !cx_failed(r->cx); i++)
        visit_function(&calls, &model->functions[i]);
    if (!cx_failed(r->cx))
        model->expanded = visit_graph(&calls, &model->graph).expanded;
    r->function = NULL;
    r->node = NULL;
}

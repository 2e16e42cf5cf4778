/* For the tests of grouping and lowering: a graph's text, run by the interpreters in several ways,
 * against values computed by hand. */
#ifndef QUERN_TESTS_GRAPH_RUN_H
#define QUERN_TESTS_GRAPH_RUN_H

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "passes/group.h"
#include "passes/schedule.h"
#include "tests/property/random_case.h"

/* How kernels are made and run. Every check runs all of them. */
enum {
    FUSED = 0,
    ALONE = 1,
    TILES = 2,
    WAYS = 4
}; /* FUSED or ALONE, plus TILES: as tile programs */

typedef struct GraphRun {
    const char *text;
    const double *const *inputs, *const *outputs; /* NULL-terminated */
    const int64_t *dims;                          /* of the graph, in order */
    int way;
    int groups; /* out: kernels of the fused graph */
    Graph *graph;
    void **memory; /* by tensor id */
} GraphRun;

#define VALUES(...) ((const double[]){__VA_ARGS__})
#define LIST(...) ((const double *const[]){__VA_ARGS__, NULL})
#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static inline bool run_lookup(void *user, const Expr *sym, int64_t *value)
{
    const GraphRun *r = user;
    for (uint32_t i = 0; i < r->graph->dim_count; i++)
        if (r->graph->dims[i] == sym) {
            *value = r->dims[i];
            return true;
        }
    return false;
}

static inline int64_t run_count(Cx *cx, GraphRun *r, const Tensor *tensor)
{
    int64_t count;
    if (!expr_eval(tensor_count(cx, tensor), run_lookup, r, &count))
        cx_fail(cx, ST_internal, "tensor %%%u has no size", tensor->id);
    return cx_failed(cx) ? 0 : count;
}

static inline void run_allocate(Cx *cx, GraphRun *r)
{
    r->memory = NEW_ARRAY(cx->arena, void *, r->graph->tensor_count);
    for (uint32_t i = 0; i < r->graph->node_count && !cx_failed(cx); i++) {
        const Tensor *t = r->graph->nodes[i]->output;
        int64_t bytes = dtype_bytes(t->dtype, run_count(cx, r, t));
        r->memory[t->id] = arena_alloc(cx->arena, (size_t)bytes + 64);
        if (t->data)
            memcpy(r->memory[t->id], t->data, (size_t)bytes);
        else
            memset(r->memory[t->id], 0x5A, (size_t)bytes);
    }
    for (uint32_t i = 0; i < r->graph->input_count && !cx_failed(cx); i++) {
        const Tensor *t = r->graph->inputs[i];
        cr_assert(r->inputs[i], "input %u is missing", i);
        for (int64_t k = 0, n = run_count(cx, r, t); k < n; k++) {
            double value = r->inputs[i][k];
            dtype_store(t->dtype, r->memory[t->id], k,
                        dtype_is_float(t->dtype) ? (Scalar){.f = value}
                                                 : (Scalar){.i = (int64_t)value});
        }
    }
}

static inline bool run_nest(Cx *cx, GraphRun *r, const LoweredGroup *lowered)
{
    Nest *nest = lowered->nest;
    Lowered tiles = {0};
    uint32_t count = nest->buffer_count;
    if (r->way & TILES) {
        const Caps *caps = target_find("x86-64-v3");
        nest_finish(nest);
        Schedule schedule = schedule_choose(cx, nest, caps);
        if (!schedule_apply(cx, nest, &schedule, caps, &tiles))
            return false;
        count = tiles.prog->buffer_count;
    }
    void **buffers = NEW_ARRAY(cx->arena, void *, count);
    for (uint32_t i = 0; i < lowered->tensor_count; i++)
        buffers[i] = r->memory[lowered->tensors[i]->id];
    NestRun run = {.buffers = buffers, .dims = r->dims};
    if (!(r->way & TILES))
        return nest_run(cx, nest, &run);
    return bind_lowered(cx, nest, &tiles, r->dims, buffers) && tile_run(cx, tiles.prog, &run);
}

/* Every node a kernel of its own. */
static inline void run_alone(Cx *cx, GraphRun *r)
{
    for (uint32_t i = 0; i < r->graph->node_count && !cx_failed(cx); i++) {
        GraphNode *node = r->graph->nodes[i];
        if (node->op == OP_input || node->op == OP_constant)
            continue;
        bool *inside = NEW_ARRAY(cx->arena, bool, r->graph->tensor_count);
        inside[node->output->id] = true;
        Group group = {inside, 1, &node->output};
        LoweredGroup lowered;
        if (lower_group(cx, r->graph, &group, NULL, &lowered))
            run_nest(cx, r, &lowered);
    }
}

static inline void run_fused(Cx *cx, GraphRun *r)
{
    const Grouping *grouping = group_graph(cx, r->graph, target_find("x86-64-v4"));
    r->groups = (int)grouping->count;
    for (uint32_t g = 0; g < grouping->count && !cx_failed(cx); g++) {
        LoweredGroup lowered;
        if (lower_group(cx, r->graph, &grouping->groups[g].group, grouping->layouts, &lowered))
            run_nest(cx, r, &lowered);
    }
}

static inline void run_compare(Cx *cx, GraphRun *r)
{
    for (uint32_t o = 0; o < r->graph->output_count; o++) {
        const Tensor *t = r->graph->outputs[o];
        cr_assert(r->outputs[o], "output %u is missing", o);
        for (int64_t k = 0, n = run_count(cx, r, t); k < n; k++) {
            Scalar s = dtype_load(t->dtype, r->memory[t->id], k);
            bool flt = dtype_is_float(t->dtype);
            double got = flt ? s.f : (double)s.i, want = r->outputs[o][k];
            bool same = got == want || (isnan(got) && isnan(want)) ||
                        (flt && fabs(got - want) <= 2e-6 * fabs(want) + 1e-7);
            cr_expect(same, "way %d, output %u[%d] is %.9g, not %.9g", r->way, o, (int)k, got,
                      want);
        }
    }
}

static inline void run_body(Cx *cx, void *user)
{
    GraphRun *r = user;
    r->graph = graph_parse(cx, "test", r->text);
    if (!r->graph || !graph_verify(r->graph))
        return;
    run_allocate(cx, r);
    if (cx_failed(cx))
        return;
    if (r->way & ALONE)
        run_alone(cx, r);
    else
        run_fused(cx, r);
    if (!cx_failed(cx))
        run_compare(cx, r);
}

/* Checks all outputs in all ways; returns how many kernels the fused graph has. */
static inline int check_graph(const char *text, const double *const *inputs, const int64_t *dims,
                              const double *const *outputs)
{
    int groups = 0;
    for (int way = 0; way < WAYS; way++) {
        GraphRun r = {.text = text, .inputs = inputs, .outputs = outputs, .dims = dims, .way = way};
        Cx cx;
        cx_init(&cx, NULL, 0);
        cx_run(&cx, run_body, &r);
        cr_expect(cx.status == ST_ok, "way %d: %s", way, cx.message);
        cx_finish(&cx);
        groups = way == FUSED ? r.groups : groups;
    }
    return groups;
}

#endif

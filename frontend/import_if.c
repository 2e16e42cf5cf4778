/* Importer: If. A condition known when compiling takes its branch; else both branches become
 * bodies. A branch that contradicts itself for the shapes at hand, as one for another rate of
 * sampling may, becomes a body that refuses to run. */
#include "frontend/import_body.h"

typedef struct Side {
    Body body;
    Tensor **results;
} Side;

static bool import_side(Import *im, const OnnxGraph *graph, uint32_t count, Side *side)
{
    side->results = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    if (!body_begin(im, &side->body, graph->name))
        return false;
    bool done = import_subgraph(im, graph, NULL, side->results, count);
    body_end(im, &side->body);
    return done && all_there(im, count, side->results);
}

/* Gives the body inputs for all of the captures, in their order. */
static void share_captures(Side *side, uint32_t count, Tensor *const *captures)
{
    Graph *graph = side->body.graph;
    for (uint32_t i = 0; i < count; i++)
        if (!map_find(&side->body.captured, &captures[i], sizeof *captures))
            map_set(&side->body.captured, &captures[i], sizeof *captures,
                    graph_input(graph, captures[i]->name, captures[i]->dtype, captures[i]->rank,
                                (const Expr *const *)captures[i]->shape));
    for (uint32_t i = 0; i < count; i++)
        graph->inputs[i] = map_find(&side->body.captured, &captures[i], sizeof *captures);
}

static bool branch_of(Import *im, Tensor *condition, Side sides[2], uint32_t count,
                      Tensor **outputs)
{
    Arena *arena = im->cx->arena;
    uint32_t total = 1, capacity = 0, listed = 0;
    Tensor **inputs = NULL;
    VEC_PUSH(arena, inputs, listed, capacity, condition);
    for (int s = 0; s < 2; s++)
        for (uint32_t i = 0; i < sides[s].body.count; i++) {
            Tensor *tensor = sides[s].body.captures[i];
            bool known = false;
            for (uint32_t k = 1; k < listed; k++)
                known |= inputs[k] == tensor;
            if (!known)
                VEC_PUSH(arena, inputs, listed, capacity, tensor);
        }
    total = listed;
    Graph *bodies[2];
    for (int s = 0; s < 2; s++) {
        share_captures(&sides[s], total - 1, inputs + 1);
        bodies[s] = sides[s].body.graph;
        for (uint32_t i = 0; i < count; i++)
            graph_output(bodies[s], sides[s].results[i], NULL);
        graph_body_end(bodies[s]);
    }
    return graph_branch(im->graph, bodies, (int)total, inputs, outputs);
}

/* A side that cannot be: it contradicts itself for the shapes at hand, as the side for another rate
 * of sampling does. It gives what the other side gives, but refuses to run, with the reason. */
static bool refuse_side(Import *im, const char *why, uint32_t count, const Side *other, Side *side)
{
    HostResult results[GRAPH_MAX_RESULTS];
    if (count > GRAPH_MAX_RESULTS || !body_begin(im, &side->body, other->body.graph->name))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const Tensor *as = other->results[i];
        const Expr **shape = NEW_ARRAY(im->cx->arena, const Expr *, as->rank);
        for (int d = 0; d < as->rank; d++)
            shape[d] = graph_is_outer(side->body.graph, as->shape[d]) ? as->shape[d] : NULL;
        results[i] = (HostResult){as->dtype, as->rank, shape, NULL};
    }
    Tensor *text = host_text(im, why);
    graph_host(im->graph, "refuse", 1, &text, (int)count, results, side->results);
    body_end(im, &side->body);
    return all_there(im, count, side->results);
}

/* A model that is wrong is not excused by what else is unsupported in it. */
static Status worse(Status a, Status b)
{
    return a == ST_ok || (a == ST_unsupported && b != ST_ok) ? b : a;
}

/* Imports both sides. When one of them contradicts itself, its problems become those of a run that
 * takes it. */
static bool import_sides(Import *im, const OnnxGraph *const graphs[2], uint32_t count,
                         Side sides[2])
{
    ImportProblems *p = im->problems, before = *p;
    bool good[2];
    Status status[2];
    const char *why[2];
    for (int s = 0; s < 2; s++) {
        uint32_t known = p->count;
        p->status = ST_ok;
        good[s] = !cx_failed(im->cx) && import_side(im, graphs[s], count, &sides[s]);
        status[s] = p->status;
        why[s] = p->count > known ? p->lines[known] : NULL;
    }
    p->status = worse(before.status, worse(status[0], status[1]));
    if (good[0] && good[1])
        return true;
    int bad = good[0];
    if (!good[!bad] || status[bad] != ST_bad_model || !why[bad] ||
        any_list(count, sides[!bad].results))
        return false;
    p->status = before.status;
    p->count = before.count;
    p->more = before.more;
    return refuse_side(im, why[bad], count, &sides[!bad], &sides[bad]);
}

static Tensor *import_open_if(Import *im, const OnnxNode *n, Tensor *condition)
{
    Side sides[2];
    Tensor **outputs = im->results;
    uint32_t count = im->result_count;
    const OnnxGraph *graphs[] = {body_attr(im, n, "then_branch"), body_attr(im, n, "else_branch")};
    if (cx_failed(im->cx) || !import_sides(im, graphs, count, sides))
        return give_up(im, outputs, count);
    if (any_list(count, sides[0].results) || any_list(count, sides[1].results))
        return unknown(im, condition, "the condition of branches that give sequences");
    for (uint32_t i = 0; i < count; i++) {
        const Tensor *yes = sides[0].results[i], *no = sides[1].results[i];
        if (yes->dtype != no->dtype)
            return fail(im, ST_bad_model, "output %u is %s in one branch and %s in the other", i,
                        dtype_name(yes->dtype), dtype_name(no->dtype));
        if (yes->rank != no->rank)
            return fail(im, ST_unsupported,
                        "output %u is of rank %d in one branch and %d in the other, and the "
                        "condition is not known when compiling",
                        i, yes->rank, no->rank);
    }
    branch_of(im, condition, sides, count, outputs);
    return outputs[0];
}

Tensor *import_if(Import *im, const OnnxNode *n)
{
    bool yes;
    Tensor *condition = one_element(im, arg(im, n, 0), DT_bool, "the condition");
    if (tensor_is_poison(condition))
        return condition;
    if (!known_bool(condition, &yes))
        return import_open_if(im, n, condition);
    const OnnxGraph *graph = body_attr(im, n, yes ? "then_branch" : "else_branch");
    Tensor **results = im->results;
    uint32_t count = im->result_count;
    if (!graph || !import_subgraph(im, graph, NULL, results, count))
        return give_up(im, results, count);
    return results[0];
}

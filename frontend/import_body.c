/* What importers of operators with bodies (If, Loop, Scan) ask of them and of their results. */
#include "frontend/import_body.h"

const OnnxGraph *body_attr(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    if (found && found->type == OA_graph)
        return found->graphs[0];
    fail(im, ST_bad_model, "the graph '%s' is missing", name);
    return NULL;
}

bool known_bool(const Tensor *x, bool *value)
{
    if (!x->elements || x->elements[0]->kind != EX_const)
        return false;
    *value = x->elements[0]->value != 0;
    return true;
}

Tensor *give_up(Import *im, Tensor **results, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        results[i] = graph_poison(im->graph);
    return graph_poison(im->graph);
}

Tensor *one_element(Import *im, Tensor *x, Dtype dtype, const char *what)
{
    if (tensor_is_poison(x))
        return x;
    if (is_list(x) || x->dtype != dtype || tensor_count_const(im->cx, x) != 1)
        return fail(im, ST_bad_model, "%s is not one %s", what, dtype_name(dtype));
    return reshape(im, x, 0, NULL);
}

bool all_there(Import *im, uint32_t count, Tensor *const *results)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!results[i]) {
            fail(im, ST_bad_model, "output %u of a body has no value", i);
            return false;
        }
        if (tensor_is_poison(results[i]))
            return false;
    }
    return true;
}

bool any_list(uint32_t count, Tensor *const *list)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i] && is_list(list[i]))
            return true;
    return false;
}

/* ---- branches */

/* Adds the captures that the nodes of a swept side use; list[0] is the condition. */
static uint32_t used_captures(Import *im, const Body *body, Tensor ***list, uint32_t count,
                              uint32_t *capacity)
{
    uint32_t before = count;
    for (uint32_t i = 0; i < body->count; i++) {
        const Tensor *own = map_find(&body->captured, &body->captures[i], sizeof *body->captures);
        bool known = own->uses == 0;
        for (uint32_t k = 1; k < before; k++)
            known |= (*list)[k] == body->captures[i];
        if (!known)
            VEC_PUSH(im->cx->arena, *list, count, *capacity, body->captures[i]);
    }
    return count;
}

/* Gives the body inputs for all of the captures, in their order, and no others. */
static void share_captures(Body *body, uint32_t count, Tensor *const *captures)
{
    Graph *graph = body->graph;
    for (uint32_t i = 0; i < count; i++)
        if (!map_find(&body->captured, &captures[i], sizeof *captures))
            map_set(&body->captured, &captures[i], sizeof *captures,
                    graph_input(graph, captures[i]->name, captures[i]->dtype, captures[i]->rank,
                                (const Expr *const *)captures[i]->shape));
    for (uint32_t i = 0; i < count; i++)
        graph->inputs[i] = map_find(&body->captured, &captures[i], sizeof *captures);
    graph->input_count = count;
}

bool branch_of(Import *im, Tensor *condition, Side sides[2], uint32_t count, Tensor **outputs)
{
    uint32_t listed = 0, capacity = 0;
    Tensor **inputs = NULL;
    Graph *bodies[2];
    VEC_PUSH(im->cx->arena, inputs, listed, capacity, condition);
    for (int s = 0; s < 2; s++) {
        bodies[s] = sides[s].body.graph;
        for (uint32_t i = 0; i < count; i++)
            graph_output(bodies[s], sides[s].results[i], NULL);
        graph_sweep(bodies[s]);
        listed = used_captures(im, &sides[s].body, &inputs, listed, &capacity);
    }
    for (int s = 0; s < 2; s++) {
        share_captures(&sides[s].body, listed - 1, inputs + 1);
        graph_body_end(bodies[s]);
    }
    return graph_branch(im->graph, bodies, (int)listed, inputs, outputs);
}

bool refuse_side(Import *im, const char *why, uint32_t count, const Side *other, Side *side)
{
    HostResult results[GRAPH_MAX_RESULTS];
    side->results = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    if (count > GRAPH_MAX_RESULTS)
        fail(im, ST_limit, "%u results: a branch has at most %d", count, GRAPH_MAX_RESULTS);
    if (cx_failed(im->cx) || !body_begin(im, &side->body, other->body.graph->name))
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

/* ---- ways that are tried */

/* A model that is wrong is not excused by what else is unsupported in it. */
static Status worse(Status a, Status b)
{
    return a == ST_ok || (a == ST_unsupported && b != ST_ok) ? b : a;
}

void trial_begin(Import *im, Trial *trial)
{
    *trial = (Trial){.before = *im->problems};
    im->problems->status = ST_ok;
}

void trial_end(Import *im, Trial *trial)
{
    ImportProblems *p = im->problems;
    trial->status = p->status;
    trial->why = p->count > trial->before.count ? p->lines[trial->before.count] : NULL;
    p->status = trial->before.status;
}

void trial_forget(Import *im, const Trial *trial)
{
    ImportProblems *p = im->problems;
    p->status = trial->before.status;
    p->count = trial->before.count;
    p->more = trial->before.more;
    map_init(&im->unknown, im->cx->arena); /* may be told again */
}

int trial_refused(Import *im, const Trial trials[2])
{
    Status a = trials[0].status, b = trials[1].status;
    int bad = a == ST_ok;
    if (trials[bad].status == ST_bad_model && trials[bad].why && trials[!bad].status == ST_ok) {
        trial_forget(im, &trials[0]);
        return bad;
    }
    /* what is unsupported in one way is not excused by what is wrong in the other */
    bool first = b == ST_ok || (b == ST_bad_model && a != ST_ok);
    im->problems->status = worse(im->problems->status, first ? a : b);
    return -1;
}

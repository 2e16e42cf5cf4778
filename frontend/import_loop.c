/* Importers: If, Loop and Scan.
 *
 * A condition known when compiling takes its branch; else both branches become bodies. A loop's
 * body is imported with the carried values' shapes as they are at the beginning; where an iteration
 * gives another extent, it is imported again with a symbol there. Scan is a loop whose body gathers
 * its slices by the number of the iteration. What carries sequences is unrolled. */
#include "frontend/import_ops.h"

enum { MOST_TRIES = 4, MOST_UNROLLED = 1024 };

static const OnnxGraph *body_attr(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    if (found && found->type == OA_graph)
        return found->graphs[0];
    fail(im, ST_bad_model, "the graph '%s' is missing", name);
    return NULL;
}

static bool is_known(const Tensor *x, bool *value)
{
    if (!x->elements || x->elements[0]->kind != EX_const)
        return false;
    *value = x->elements[0]->value != 0;
    return true;
}

/* All results of a node that failed, or that uses what did. */
static Tensor *give_up(Import *im, Tensor **results, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        results[i] = graph_poison(im->graph);
    return graph_poison(im->graph);
}

/* One element as a tensor of rank 0. */
static Tensor *one_element(Import *im, Tensor *x, Dtype dtype, const char *what)
{
    if (tensor_is_poison(x))
        return x;
    if (is_list(x) || x->dtype != dtype || tensor_count_const(im->cx, x) != 1)
        return fail(im, ST_bad_model, "%s is not one %s", what, dtype_name(dtype));
    return reshape(im, x, 0, NULL);
}

/* Whether all of them are there: poison stands for problems that were noted before. */
static bool all_there(Import *im, uint32_t count, Tensor *const *results)
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

static bool any_list(uint32_t count, Tensor *const *list)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i] && is_list(list[i]))
            return true;
    return false;
}

/* ---- If */

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
    if (!is_known(condition, &yes))
        return import_open_if(im, n, condition);
    const OnnxGraph *graph = body_attr(im, n, yes ? "then_branch" : "else_branch");
    Tensor **results = im->results;
    uint32_t count = im->result_count;
    if (!graph || !import_subgraph(im, graph, NULL, results, count))
        return give_up(im, results, count);
    return results[0];
}

/* ---- loops */

/* A loop to be made. Of Scan: `scans` are the tensors to take slices of. */
typedef struct LoopJob {
    const OnnxGraph *graph;
    Tensor *trip, *condition; /* i64 [], bool [] */
    bool is_loop;             /* ONNX Loop: its body takes counter and condition, gives condition */
    bool until;               /* the condition counts */
    uint32_t carried, stacked, scan_count;
    Tensor *const *initial, *const *scans;
    const int64_t *axes;
    const bool *reverse;
    const Expr *length;
} LoopJob;

typedef const Expr *Shape[MAX_RANK];

/* Slice number `counter` of a scanned tensor. */
static Tensor *slice_at(Import *im, const LoopJob *job, uint32_t i, Tensor *counter)
{
    Tensor *at = counter;
    if (job->reverse[i])
        at = ew(im, S_sub, expr_scalar(im, DT_i64, expr_addi(im->cx, job->length, -1)), counter);
    return gather_axis(im, import_visible(im, job->scans[i]), at, (int)job->axes[i]);
}

/* The inputs of the ONNX body. */
static Tensor **body_inputs(Import *im, const LoopJob *job, Tensor *counter, Tensor *const *values)
{
    uint32_t at = 0;
    Tensor **inputs =
        NEW_ARRAY(im->cx->arena, Tensor *, 3 + (size_t)job->carried + job->scan_count);
    if (job->is_loop) {
        inputs[at++] = counter;
        inputs[at++] = known_true(im);
    }
    for (uint32_t i = 0; i < job->carried; i++)
        inputs[at++] = values[i];
    for (uint32_t i = 0; i < job->scan_count; i++)
        inputs[at++] = slice_at(im, job, i, counter);
    return inputs;
}

static uint32_t result_count(const LoopJob *job)
{
    return job->is_loop + job->carried + job->stacked;
}

/* Imports the body for carried values of these shapes (NULL: an extent that changes). */
static bool try_body(Import *im, const LoopJob *job, Shape *shapes, Body *body, Tensor **results)
{
    Tensor **values = NEW_ARRAY(im->cx->arena, Tensor *, job->carried + 1);
    if (!body_begin(im, body, job->graph->name))
        return false;
    Tensor *counter = graph_input(im->graph, "iteration", DT_i64, 0, NULL);
    for (uint32_t i = 0; i < job->carried; i++) {
        const Tensor *initial = job->initial[i];
        Shape shape;
        for (int d = 0; d < initial->rank; d++)
            shape[d] = shapes[i][d] ? shapes[i][d] : graph_fresh_dim(im->graph, INT64_MAX);
        values[i] = graph_input(im->graph, initial->name, initial->dtype, initial->rank, shape);
    }
    Tensor **inputs = body_inputs(im, job, counter, values);
    bool done = import_subgraph(im, job->graph, inputs, results, result_count(job)) &&
                all_there(im, result_count(job), results);
    if (done && job->is_loop)
        results[0] = one_element(im, results[0], DT_bool, "the condition");
    body_end(im, body);
    return done && !cx_failed(im->cx);
}

/* Extents that an iteration changes become open; whether there are any. */
static bool open_shapes(Import *im, const LoopJob *job, const Body *body, Tensor *const *results,
                        Shape *shapes, bool all)
{
    bool changed = false;
    for (uint32_t i = 0; i < job->carried && !cx_failed(im->cx); i++) {
        const Tensor *in = body->graph->inputs[1 + i], *out = results[job->is_loop + i];
        if (in->dtype != out->dtype)
            fail(im, ST_bad_model, "carried value %u is %s before and %s after an iteration", i,
                 dtype_name(in->dtype), dtype_name(out->dtype));
        else if (in->rank != out->rank)
            fail(im, ST_unsupported,
                 "carried value %u is of rank %d before and %d after an iteration", i, in->rank,
                 out->rank);
        for (int d = 0; d < in->rank && d < out->rank; d++)
            if (shapes[i][d] && (all || in->shape[d] != out->shape[d])) {
                shapes[i][d] = NULL;
                changed = true;
            }
    }
    return changed;
}

static bool finish_loop(Import *im, const LoopJob *job, const Body *body, Tensor *const *results,
                        Tensor **outputs)
{
    bool go_on = false, until = job->until && !(is_known(results[0], &go_on) && go_on);
    for (uint32_t i = job->is_loop && !until; i < result_count(job); i++)
        graph_output(body->graph, results[i], NULL);
    const BodyLoop loop = {job->trip, job->condition, job->carried, job->initial, until};
    return body_loop(im, body, &loop, outputs);
}

/* ---- unrolling: for what carries sequences */

static bool unroll(Import *im, const LoopJob *job, Tensor **outputs)
{
    bool go = true;
    const Expr *trip = job->trip->elements ? job->trip->elements[0] : NULL;
    if (!trip || trip->kind != EX_const || !is_known(job->condition, &go)) {
        unknown(im, trip && trip->kind == EX_const ? job->condition : job->trip,
                "the number of iterations of a loop that carries sequences");
        return false;
    }
    uint32_t count = result_count(job);
    Tensor **results = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    Tensor **stacked = NEW_ARRAY(im->cx->arena, Tensor *, (size_t)job->stacked * MOST_UNROLLED + 1);
    int64_t done = 0;
    for (uint32_t i = 0; i < job->carried; i++)
        outputs[i] = job->initial[i];
    for (; go && done < trip->value; done++) {
        Tensor *counter = expr_scalar(im, DT_i64, expr_const(im->cx, done));
        if (done == MOST_UNROLLED) {
            fail(im, ST_limit, "more than %d iterations of a loop that carries sequences",
                 MOST_UNROLLED);
            return false;
        }
        Tensor **inputs = body_inputs(im, job, counter, outputs);
        if (!import_subgraph(im, job->graph, inputs, results, count) ||
            !all_there(im, count, results))
            return false;
        for (uint32_t i = 0; i < job->carried; i++)
            outputs[i] = results[job->is_loop + i];
        for (uint32_t i = 0; i < job->stacked; i++)
            stacked[(size_t)i * MOST_UNROLLED + (size_t)done] =
                unsqueeze(im, results[job->is_loop + job->carried + i], 0);
        if (job->until && !is_known(results[0], &go)) {
            unknown(im, results[0], "the condition of a loop that carries sequences");
            return false;
        }
    }
    for (uint32_t i = 0; i < job->stacked; i++) {
        if (!done) {
            fail(im, ST_unsupported, "a loop over sequences without an iteration stacks nothing");
            return false;
        }
        outputs[job->carried + i] =
            graph_concat(im->graph, (int)done, stacked + (size_t)i * MOST_UNROLLED, 0);
    }
    return !cx_failed(im->cx);
}

/* The results of a loop: carried values, then stacked ones. */
static bool make_loop(Import *im, const LoopJob *job, Tensor **outputs)
{
    Body body;
    uint32_t count = result_count(job);
    Tensor **results = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    Shape *shapes = arena_array(im->cx->arena, job->carried + 1, sizeof *shapes);
    if (cx_failed(im->cx))
        return false;
    if (any_list(job->carried, job->initial))
        return unroll(im, job, outputs);
    for (uint32_t i = 0; i < job->carried; i++)
        for (int d = 0; d < job->initial[i]->rank; d++)
            shapes[i][d] = job->initial[i]->shape[d];
    for (int tries = 0;; tries++) {
        if (!try_body(im, job, shapes, &body, results))
            return false;
        if (any_list(count, results))
            return unroll(im, job, outputs);
        if (!open_shapes(im, job, &body, results, shapes, tries + 2 >= MOST_TRIES))
            break;
    }
    return !cx_failed(im->cx) && finish_loop(im, job, &body, results, outputs);
}

Tensor *import_loop(Import *im, const OnnxNode *n)
{
    const OnnxGraph *graph = body_attr(im, n, "body");
    uint32_t carried = n->input_count > 2 ? n->input_count - 2 : 0;
    if (!graph || graph->input_count != carried + 2 || graph->output_count < carried + 1)
        return fail(im, ST_bad_model, "the body does not fit the node's inputs");
    Tensor *trip = arg_maybe(im, n, 0), *condition = arg_maybe(im, n, 1);
    Tensor **initial = NEW_ARRAY(im->cx->arena, Tensor *, carried + 1);
    for (uint32_t i = 0; i < carried; i++)
        if (!(initial[i] = arg_any(im, n, 2 + i)))
            return fail(im, ST_bad_model, "input %u is missing", 2 + i);
    LoopJob job = {.graph = graph,
                   .trip = trip ? one_element(im, trip, DT_i64, "the trip count")
                                : expr_scalar(im, DT_i64, expr_const(im->cx, INT64_MAX)),
                   .condition = condition ? one_element(im, condition, DT_bool, "the condition")
                                          : known_true(im),
                   .is_loop = true,
                   .until = condition != NULL,
                   .carried = carried,
                   .stacked = graph->output_count - 1 - carried,
                   .initial = initial};
    Tensor **results = im->results;
    uint32_t wanted = im->result_count, count = carried + job.stacked;
    Tensor **outputs = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    if (!make_loop(im, &job, outputs))
        return give_up(im, results, wanted);
    for (uint32_t i = 0; i < wanted && i < count; i++)
        results[i] = outputs[i];
    return results[0];
}

/* ---- Scan */

/* An integer of a list attribute, 0 where it is absent. */
static int64_t list_value(Import *im, const OnnxNode *n, const char *name, uint32_t i)
{
    int count;
    const int64_t *list;
    return attr_list(im, n, name, &count, &list) && (int)i < count ? list[i] : 0;
}

/* Fills in what Scan says of its slices; the lists are in the arena. */
static bool scan_inputs(Import *im, const OnnxNode *n, LoopJob *job, const char *directions,
                        const char *axes, Tensor *const *scans)
{
    int64_t *axis = NEW_ARRAY(im->cx->arena, int64_t, job->scan_count);
    bool *reverse = NEW_ARRAY(im->cx->arena, bool, job->scan_count);
    for (uint32_t i = 0; i < job->scan_count && !cx_failed(im->cx); i++) {
        axis[i] = axes ? axis_of(im, list_value(im, n, axes, i), scans[i]->rank) : 0;
        reverse[i] = list_value(im, n, directions, i) != 0;
        if (cx_failed(im->cx) || !scans[i]->rank)
            break;
        if (!job->length)
            job->length = scans[i]->shape[axis[i]];
        else if (!graph_same_dim(im->graph, job->length, scans[i]->shape[axis[i]]))
            fail(im, ST_bad_model, "the scanned tensors are of different lengths");
    }
    if (!cx_failed(im->cx) && !job->length)
        fail(im, ST_bad_model, "there is nothing to scan");
    job->scans = scans;
    job->axes = axis;
    job->reverse = reverse;
    if (cx_failed(im->cx))
        return false;
    job->trip = expr_scalar(im, DT_i64, job->length);
    job->condition = known_true(im);
    return true;
}

/* Numbers of states and slices against the node and its body; inputs from `first` on. */
static bool scan_form(Import *im, const OnnxNode *n, uint32_t first, LoopJob *job, Tensor ***inputs)
{
    int64_t scans = attr_i(im, n, "num_scan_inputs", 0);
    uint32_t count = n->input_count > first ? n->input_count - first : 0;
    job->graph = body_attr(im, n, "body");
    if (!job->graph || scans < 1 || scans > count || job->graph->input_count != count ||
        job->graph->output_count < count - (uint32_t)scans) {
        fail(im, ST_bad_model, "the body does not fit the node's inputs");
        return false;
    }
    *inputs = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    for (uint32_t i = 0; i < count; i++)
        (*inputs)[i] = arg(im, n, first + i);
    job->scan_count = (uint32_t)scans;
    job->carried = count - (uint32_t)scans;
    job->stacked = job->graph->output_count - job->carried;
    job->initial = *inputs;
    return !cx_failed(im->cx);
}

Tensor *import_scan_loop(Import *im, const OnnxNode *n)
{
    LoopJob job = {0};
    Tensor **inputs, **results = im->results;
    uint32_t wanted = im->result_count;
    if (!scan_form(im, n, 0, &job, &inputs) ||
        !scan_inputs(im, n, &job, "scan_input_directions", "scan_input_axes", inputs + job.carried))
        return graph_poison(im->graph);
    uint32_t count = job.carried + job.stacked;
    Tensor **outputs = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    if (!make_loop(im, &job, outputs))
        return give_up(im, results, wanted);
    for (uint32_t i = job.carried; i < count; i++) {
        uint32_t k = i - job.carried;
        int axis = axis_of(im, list_value(im, n, "scan_output_axes", k), outputs[i]->rank);
        bool reverse = list_value(im, n, "scan_output_directions", k) != 0;
        outputs[i] = arrange(im, outputs[i], axis, reverse);
    }
    for (uint32_t i = 0; i < wanted && i < count; i++)
        results[i] = outputs[i];
    return cx_failed(im->cx) ? graph_poison(im->graph) : results[0];
}

/* Opset 8: everything has a batch dim in front, and the scan goes along dim 1: a loop over the
 * batch around the one that opset 9 means. */
Tensor *import_scan_batches(Import *im, const OnnxNode *n)
{
    LoopJob job = {0};
    Body body;
    Tensor **inputs, **results = im->results;
    uint32_t wanted = im->result_count;
    if (arg_maybe(im, n, 0))
        return fail(im, ST_unsupported, "sequence_lens; convert the model to opset 9 or newer");
    if (!scan_form(im, n, 1, &job, &inputs))
        return graph_poison(im->graph);
    uint32_t count = job.carried + job.scan_count, outs = job.carried + job.stacked;
    for (uint32_t i = 0; i < count; i++)
        if (!inputs[i]->rank)
            return fail(im, ST_bad_model, "input %u has no batch dim", i + 1);
    Tensor *trip = expr_scalar(im, DT_i64, inputs[0]->shape[0]);
    Tensor **outputs = NEW_ARRAY(im->cx->arena, Tensor *, outs + 1);
    if (!body_begin(im, &body, job.graph->name))
        return graph_poison(im->graph);
    Tensor *counter = graph_input(im->graph, "batch", DT_i64, 0, NULL);
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    for (uint32_t i = 0; i < count; i++)
        items[i] = gather_axis(im, import_visible(im, inputs[i]), counter, 0);
    job.initial = items;
    bool done = !cx_failed(im->cx) &&
                scan_inputs(im, n, &job, "directions", NULL, items + job.carried) &&
                make_loop(im, &job, outputs);
    for (uint32_t i = 0; i < outs && done; i++)
        graph_output(im->graph, outputs[i], NULL);
    body_end(im, &body);
    if (!done)
        return give_up(im, results, wanted);
    const BodyLoop loop = {trip, known_true(im), 0, NULL, false};
    if (!body_loop(im, &body, &loop, outputs))
        return graph_poison(im->graph);
    for (uint32_t i = 0; i < wanted && i < outs; i++)
        results[i] = outputs[i];
    return results[0];
}

/* Importers: Loop and Scan.
 *
 * A loop's body is imported with the carried values' shapes as they are at the beginning; where an
 * iteration gives another extent, it is imported again with a symbol there; where it gives another
 * rank, as to a placeholder for what the first iteration makes, that one is peeled off. Scan is a
 * loop whose body gathers its slices by the number of the iteration. What carries sequences is
 * unrolled. */
#include "frontend/import_body.h"

enum { MOST_TRIES = 4, MOST_UNROLLED = 1024, MOST_PEELED = 2 };

/* ---- loops */

/* A loop to be made. Of Scan: `scans` are the tensors to take slices of. */
typedef struct LoopJob {
    const OnnxGraph *graph;
    Tensor *trip, *condition; /* i64 [], bool [] */
    bool is_loop;             /* ONNX Loop: its body takes counter and condition, gives condition */
    bool until;               /* the condition counts */
    int peeled;               /* the number of its first iteration */
    uint32_t carried, stacked, scan_count;
    Tensor *const *initial, *const *scans;
    const int64_t *axes;
    const bool *reverse;
    const Expr *length;
} LoopJob;

typedef const Expr *Shape[MAX_RANK];

static Tensor *number(Import *im, int64_t value)
{
    return expr_scalar(im, DT_i64, expr_const(im->cx, value));
}

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
    if (job->peeled)
        counter = ew(im, S_add, counter, number(im, job->peeled));
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
        for (int d = 0; d < in->rank; d++)
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
    bool go_on = false, until = job->until && !(known_bool(results[0], &go_on) && go_on);
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
    if (!trip || trip->kind != EX_const || !known_bool(job->condition, &go)) {
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
        Tensor *counter = number(im, done);
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
        if (job->until && !known_bool(results[0], &go)) {
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

/* ---- the first iteration apart */

static bool make_loop(Import *im, const LoopJob *job, Tensor **outputs);

/* The first iteration, then a loop over the others, in the present graph. */
static bool peel(Import *im, const LoopJob *job, Tensor **outputs)
{
    LoopJob rest = *job;
    uint32_t count = result_count(job);
    Tensor **first = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    Tensor **initial = NEW_ARRAY(im->cx->arena, Tensor *, job->carried + 1);
    for (uint32_t i = 0; i < job->carried; i++)
        initial[i] = import_visible(im, job->initial[i]);
    Tensor **inputs = body_inputs(im, job, number(im, job->peeled), initial);
    if (!import_subgraph(im, job->graph, inputs, first, count) || !all_there(im, count, first))
        return false;
    rest.peeled++;
    rest.initial = first + job->is_loop;
    rest.trip = ew(im, S_sub, import_visible(im, job->trip), number(im, 1));
    rest.condition = job->until ? one_element(im, first[0], DT_bool, "the condition")
                                : import_visible(im, job->condition);
    if (cx_failed(im->cx) || !make_loop(im, &rest, outputs))
        return false;
    for (uint32_t i = job->carried; i < job->carried + job->stacked; i++) {
        Tensor *parts[] = {unsqueeze(im, first[job->is_loop + i], 0), outputs[i]};
        outputs[i] = graph_concat(im->graph, 2, parts, 0);
    }
    return !cx_failed(im->cx);
}

/* Whether there is a first iteration, bool []. */
static Tensor *begins(Import *im, const LoopJob *job)
{
    const Expr *trip = job->trip->elements ? job->trip->elements[0] : NULL;
    if (trip && trip->lo > 0)
        return job->condition;
    return ew(im, S_and, ew(im, S_lt, number(im, 0), job->trip), job->condition);
}

/* Makes a loop that gives carried value `which` another rank than it has at the beginning. Without
 * an iteration it would keep that rank, which no graph can say: such a run is refused. */
static bool peel_first(Import *im, const LoopJob *job, uint32_t which, Tensor **outputs)
{
    Side sides[2];
    uint32_t count = job->carried + job->stacked;
    Tensor *begin = begins(im, job);
    bool yes = false, known = known_bool(begin, &yes);
    if (job->peeled == MOST_PEELED || (known && !yes)) {
        fail(im, ST_unsupported, "carried value %u changes its rank with %s", which,
             known && !yes ? "an iteration, and there is none" : "every iteration");
        return false;
    }
    if (known)
        return peel(im, job, outputs);
    sides[0].results = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    if (!body_begin(im, &sides[0].body, job->graph->name))
        return false;
    bool done = peel(im, job, sides[0].results);
    body_end(im, &sides[0].body);
    const char *why = arena_printf(im->cx->arena,
                                   "%s: no iteration was made, so carried value %u is not of the "
                                   "rank that an iteration gives it",
                                   im->cx->where ? im->cx->where : "Loop", which);
    return done && !any_list(count, sides[0].results) &&
           refuse_side(im, why, count, &sides[0], &sides[1]) &&
           branch_of(im, begin, sides, count, outputs);
}

/* A carried value that an iteration gives another rank, or -1. */
static int64_t find_rank_change(const LoopJob *job, Tensor *const *results)
{
    for (uint32_t i = 0; i < job->carried; i++)
        if (job->initial[i]->rank != results[job->is_loop + i]->rank)
            return i;
    return -1;
}

/* ---- the whole */

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
        int64_t changed = find_rank_change(job, results);
        if (changed >= 0)
            return peel_first(im, job, (uint32_t)changed, outputs);
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

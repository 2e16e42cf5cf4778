/* Ensembles of decision trees as kernels: import_forest.h says how. */
#include "frontend/import_forest.h"

#include <math.h>
#include <string.h>

enum { MOST_STATES = 1 << 28, MOST_VOTES = 1 << 28, MOST_DEPTH = 1000 };

/* ---- attributes */

const int64_t *forest_ints(Import *im, const OnnxNode *n, const char *name, int64_t *count)
{
    static const int64_t nothing[1];
    const OnnxAttr *found = attr(im, n, name);
    if (!found || found->type != OA_ints || (*count >= 0 && (int64_t)found->count != *count)) {
        fail(im, ST_bad_model, "attribute '%s' is missing or of another length", name);
        return NULL;
    }
    *count = (int64_t)found->count;
    return found->count ? found->ints : nothing;
}

NumberList forest_floats(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    if (!found)
        found = attr(im, n, arena_printf(im->cx->arena, "%s_as_tensor", name));
    if (found && found->type == OA_floats)
        return (NumberList){DT_f32, (int64_t)found->count, found->floats};
    if (found && found->type == OA_tensor && dtype_is_float(found->tensors[0].dtype))
        return (NumberList){found->tensors[0].dtype, found->tensors[0].count,
                            found->tensors[0].data};
    if (found)
        fail(im, ST_bad_model, "attribute '%s' is not a list of floats", name);
    return (NumberList){.dtype = DT_none};
}

/* ---- the tables */

bool forest_init(Forest *f, Import *im, int64_t states, int64_t targets)
{
    int64_t votes;
    Arena *arena = im->cx->arena;
    *f = (Forest){.im = im, .states = states, .targets = targets};
    if (cx_failed(im->cx))
        return false;
    if (targets < 1 || states < 1 || states > MOST_STATES ||
        __builtin_mul_overflow(f->room = table_room(states), targets, &votes) ||
        votes > MOST_VOTES) {
        fail(im, ST_limit, "trees of %lld nodes for %lld targets", (long long)states,
             (long long)targets);
        return false;
    }
    f->feature = NEW_ARRAY(arena, int32_t, f->room);
    f->next = NEW_ARRAY(arena, int32_t, 2 * f->room);
    f->mode = NEW_ARRAY(arena, uint8_t, f->room);
    f->missing = NEW_ARRAY(arena, uint8_t, f->room);
    f->votes = NEW_ARRAY(arena, int32_t, votes);
    memset(f->votes, 0xFF, (size_t)votes * sizeof *f->votes);
    for (int64_t s = 0; s < f->room; s++) {
        f->next[2 * s] = f->next[2 * s + 1] = (int32_t)s;
        f->mode[s] = MODE_leaf;
    }
    return true;
}

bool forest_set_feature(Forest *f, int64_t state, int64_t feature)
{
    if (feature < 0 || feature > INT32_MAX)
        fail(f->im, ST_bad_model, "a node tests feature %lld", (long long)feature);
    f->feature[state] = (int32_t)feature;
    return !cx_failed(f->im->cx);
}

bool forest_set_vote(Forest *f, int64_t state, int64_t target, int64_t weight)
{
    if (target < 0 || target >= f->targets) {
        fail(f->im, ST_bad_model, "a leaf votes for target %lld of %lld", (long long)target,
             (long long)f->targets);
        return false;
    }
    int32_t *vote = &f->votes[state * f->targets + target];
    if (*vote >= 0) {
        fail(f->im, ST_unsupported, "a leaf votes twice for target %lld: add up the votes",
             (long long)target);
        return false;
    }
    *vote = (int32_t)weight;
    return true;
}

/* Levels below the roots; -1 after a failure. Depth first, with states on a stack until both ways
 * are known: one met again while it is on the stack is a cycle. */
static int depth_of(const Forest *f)
{
    enum { UNSEEN, OPEN, DONE };
    Arena *arena = f->im->cx->arena;
    uint8_t *seen = NEW_ARRAY(arena, uint8_t, f->states);
    uint16_t *levels = NEW_ARRAY(arena, uint16_t, f->states);
    int32_t *stack = NEW_ARRAY(arena, int32_t, MOST_DEPTH + 2);
    int most = 0;
    for (int64_t t = 0; t < f->trees; t++) {
        int depth = 0;
        stack[depth++] = f->roots[t];
        while (depth) {
            int32_t s = stack[depth - 1], child = -1;
            seen[s] = f->mode[s] == MODE_leaf ? DONE : seen[s] == DONE ? DONE : OPEN;
            for (int way = 0; way < 2 && seen[s] == OPEN; way++) {
                int32_t to = f->next[2 * s + way];
                if (seen[to] == OPEN || depth > MOST_DEPTH) {
                    fail(f->im, seen[to] == OPEN ? ST_bad_model : ST_limit, "a tree %s",
                         seen[to] == OPEN ? "has a cycle" : "is too deep");
                    return -1;
                }
                if (seen[to] == UNSEEN)
                    child = to;
                else if (levels[to] + 1 > levels[s])
                    levels[s] = (uint16_t)(levels[to] + 1);
            }
            if (child >= 0) {
                stack[depth++] = child;
                continue;
            }
            seen[s] = DONE;
            depth--;
        }
        most = levels[f->roots[t]] > most ? levels[f->roots[t]] : most;
    }
    return most;
}

/* ---- the graph */

static Tensor *table(const Forest *f, Dtype dtype, int64_t count, const void *data)
{
    return graph_constant(f->im->graph, NULL, dtype, 1, &count, data);
}

static Tensor *compare(Import *im, int mode, Tensor *x, Tensor *split)
{
    switch (mode) {
    case MODE_lt: return ew(im, S_lt, x, split);
    case MODE_ge: return ew(im, S_le, split, x);
    case MODE_gt: return ew(im, S_lt, split, x);
    case MODE_eq: return ew(im, S_eq, x, split);
    case MODE_ne: return ew1(im, S_not, ew(im, S_eq, x, split));
    default: return ew(im, S_le, x, split);
    }
}

/* The test of every state's node, as bool. Only the modes that occur are computed. */
static Tensor *test(const Forest *f, Tensor *state, Tensor *x, Tensor *split)
{
    Import *im = f->im;
    bool used[MODE_count] = {false}, missing = false;
    int64_t kinds = 0;
    for (int64_t s = 0; s < f->states; s++) {
        kinds += f->mode[s] != MODE_leaf && !used[f->mode[s]];
        used[f->mode[s]] = true;
        missing |= f->missing[s];
    }
    Tensor *mode =
        kinds > 1 ? graph_gather(im->graph, table(f, DT_u8, f->room, f->mode), state, 0) : NULL;
    Tensor *passes = NULL;
    for (int m = MODE_le; m < MODE_member; m++) {
        Tensor *one = used[m] ? compare(im, m, x, split) : NULL;
        if (one)
            passes = passes ? pick(im, ew(im, S_eq, mode, scalar(im, mode, m)), one, passes) : one;
    }
    if (!passes)
        passes = compare(im, MODE_le, x, split);
    if (missing) {
        Tensor *tracks = graph_gather(im->graph, table(f, DT_u8, f->room, f->missing), state, 0);
        passes = ew(im, S_or, passes, ew(im, S_and, ew1(im, S_isnan, x), to(im, tracks, DT_bool)));
    }
    return passes;
}

/* States of all rows after all steps: i32 [trees, n]. Rows are the inner axis: a tree's tables stay
 * in the nearest cache while all rows walk it. */
static Tensor *walk(const Forest *f, Tensor *x, int depth)
{
    Import *im = f->im;
    const Expr *shape[] = {expr_const(im->cx, f->trees), dim(im, x, 0)};
    Tensor *roots = unsqueeze(im, table(f, DT_i32, f->trees, f->roots), 1);
    Tensor *state = graph_expand(im->graph, roots, 2, shape);
    Tensor *feature = table(f, DT_i32, f->room, f->feature);
    Tensor *next = table(f, DT_i32, 2 * f->room, f->next);
    Tensor *splits = number_table(im, x->dtype, 2, f->splits, f->room, (Scalar){.f = 0});
    Tensor *columns = graph_transpose(im->graph, x, (const int64_t[]){1, 0});
    for (int level = 0; level < depth && !tensor_is_poison(state); level++) {
        Tensor *inputs[] = {columns, graph_gather(im->graph, feature, state, 0)};
        Attr at[AT_count] = {[AT_axis] = attr_int(0)};
        Tensor *value = graph_node(im->graph, OP_gather_elements, 2, inputs, at);
        Tensor *passes = test(f, state, value, graph_gather(im->graph, splits, state, 0));
        Tensor *slot =
            ew(im, S_add, ew(im, S_mul, state, scalar(im, state, 2)), to(im, passes, DT_i32));
        state = graph_gather(im->graph, next, slot, 0);
    }
    return state;
}

/* Votes combined over the trees: [n, targets]. */
static Tensor *combined(const Forest *f, Tensor *state, int total)
{
    static const Monoid monoids[] = {M_sum, M_sum, M_min, M_max};
    Import *im = f->im;
    const int64_t trees[] = {0}, shape[] = {f->room, f->targets};
    double none = total == TOTAL_min   ? (double)INFINITY
                  : total == TOTAL_max ? -(double)INFINITY
                                       : 0;
    Dtype dtype = f->weights.dtype;
    int64_t count = f->room * f->targets;
    void *votes = arena_alloc(im->cx->arena, (size_t)dtype_bytes(dtype, count));
    for (int64_t i = 0; i < count; i++) {
        Scalar vote = {.f = none};
        if (f->votes[i] >= 0)
            vote = dtype_load(dtype, f->weights.data, f->votes[i]);
        dtype_store(dtype, votes, i, vote);
    }
    Tensor *weights = graph_constant(im->graph, NULL, dtype, 2, shape, votes);
    Tensor *y = graph_gather(im->graph, weights, state, 0);
    y = reduce(im, monoids[total], y, 1, trees, false);
    return total == TOTAL_average ? ew(im, S_div, y, scalar(im, y, (double)f->trees)) : y;
}

Tensor *forest_run(Forest *f, Tensor *x, int total)
{
    Import *im = f->im;
    int depth = depth_of(f);
    if (depth < 0 || tensor_is_poison(x))
        return graph_poison(im->graph);
    if (x->rank != 2)
        return fail(im, ST_bad_model, "the input is %s, not [rows, features]",
                    tensor_shape_text(im->cx, x));
    if (!dtype_is_float(x->dtype))
        x = to(im, x, f->splits[0].dtype);
    return combined(f, walk(f, x, depth), total);
}

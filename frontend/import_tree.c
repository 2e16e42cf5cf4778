/* Importers: ensembles of decision trees, as kernels. Every pair of a row and a tree has a state,
 * the node it stands at; one step moves all of them one level down:
 *
 *   state [trees, n] = next[2 * state + (x[row, feature[state]] <= split[state])]
 *
 * A leaf leads to itself, so after as many steps as the deepest tree has levels all states are
 * leaves. What leaves say is votes[leaf, target], a position among the weights (the one behind the
 * last: nothing), combined over the trees.
 *
 * A test of membership in a set becomes a chain of tests of equality, one for each member; then all
 * operators have the same tables. Those of numbers that only kernels need (thresholds, weights)
 * stay where they are. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

#include "base/map.h"

enum { MODE_le, MODE_lt, MODE_ge, MODE_gt, MODE_eq, MODE_ne, MODE_member, MODE_leaf, MODE_count };
enum { TOTAL_average, TOTAL_sum, TOTAL_min, TOTAL_max, TOTAL_count };
enum { POST_none, POST_softmax, POST_logistic, POST_softmax_zero, POST_probit, POST_count };
enum { MOST_STATES = 1 << 28, MOST_VOTES = 1 << 28, MOST_DEPTH = 1000 };

typedef struct Forest {
    Import *im;
    int64_t states, trees, targets;
    int32_t *feature, *next; /* by state; next: two each, for false and for true */
    uint8_t *mode, *missing; /* missing: whether NaN passes the test */
    int32_t *roots;          /* by tree */
    int32_t *votes;          /* [states, targets]: position among the weights, or -1 */
    Tensor *splits;          /* [states] */
    Tensor *weights;         /* a list */
    int64_t weight_count;
} Forest;

/* ---- attributes */

/* A list of `count` integers (any number where it is -1, which then is set). NULL after a failure.
 */
static const int64_t *ints(Import *im, const OnnxNode *n, const char *name, int64_t *count)
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

/* A list of numbers as a tensor: floats, or the tensor `name`_as_tensor, or the tensor `name`. NULL
 * when there is none. */
static Tensor *floats(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    if (!found)
        found = attr(im, n, arena_printf(im->cx->arena, "%s_as_tensor", name));
    if (!found)
        return NULL;
    int64_t count = (int64_t)found->count;
    if (found->type == OA_floats)
        return graph_constant(im->graph, NULL, DT_f32, 1, &count, found->floats);
    if (found->type != OA_tensor || !dtype_is_float(found->tensors[0].dtype))
        return fail(im, ST_bad_model, "attribute '%s' is not a list of floats", name);
    const OnnxTensor *t = &found->tensors[0];
    return graph_constant(im->graph, NULL, t->dtype, 1, &t->count, t->data);
}

/* The number of a word. */
static int word(Import *im, const OnnxNode *n, const char *name, const char *const *words,
                int count, const char *other)
{
    const char *text = attr_s(im, n, name, other);
    for (int i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    fail(im, ST_bad_model, "attribute '%s' is '%s'", name, onnx_printable(im->cx->arena, text));
    return 0;
}

static bool forest_init(Forest *f, Import *im, int64_t states, int64_t targets)
{
    int64_t votes;
    Arena *arena = im->cx->arena;
    *f = (Forest){.im = im, .states = states, .targets = targets};
    if (cx_failed(im->cx))
        return false;
    if (targets < 1 || states < 1 || states > MOST_STATES ||
        __builtin_mul_overflow(states, targets, &votes) || votes > MOST_VOTES) {
        fail(im, ST_limit, "trees of %lld nodes for %lld targets", (long long)states,
             (long long)targets);
        return false;
    }
    f->feature = NEW_ARRAY(arena, int32_t, states);
    f->next = NEW_ARRAY(arena, int32_t, 2 * states);
    f->mode = NEW_ARRAY(arena, uint8_t, states);
    f->missing = NEW_ARRAY(arena, uint8_t, states);
    f->votes = NEW_ARRAY(arena, int32_t, votes);
    memset(f->votes, 0xFF, (size_t)votes * sizeof *f->votes);
    for (int64_t s = 0; s < states; s++) {
        f->next[2 * s] = f->next[2 * s + 1] = (int32_t)s;
        f->mode[s] = MODE_leaf;
    }
    return true;
}

static bool set_feature(Forest *f, int64_t state, int64_t feature)
{
    if (feature < 0 || feature > INT32_MAX)
        fail(f->im, ST_bad_model, "a node tests feature %lld", (long long)feature);
    f->feature[state] = (int32_t)feature;
    return !cx_failed(f->im->cx);
}

static bool set_vote(Forest *f, int64_t state, int64_t target, int64_t weight)
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
        kinds > 1 ? graph_gather(im->graph, table(f, DT_u8, f->states, f->mode), state, 0) : NULL;
    Tensor *passes = NULL;
    for (int m = MODE_le; m < MODE_member; m++) {
        Tensor *one = used[m] ? compare(im, m, x, split) : NULL;
        if (one)
            passes = passes ? pick(im, ew(im, S_eq, mode, scalar(im, mode, m)), one, passes) : one;
    }
    if (!passes)
        passes = compare(im, MODE_le, x, split);
    if (missing) {
        Tensor *tracks = graph_gather(im->graph, table(f, DT_u8, f->states, f->missing), state, 0);
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
    Tensor *feature = table(f, DT_i32, f->states, f->feature);
    Tensor *next = table(f, DT_i32, 2 * f->states, f->next);
    Tensor *columns = graph_transpose(im->graph, x, (const int64_t[]){1, 0});
    for (int level = 0; level < depth && !tensor_is_poison(state); level++) {
        Tensor *inputs[] = {columns, graph_gather(im->graph, feature, state, 0)};
        Attr at[AT_count] = {[AT_axis] = attr_int(0)};
        Tensor *value = graph_node(im->graph, OP_gather_elements, 2, inputs, at);
        Tensor *passes = test(f, state, value, graph_gather(im->graph, f->splits, state, 0));
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
    const int64_t trees[] = {0}, shape[] = {f->states, f->targets};
    for (int64_t i = 0; i < f->states * f->targets; i++)
        if (f->votes[i] < 0)
            f->votes[i] = (int32_t)f->weight_count;
    double none = total == TOTAL_min   ? (double)INFINITY
                  : total == TOTAL_max ? -(double)INFINITY
                                       : 0;
    const Expr *one = expr_const(im->cx, 1);
    Tensor *parts[] = {f->weights, reshape(im, scalar(im, f->weights, none), 1, &one)};
    Tensor *weights = graph_concat(im->graph, 2, parts, 0);
    Tensor *votes = graph_constant(im->graph, NULL, DT_i32, 2, shape, f->votes);
    Tensor *y = graph_gather(im->graph, weights, graph_gather(im->graph, votes, state, 0), 0);
    y = reduce(im, monoids[total], y, 1, trees, false);
    return total == TOTAL_average ? ew(im, S_div, y, scalar(im, y, (double)f->trees)) : y;
}

/* x in the type it is compared in, which is its own when that is a float. */
static Tensor *run(Forest *f, Tensor *x, int total)
{
    Import *im = f->im;
    int depth = depth_of(f);
    if (depth < 0 || tensor_is_poison(x))
        return graph_poison(im->graph);
    if (x->rank != 2)
        return fail(im, ST_bad_model, "the input is %s, not [rows, features]",
                    tensor_shape_text(im->cx, x));
    if (!dtype_is_float(x->dtype))
        x = to(im, x, f->splits->dtype);
    f->splits = to(im, f->splits, x->dtype);
    return combined(f, walk(f, x, depth), total);
}

/* ---- transforms of scores [n, k] */

/* The inverse error function by Winitzki's formula, a = 0.147, as the operators' reference has it.
 */
static Tensor *probit(Import *im, Tensor *p)
{
    Tensor *x = ew(im, S_sub, ew(im, S_mul, p, scalar(im, p, 2)), scalar(im, p, 1));
    Tensor *log = ew1(im, S_log, ew(im, S_sub, scalar(im, x, 1), ew(im, S_mul, x, x)));
    Tensor *half =
        ew(im, S_add, ew(im, S_mul, log, scalar(im, x, 0.5)), scalar(im, x, 2 / (M_PI * 0.147)));
    Tensor *square =
        ew(im, S_sub, ew(im, S_mul, half, half), ew(im, S_mul, log, scalar(im, x, 1 / 0.147)));
    Tensor *root = ew1(im, S_sqrt, ew(im, S_sub, ew1(im, S_sqrt, square), half));
    return ew(im, S_mul, ew(im, S_mul, ew1(im, S_sign, x), root), scalar(im, x, 1.41421356));
}

/* A softmax in which a score of 0 stays 0. */
static Tensor *softmax_zero(Import *im, Tensor *x)
{
    const int64_t axis[] = {1};
    Tensor *most = reduce(im, M_max, x, 1, axis, true);
    Tensor *zero = ew(im, S_le, ew1(im, S_abs, x), scalar(im, x, 1e-7));
    Tensor *some = ew1(im, S_exp, ew(im, S_sub, x, most));
    Tensor *none = ew(im, S_mul, x, ew1(im, S_exp, ew1(im, S_neg, most)));
    Tensor *e = pick(im, zero, none, some), *sum = reduce(im, M_sum, e, 1, axis, true);
    Tensor *nothing = ew(im, S_eq, sum, scalar(im, sum, 0));
    return pick(im, nothing, scalar(im, x, 0.5), ew(im, S_div, e, sum));
}

static Tensor *transformed(Import *im, int post, Tensor *x)
{
    switch (post) {
    case POST_softmax: return graph_softmax(im->graph, x, 1);
    case POST_logistic: return sigmoid(im, x);
    case POST_softmax_zero: return softmax_zero(im, x);
    case POST_probit: return probit(im, x);
    default: return x;
    }
}

/* ---- TreeEnsemble: nodes, chains of members, leaves, in this order */

typedef struct Five {
    int64_t nodes, members, leaves;
    const int64_t *way[2], *is_leaf[2]; /* for false and true */
    const uint8_t *modes;
    int64_t *set; /* of a node: where its members begin; -1: none */
    Tensor *splits, *values;
    const OnnxTensor *member_data;
} Five;

static const OnnxTensor *tensor_attr(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    return found && found->type == OA_tensor && found->tensors[0].rank <= 1 ? found->tensors : NULL;
}

static bool is_separator(const Five *v, int64_t i)
{
    return isnan(dtype_load(v->member_data->dtype, v->member_data->data, i).f);
}

/* Sets belong to the nodes that want one, in their order; each ends with a NaN. */
static bool find_sets(Import *im, Five *v)
{
    int64_t at = 0;
    v->set = NEW_ARRAY(im->cx->arena, int64_t, v->nodes);
    for (int64_t i = 0; i < v->nodes; i++) {
        v->set[i] = -1;
        if (v->modes[i] != MODE_member)
            continue;
        v->set[i] = at;
        if (at >= v->members || is_separator(v, at)) {
            fail(im, ST_bad_model, "node %lld tests membership in no set", (long long)i);
            return false;
        }
        while (at < v->members && !is_separator(v, at))
            at++;
        at++;
    }
    return true;
}

static bool read_five(Import *im, const OnnxNode *n, Five *v)
{
    *v = (Five){.nodes = -1, .leaves = -1};
    const OnnxTensor *modes = tensor_attr(im, n, "nodes_modes");
    v->way[0] = ints(im, n, "nodes_falsenodeids", &v->nodes);
    v->way[1] = ints(im, n, "nodes_truenodeids", &v->nodes);
    v->is_leaf[0] = ints(im, n, "nodes_falseleafs", &v->nodes);
    v->is_leaf[1] = ints(im, n, "nodes_trueleafs", &v->nodes);
    v->splits = floats(im, n, "nodes_splits");
    v->values = floats(im, n, "leaf_weights");
    v->member_data = tensor_attr(im, n, "membership_values");
    if (v->member_data && dtype_is_float(v->member_data->dtype))
        v->members = v->member_data->count;
    if (cx_failed(im->cx))
        return false;
    if (!modes || modes->dtype != DT_u8 || modes->count != v->nodes || !v->splits || !v->values ||
        tensor_count_const(im->cx, v->splits) != v->nodes) {
        fail(im, ST_bad_model, "nodes_modes, nodes_splits or leaf_weights are missing or wrong");
        return false;
    }
    v->modes = modes->data;
    v->leaves = tensor_count_const(im->cx, v->values);
    for (int64_t i = 0; i < v->nodes; i++)
        if (v->modes[i] > MODE_member) {
            fail(im, ST_bad_model, "node %lld is of mode %u", (long long)i, v->modes[i]);
            return false;
        }
    return find_sets(im, v);
}

/* The state that stands for a node: the first test of its chain, when it has one. */
static int32_t entry(const Five *v, int64_t node)
{
    return (int32_t)(v->set[node] < 0 ? node : v->nodes + v->set[node]);
}

/* Where node i goes; -1 after a failure. */
static int32_t way(Import *im, const Five *v, int64_t i, int which)
{
    int64_t to = v->way[which][i];
    bool leaf = v->is_leaf[which][i];
    if (to < 0 || to >= (leaf ? v->leaves : v->nodes)) {
        fail(im, ST_bad_model, "node %lld leads to %s %lld", (long long)i, leaf ? "leaf" : "node",
             (long long)to);
        return -1;
    }
    return leaf ? (int32_t)(v->nodes + v->members + to) : entry(v, to);
}

/* One state for a plain test, one for each member otherwise. */
static bool add_node(Forest *f, const Five *v, int64_t i, int64_t feature, bool missing)
{
    int32_t no = way(f->im, v, i, 0), yes = way(f->im, v, i, 1);
    bool member = v->set[i] >= 0;
    if (no < 0 || yes < 0)
        return false;
    for (int32_t s = entry(v, i);; s++) {
        bool last = !member || s + 1 >= v->nodes + v->members || is_separator(v, s + 1 - v->nodes);
        f->next[2 * s] = last ? no : s + 1;
        f->next[2 * s + 1] = yes;
        f->mode[s] = member ? MODE_eq : v->modes[i];
        f->missing[s] = missing;
        if (!set_feature(f, s, feature) || last)
            return !cx_failed(f->im->cx);
    }
}

static bool add_five(Forest *f, const OnnxNode *n, const Five *v)
{
    Import *im = f->im;
    int64_t nodes = v->nodes, leaves = v->leaves, trees = -1;
    const int64_t *features = ints(im, n, "nodes_featureids", &nodes);
    const int64_t *targets = ints(im, n, "leaf_targetids", &leaves);
    const int64_t *roots = ints(im, n, "tree_roots", &trees);
    const int64_t *missing = NULL;
    if (attr(im, n, "nodes_missing_value_tracks_true"))
        missing = ints(im, n, "nodes_missing_value_tracks_true", &nodes);
    if (cx_failed(im->cx))
        return false;
    for (int64_t i = 0; i < nodes; i++)
        if (!add_node(f, v, i, features[i], missing && missing[i]))
            return false;
    for (int64_t i = 0; i < leaves; i++)
        if (!set_vote(f, nodes + v->members + i, targets[i], i))
            return false;
    f->trees = trees;
    f->roots = NEW_ARRAY(im->cx->arena, int32_t, trees);
    for (int64_t t = 0; t < trees; t++) {
        if (roots[t] < 0 || roots[t] >= nodes) {
            fail(im, ST_bad_model, "tree %lld begins at node %lld", (long long)t,
                 (long long)roots[t]);
            return false;
        }
        f->roots[t] = entry(v, roots[t]);
    }
    return true;
}

Tensor *import_tree_ensemble(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Forest f;
    Five v;
    int64_t total = attr_i(im, n, "aggregate_function", TOTAL_sum);
    int64_t post = attr_i(im, n, "post_transform", POST_none);
    if (!read_five(im, n, &v) ||
        !forest_init(&f, im, v.nodes + v.members + v.leaves, attr_i(im, n, "n_targets", 1)) ||
        !add_five(&f, n, &v))
        return graph_poison(im->graph);
    if (total < 0 || total >= TOTAL_count || post < 0 || post >= POST_count)
        return fail(im, ST_bad_model, "aggregate_function %lld, post_transform %lld",
                    (long long)total, (long long)post);
    const Expr *leaves = expr_const(im->cx, v.leaves), *members = expr_const(im->cx, v.members);
    Tensor *parts[3] = {v.splits, NULL, graph_fill(im->graph, scalar(im, v.splits, 0), 1, &leaves)};
    parts[1] = v.members ? to(im, floats(im, n, "membership_values"), v.splits->dtype)
                         : graph_fill(im->graph, scalar(im, v.splits, 0), 1, &members);
    f.splits = graph_concat(im->graph, 3, parts, 0);
    f.weights = v.values;
    f.weight_count = v.leaves;
    return transformed(im, (int)post, run(&f, x, (int)total));
}

/* ---- TreeEnsembleRegressor, TreeEnsembleClassifier: nodes by number of tree and node */

static const char *const post_words[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};

typedef struct Names {
    Map map; /* (tree, node) to state + 1 */
} Names;

static int64_t find_node(const Names *names, int64_t tree, int64_t node)
{
    const int64_t key[] = {tree, node};
    return (int64_t)(uintptr_t)map_find(&names->map, key, sizeof key) - 1;
}

static bool name_nodes(Forest *f, Names *names, const int64_t *trees, const int64_t *ids)
{
    map_init(&names->map, f->im->cx->arena);
    for (int64_t i = 0; i < f->states; i++) {
        const int64_t key[] = {trees[i], ids[i]};
        if (map_set(&names->map, key, sizeof key, (void *)(uintptr_t)(i + 1))) {
            fail(f->im, ST_bad_model, "tree %lld has two nodes %lld", (long long)trees[i],
                 (long long)ids[i]);
            return false;
        }
    }
    return true;
}

static int mode_of(const OnnxString *text)
{
    static const char *const words[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                        "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
    for (int i = 0; i < MODE_count; i++)
        if (i != MODE_member && strcmp(text->data, words[i]) == 0)
            return i;
    return -1;
}

/* A tree begins at the first of its nodes that no other leads to. */
static bool find_roots(Forest *f, const int64_t *trees)
{
    uint8_t *is_child = NEW_ARRAY(f->im->cx->arena, uint8_t, f->states);
    Map seen;
    map_init(&seen, f->im->cx->arena);
    f->roots = NEW_ARRAY(f->im->cx->arena, int32_t, f->states);
    for (int64_t i = 0; i < 2 * f->states; i++)
        if (f->next[i] != i / 2)
            is_child[f->next[i]] = 1;
    for (int64_t i = 0; i < f->states; i++)
        if (!is_child[i] && !map_set(&seen, &trees[i], sizeof trees[i], f))
            f->roots[f->trees++] = (int32_t)i;
    for (int64_t i = 0; i < f->states; i++)
        if (!map_find(&seen, &trees[i], sizeof trees[i])) {
            fail(f->im, ST_bad_model, "tree %lld has a cycle", (long long)trees[i]);
            return false;
        }
    return true;
}

static bool read_nodes(Forest *f, const OnnxNode *n, Names *names)
{
    Import *im = f->im;
    const OnnxAttr *modes = attr(im, n, "nodes_modes");
    int64_t count = f->states;
    const int64_t *trees = ints(im, n, "nodes_treeids", &count);
    const int64_t *ids = ints(im, n, "nodes_nodeids", &count);
    const int64_t *features = ints(im, n, "nodes_featureids", &count), *missing = NULL;
    const int64_t *to[] = {ints(im, n, "nodes_falsenodeids", &count),
                           ints(im, n, "nodes_truenodeids", &count)};
    if (attr(im, n, "nodes_missing_value_tracks_true"))
        missing = ints(im, n, "nodes_missing_value_tracks_true", &count);
    f->splits = floats(im, n, "nodes_values");
    if (cx_failed(im->cx) || !f->splits || tensor_count_const(im->cx, f->splits) != count ||
        modes->type != OA_strings) {
        fail(im, ST_bad_model, "nodes_values or nodes_modes are missing or of another length");
        return false;
    }
    if (!name_nodes(f, names, trees, ids))
        return false;
    for (int64_t i = 0; i < count; i++) {
        int mode = mode_of(&modes->strings[i]);
        f->mode[i] = (uint8_t)mode;
        if (mode < 0)
            fail(im, ST_bad_model, "mode '%s'",
                 onnx_printable(im->cx->arena, modes->strings[i].data));
        if (mode < 0 || mode == MODE_leaf)
            continue;
        for (int way = 0; way < 2; way++) {
            int64_t child = find_node(names, trees[i], to[way][i]);
            f->next[2 * i + way] = (int32_t)child;
            if (child < 0)
                fail(im, ST_bad_model, "tree %lld has no node %lld", (long long)trees[i],
                     (long long)to[way][i]);
        }
        f->missing[i] = missing && missing[i];
        if (cx_failed(im->cx) || !set_feature(f, i, features[i]))
            return false;
    }
    if (cx_failed(im->cx))
        return false;
    return find_roots(f, trees);
}

/* `what` is "class" or "target". */
static bool read_votes(Forest *f, const OnnxNode *n, const Names *names, const char *what)
{
    Import *im = f->im;
    Arena *arena = im->cx->arena;
    int64_t count = -1;
    const int64_t *trees = ints(im, n, arena_printf(arena, "%s_treeids", what), &count);
    const int64_t *ids = ints(im, n, arena_printf(arena, "%s_nodeids", what), &count);
    const int64_t *targets = ints(im, n, arena_printf(arena, "%s_ids", what), &count);
    f->weights = floats(im, n, arena_printf(arena, "%s_weights", what));
    f->weight_count = count;
    if (cx_failed(im->cx) || !f->weights || count > INT32_MAX ||
        tensor_count_const(im->cx, f->weights) != count) {
        fail(im, ST_bad_model, "%s_weights are missing or of another length", what);
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t state = find_node(names, trees[i], ids[i]);
        if (state < 0) {
            fail(im, ST_bad_model, "tree %lld has no node %lld", (long long)trees[i],
                 (long long)ids[i]);
            return false;
        }
        if (f->mode[state] == MODE_leaf && !set_vote(f, state, targets[i], i))
            return false;
    }
    return true;
}

/* Scores of the trees and the base values, in the type of the thresholds: [n, targets]. */
static Tensor *scores(Import *im, const OnnxNode *n, const char *what, int64_t targets, int total)
{
    Tensor *x = arg(im, n, 0);
    const OnnxAttr *modes = attr(im, n, "nodes_modes");
    Forest f;
    Names names;
    if (!forest_init(&f, im, modes ? modes->count : 0, targets) || !read_nodes(&f, n, &names) ||
        !read_votes(&f, n, &names, what))
        return graph_poison(im->graph);
    Tensor *y = run(&f, x, total), *base = floats(im, n, "base_values");
    int64_t count = base && !tensor_is_poison(base) ? tensor_count_const(im->cx, base) : 0;
    if (count && count != targets)
        return fail(im, ST_bad_model, "%lld base values for %lld targets", (long long)count,
                    (long long)targets);
    return count ? ew(im, S_add, y, to(im, base, f.weights->dtype)) : y;
}

Tensor *post_transform(Import *im, const OnnxNode *n, Tensor *x)
{
    return transformed(im, word(im, n, "post_transform", post_words, POST_count, "NONE"), x);
}

Tensor *import_tree_regressor(Import *im, const OnnxNode *n)
{
    static const char *const totals[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    int post = word(im, n, "post_transform", post_words, POST_count, "NONE");
    int total = word(im, n, "aggregate_function", totals, TOTAL_count, "SUM");
    Tensor *y = scores(im, n, "target", attr_i(im, n, "n_targets", 1), total);
    return to(im, transformed(im, post, y), DT_f32);
}

/* Of a single class that gets votes, the other one's score follows: what is missing to 1 where all
 * weights are probabilities, else the negative; `always`: the negative always. */
static Tensor *both_scores(Import *im, const OnnxNode *n, Tensor *p, bool always)
{
    const int64_t all[] = {0};
    Tensor *rest = ew1(im, S_neg, p), *weights = floats(im, n, "class_weights");
    if (!always) {
        Tensor *least = reduce(im, M_min, to(im, weights, p->dtype), 1, all, false);
        Tensor *positive = ew(im, S_le, scalar(im, p, 0), least);
        rest = pick(im, positive, ew(im, S_sub, scalar(im, p, 1), p), rest);
    }
    return graph_concat(im->graph, 2, (Tensor *[]){rest, p}, 1);
}

/* Whether all votes are for one class of two; which one is no matter. */
static bool is_binary(Import *im, const OnnxNode *n, int64_t classes)
{
    int64_t count = -1;
    const int64_t *ids = ints(im, n, "class_ids", &count);
    bool one = ids && count && classes == 2;
    for (int64_t i = 1; i < count && one; i++)
        one = ids[i] == ids[0];
    return one;
}

Tensor *import_tree_classifier(Import *im, const OnnxNode *n)
{
    const OnnxAttr *strings = attr(im, n, "classlabels_strings");
    const OnnxAttr *labels = strings ? strings : attr(im, n, "classlabels_int64s");
    int post = word(im, n, "post_transform", post_words, POST_count, "NONE");
    if (!labels || labels->type != (strings ? OA_strings : OA_ints) || labels->count < 2)
        return fail(im, ST_unsupported, "labels are missing, or fewer than two");
    int64_t classes = labels->count;
    Tensor *y = scores(im, n, "class", classes, TOTAL_sum);
    if (tensor_is_poison(y))
        return y;
    Tensor *deciding = y; /* the scores that the label follows */
    if (is_binary(im, n, classes)) {
        int64_t count = -1, id = ints(im, n, "class_ids", &count)[0];
        Tensor *p = slice_axis(im, y, 1, expr_const(im->cx, id != 0), expr_const(im->cx, 1));
        deciding = both_scores(im, n, p, false);
        y = both_scores(im, n, p, post != POST_none && post != POST_probit);
    }
    Attr at[AT_count] = {[AT_monoid] = attr_int(M_argmax),
                         [AT_axis] = attr_int(1),
                         [AT_keep] = attr_int(0),
                         [AT_last] = attr_int(0)};
    Tensor *best = graph_node(im->graph, OP_arg, 1, &deciding, at);
    Tensor *names = strings ? text_constant(im, 1, &classes, strings->strings)
                            : graph_constant(im->graph, NULL, DT_i64, 1, &classes, labels->ints);
    set_result(im, 1, to(im, transformed(im, post, y), DT_f32));
    return gather_axis(im, names, best, 0);
}

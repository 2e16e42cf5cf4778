/* Importers: TreeEnsembleRegressor and TreeEnsembleClassifier, whose nodes go by the number of
 * their tree and one of their own. Leaves are nodes too, so states of the forest are nodes. */
#include "frontend/import_forest.h"

#include <string.h>

#include "base/map.h"

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
    const int64_t *trees = forest_ints(im, n, "nodes_treeids", &count);
    const int64_t *ids = forest_ints(im, n, "nodes_nodeids", &count);
    const int64_t *features = forest_ints(im, n, "nodes_featureids", &count), *missing = NULL;
    const int64_t *to[] = {forest_ints(im, n, "nodes_falsenodeids", &count),
                           forest_ints(im, n, "nodes_truenodeids", &count)};
    if (attr(im, n, "nodes_missing_value_tracks_true"))
        missing = forest_ints(im, n, "nodes_missing_value_tracks_true", &count);
    f->splits[0] = forest_floats(im, n, "nodes_values");
    if (cx_failed(im->cx) || f->splits[0].dtype == DT_none || f->splits[0].count != count ||
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
        if (cx_failed(im->cx) || !forest_set_feature(f, i, features[i]))
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
    const int64_t *trees = forest_ints(im, n, arena_printf(arena, "%s_treeids", what), &count);
    const int64_t *ids = forest_ints(im, n, arena_printf(arena, "%s_nodeids", what), &count);
    const int64_t *targets = forest_ints(im, n, arena_printf(arena, "%s_ids", what), &count);
    f->weights = forest_floats(im, n, arena_printf(arena, "%s_weights", what));
    if (cx_failed(im->cx) || f->weights.dtype == DT_none || count > INT32_MAX ||
        f->weights.count != count) {
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
        if (f->mode[state] == MODE_leaf && !forest_set_vote(f, state, targets[i], i))
            return false;
    }
    return true;
}

static Tensor *float_list(Import *im, Dtype dtype, const NumberList *list)
{
    return number_table(im, dtype, 1, list, list->count, (Scalar){.f = 0});
}

/* Scores of the trees and the base values, in the type of the thresholds: [n, targets]. `shared`:
 * one base value may be that of all. */
static Tensor *scores(Import *im, const OnnxNode *n, const char *what, int64_t targets, int total,
                      bool shared)
{
    Tensor *x = arg(im, n, 0);
    const OnnxAttr *modes = attr(im, n, "nodes_modes");
    Forest f;
    Names names;
    if (!forest_init(&f, im, modes ? modes->count : 0, targets) || !read_nodes(&f, n, &names) ||
        !read_votes(&f, n, &names, what))
        return graph_poison(im->graph);
    Tensor *y = forest_run(&f, x, total);
    NumberList base = forest_floats(im, n, "base_values");
    if (!base.count)
        return y;
    if (base.count != targets && !(shared && base.count == 1))
        return fail(im, ST_bad_model, "%lld base values for %lld targets", (long long)base.count,
                    (long long)targets);
    return ew(im, S_add, y, float_list(im, f.weights.dtype, &base));
}

Tensor *import_tree_regressor(Import *im, const OnnxNode *n)
{
    static const char *const totals[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    int total = attr_word(im, n, "aggregate_function", totals, TOTAL_count, "SUM");
    Tensor *y = scores(im, n, "target", attr_i(im, n, "n_targets", 1), total, false);
    return to(im, post_transform(im, n, y), DT_f32);
}

/* Of a single class that gets votes, the other one's score follows: what is missing to 1 where all
 * weights are probabilities, else the negative; `always`: the negative always. */
static Tensor *both_scores(Import *im, const OnnxNode *n, Tensor *p, bool always)
{
    const int64_t all[] = {0};
    Tensor *rest = ew1(im, S_neg, p);
    NumberList weights = forest_floats(im, n, "class_weights");
    if (!always) {
        Tensor *least = reduce(im, M_min, float_list(im, p->dtype, &weights), 1, all, false);
        Tensor *positive = ew(im, S_le, scalar(im, p, 0), least);
        rest = pick(im, positive, ew(im, S_sub, scalar(im, p, 1), p), rest);
    }
    return graph_concat(im->graph, 2, (Tensor *[]){rest, p}, 1);
}

/* Whether all votes are for one class of two; which one is no matter. */
static bool is_binary(Import *im, const OnnxNode *n, int64_t classes)
{
    int64_t count = -1;
    const int64_t *ids = forest_ints(im, n, "class_ids", &count);
    bool one = ids && count && classes == 2;
    for (int64_t i = 1; i < count && one; i++)
        one = ids[i] == ids[0];
    return one;
}

Tensor *import_tree_classifier(Import *im, const OnnxNode *n)
{
    const OnnxAttr *strings = attr(im, n, "classlabels_strings");
    const OnnxAttr *labels = strings ? strings : attr(im, n, "classlabels_int64s");
    PostTransform post = post_of(im, n);
    if (!labels || labels->type != (strings ? OA_strings : OA_ints) || labels->count < 2)
        return fail(im, ST_unsupported, "labels are missing, or fewer than two");
    int64_t classes = labels->count;
    bool binary = is_binary(im, n, classes);
    Tensor *y = scores(im, n, "class", classes, TOTAL_sum, binary);
    if (tensor_is_poison(y))
        return y;
    Tensor *deciding = y; /* the scores that the label follows */
    if (binary) {
        int64_t count = -1, id = forest_ints(im, n, "class_ids", &count)[0];
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
    set_result(im, 1, to(im, post_apply(im, post, y), DT_f32));
    return gather_axis(im, names, best, 0);
}

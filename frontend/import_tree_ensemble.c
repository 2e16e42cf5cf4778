/* Importer: TreeEnsemble (ai.onnx.ml 5), whose nodes and leaves are numbered apart. States of the
 * forest are the nodes, the members of sets, then the leaves.
 *
 * A test of membership in a set becomes a chain of tests of equality, one for each member; then all
 * operators have the same tables. */
#include "frontend/import_forest.h"

#include <math.h>

typedef struct Five {
    int64_t nodes, members, leaves;
    const int64_t *way[2], *is_leaf[2]; /* for false and true */
    const uint8_t *modes;
    int64_t *set; /* of a node: where its members begin; -1: none */
    NumberList splits, values;
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
    v->way[0] = forest_ints(im, n, "nodes_falsenodeids", &v->nodes);
    v->way[1] = forest_ints(im, n, "nodes_truenodeids", &v->nodes);
    v->is_leaf[0] = forest_ints(im, n, "nodes_falseleafs", &v->nodes);
    v->is_leaf[1] = forest_ints(im, n, "nodes_trueleafs", &v->nodes);
    v->splits = forest_floats(im, n, "nodes_splits");
    v->values = forest_floats(im, n, "leaf_weights");
    v->member_data = tensor_attr(im, n, "membership_values");
    if (v->member_data && dtype_is_float(v->member_data->dtype))
        v->members = v->member_data->count;
    if (cx_failed(im->cx))
        return false;
    if (!modes || modes->dtype != DT_u8 || modes->count != v->nodes || v->splits.dtype == DT_none ||
        v->values.dtype == DT_none || v->splits.count != v->nodes) {
        fail(im, ST_bad_model, "nodes_modes, nodes_splits or leaf_weights are missing or wrong");
        return false;
    }
    v->modes = modes->data;
    v->leaves = v->values.count;
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
        if (!forest_set_feature(f, s, feature) || last)
            return !cx_failed(f->im->cx);
    }
}

static bool add_five(Forest *f, const OnnxNode *n, const Five *v)
{
    Import *im = f->im;
    int64_t nodes = v->nodes, leaves = v->leaves, trees = -1;
    const int64_t *features = forest_ints(im, n, "nodes_featureids", &nodes);
    const int64_t *targets = forest_ints(im, n, "leaf_targetids", &leaves);
    const int64_t *roots = forest_ints(im, n, "tree_roots", &trees);
    const int64_t *missing = NULL;
    if (attr(im, n, "nodes_missing_value_tracks_true"))
        missing = forest_ints(im, n, "nodes_missing_value_tracks_true", &nodes);
    if (cx_failed(im->cx))
        return false;
    for (int64_t i = 0; i < nodes; i++)
        if (!add_node(f, v, i, features[i], missing && missing[i]))
            return false;
    for (int64_t i = 0; i < leaves; i++)
        if (!forest_set_vote(f, nodes + v->members + i, targets[i], i))
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
    f.splits[0] = v.splits;
    if (v.members)
        f.splits[1] = forest_floats(im, n, "membership_values");
    f.weights = v.values;
    return post_apply(im, (PostTransform)post, forest_run(&f, x, (int)total));
}

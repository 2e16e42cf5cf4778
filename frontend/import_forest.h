/* Ensembles of decision trees, as kernels. Every pair of a row and a tree has a state, the node it
 * stands at; one step moves all of them one level down:
 *
 *   state [trees, n] = next[2 * state + (x[row, feature[state]] <= split[state])]
 *
 * A leaf leads to itself, so after as many steps as the deepest tree has levels all states are
 * leaves. What leaves say is votes[leaf, target], a weight or what says nothing, combined over the
 * trees. The tables have room for more states than there are (table_room), all of them leaves.
 *
 * The operators' importers fill the tables (import_tree.c, import_tree_ensemble.c). */
#ifndef QUERN_FRONTEND_IMPORT_FOREST_H
#define QUERN_FRONTEND_IMPORT_FOREST_H

#include "frontend/import_ops.h"

/* Numbers are those of TreeEnsemble's attributes. A test of membership has no mode of a state. */
enum { MODE_le, MODE_lt, MODE_ge, MODE_gt, MODE_eq, MODE_ne, MODE_member, MODE_leaf, MODE_count };
enum { TOTAL_average, TOTAL_sum, TOTAL_min, TOTAL_max, TOTAL_count };

typedef struct Forest {
    Import *im;
    int64_t states, room, trees, targets;
    int32_t *feature, *next; /* [room], by state; next: two each, for false and for true */
    uint8_t *mode, *missing; /* missing: whether NaN passes the test */
    int32_t *roots;          /* by tree */
    int32_t *votes;          /* [room, targets]: position among the weights, or -1 */
    NumberList splits[2];    /* by state, one behind the other */
    NumberList weights;
} Forest;

/* Tables for so many states, all of them leaves without votes. False after a failure, which may be
 * an earlier one of the node. */
bool forest_init(Forest *f, Import *im, int64_t states, int64_t targets);
/* False after a failure: a number out of range, a second vote of a leaf for a target. */
bool forest_set_feature(Forest *f, int64_t state, int64_t feature);
bool forest_set_vote(Forest *f, int64_t state, int64_t target, int64_t weight);
/* The totals [n, targets] of the rows of x, which are compared in their own type when that is a
 * float, else in that of the splits. */
Tensor *forest_run(Forest *f, Tensor *x, int total);

/* A list of `count` integers of an attribute (any number where it is -1, which then is set). NULL
 * after a failure. */
const int64_t *forest_ints(Import *im, const OnnxNode *n, const char *name, int64_t *count);
/* A list of floats: floats, or the tensor `name`_as_tensor, or the tensor `name`. No list when
 * there is none, or after a failure. */
NumberList forest_floats(Import *im, const OnnxNode *n, const char *name);

#endif

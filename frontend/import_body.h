/* What importers of operators with bodies (If, Loop, Scan) share, and what continues an If whose
 * sides differ (import_fork.c). */
#ifndef QUERN_FRONTEND_IMPORT_BODY_H
#define QUERN_FRONTEND_IMPORT_BODY_H

#include "frontend/import_ops.h"

/* A graph among the attributes; NULL after a failure. */
const OnnxGraph *body_attr(Import *im, const OnnxNode *n, const char *name);
/* Whether a condition of one element is known when compiling. */
bool known_bool(const Tensor *x, bool *value);
/* All results of a node that failed, or that uses what did: poison. */
Tensor *give_up(Import *im, Tensor **results, uint32_t count);
/* One element as a tensor of rank 0. */
Tensor *one_element(Import *im, Tensor *x, Dtype dtype, const char *what);
/* Whether all of them are there: poison stands for problems that were noted before. */
bool all_there(Import *im, uint32_t count, Tensor *const *results);
/* Whether some of them is a sequence or an optional. */
bool any_list(uint32_t count, Tensor *const *list);

/* One of the two bodies of a branch, with what it gives. */
typedef struct Side {
    Body body;
    Tensor **results;
} Side;

/* The branch of two sides, then and else, that give the same types and are no lists. False after a
 * failure. */
bool branch_of(Import *im, Tensor *condition, Side sides[2], uint32_t count, Tensor **outputs);

/* A side that cannot be: it contradicts itself for the shapes at hand, as the side for another rate
 * of sampling does. It gives what the other side gives, but refuses to run, with the reason. */
bool refuse_side(Import *im, const char *why, uint32_t count, const Side *other, Side *side);

/* One of two ways that are tried: between begin and end, problems are its own. */
typedef struct Trial {
    ImportProblems before;
    Status status;   /* of its problems */
    const char *why; /* the first of them */
} Trial;
void trial_begin(Import *im, Trial *trial);
void trial_end(Import *im, Trial *trial);
/* Forgets the problems since it began. */
void trial_forget(Import *im, const Trial *trial);
/* The one that contradicts itself while the other is good: then the problems of both are forgotten.
 * Else -1, and they are the import's. */
int trial_refused(Import *im, const Trial trials[2]);

#endif

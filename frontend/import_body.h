/* What importers of operators with bodies (If, Loop, Scan) share. */
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

#endif

/* What the files of the nest interpreter share: bodies (nest_run.c says what they are). All of it
 * lives in the arena of the job. */
#ifndef QUERN_IR_NEST_BODY_H
#define QUERN_IR_NEST_BODY_H

#include "ir/nest.h"

/* Slots hold the values of dims, axes and bound values, in this order. */
static inline int nest_axis_slot(const Nest *nest, int axis)
{
    return (int)nest->dim_count + axis;
}

typedef struct NestIndex {
    bool linear;
    int count; /* of terms */
    int64_t constant;
    const int *slots;
    const int64_t *coefs;
    ExprCode code;
} NestIndex;

typedef struct NestPublish {
    uint32_t from; /* result in the body */
    int slot;
} NestPublish;

typedef struct NestPlace {
    const Access *access;
    const NestIndex *index;  /* rank of them */
    const NestIndex *guards; /* lo, e, hi for each guard */
} NestPlace;

typedef struct NestInstr {
    const Value *value;
    uint32_t args[3]; /* results in the same body */
    uint32_t publish_count, publish_cap;
    NestPublish *publish;
    NestPlace place;
    NestIndex index;  /* V_index */
    NestIndex lo, hi; /* V_bind */
} NestInstr;

typedef struct NestBody {
    const Value *reduce; /* or NULL: a store */
    const Store *store;
    NestPlace place; /* of the store */
    int axis_count;
    int axes[MAX_AXES];
    uint32_t count, varying; /* instructions; first varying one */
    NestInstr *instrs;
    Scalar *results;
    uint32_t root;
    bool started; /* this evaluation has run its invariant part */
    Scalar acc;
    Scalar best; /* argmin, argmax: the extreme value; acc is its position */
    bool any;
} NestBody;

/* An index expression; fails when it uses a symbol that the nest does not have. */
NestIndex nest_body_index(Cx *cx, const Nest *nest, const Expr *e);
NestPlace nest_body_place(Cx *cx, const Nest *nest, const Access *access);
/* Fills a new body: it computes `root`, looping over `axes`. */
void nest_body_make(Cx *cx, const Nest *nest, NestBody *body, const Value *root, uint64_t axes);

#endif

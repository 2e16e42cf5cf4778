/* What is known to hold at a place of a program, and proofs from it.
 *
 * A fact is an expression that is >= 0 there. Bounds of symbols are known without facts. Used by
 * the verifier of tile programs; a pass may use it to drop guards. Proofs are sound and incomplete.
 */
#ifndef QUERN_IR_FACTS_H
#define QUERN_IR_FACTS_H

#include "ir/value.h"

typedef struct Facts {
    Cx *cx;
    uint32_t count, cap;
    const Expr **items; /* each >= 0; a scope is left by restoring `count` */
    int steps;          /* left to the proof under way */
} Facts;

void facts_init(Facts *facts, Cx *cx);
void facts_add(Facts *facts, const Expr *e);                     /* e >= 0 */
void facts_add_lt(Facts *facts, const Expr *a, const Expr *b);   /* a < b */
void facts_add_guard(Facts *facts, const Guard *guard);          /* lo <= e < hi */
bool facts_prove(Facts *facts, const Expr *e);                   /* e >= 0 follows */
bool facts_prove_lt(Facts *facts, const Expr *a, const Expr *b); /* a < b follows */

#endif

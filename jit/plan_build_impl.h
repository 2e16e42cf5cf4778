/* Inside of plan_build: what its two files share. */
#ifndef QUERN_JIT_PLAN_BUILD_IMPL_H
#define QUERN_JIT_PLAN_BUILD_IMPL_H

#include "jit/plan_build.h"

ExprCode plan_build_code(PlanBuild *b, const Expr *e);
/* Whether all symbols have values at this point of the run. */
bool plan_build_known(PlanBuild *b, const Expr *e);
/* A tensor of the plan with type and shape of a graph's. */
uint32_t plan_build_add(PlanBuild *b, PlanPlace place, uint32_t index, const Tensor *like);
/* The same, and the dims whose source it is in the scope's graph. They are known later. */
uint32_t plan_build_binding(PlanBuild *b, PlanPlace place, const Tensor *tensor);

/* A scope with a region of its own, inside the present one; then back. */
void plan_build_enter(PlanBuild *b, const Graph *graph);
void plan_build_leave(PlanBuild *b);
/* Ends the block, and begins one with the assumptions that are known by now. */
void plan_build_block(PlanBuild *b);
void plan_build_push(PlanBuild *b, const PlanStep *step, bool init);
void plan_build_copy(PlanBuild *b, uint32_t from, uint32_t to, bool init, const char *why);
/* Puts the regions into the plan. */
void plan_build_gather(PlanBuild *b);

#endif

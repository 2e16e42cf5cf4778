/* Inside of plan_check. */
#ifndef QUERN_RUNTIME_PLAN_CHECK_H
#define QUERN_RUNTIME_PLAN_CHECK_H

#include "runtime/plan.h"

typedef struct PlanCheckJob {
    Cx *cx;
    const Plan *plan;
} PlanCheckJob;

/* Fails; false. */
bool plan_wrong(PlanCheckJob *c, const char *what, uint32_t number);
/* What holds along a run: regions, blocks, and in which order dims are bound and tensors written.
 * Tables, numbers and types of tensors were checked before. */
bool plan_check_run(PlanCheckJob *c);

#endif

/* Operators of the application: plain C functions, called through libffi as their signature says
 * (base/custom.h). A plan names one by its key and calls it with the host operation `custom`; the
 * functions themselves are the context's. */
#ifndef QUERN_RUNTIME_HOST_CUSTOM_H
#define QUERN_RUNTIME_HOST_CUSTOM_H

#include "base/arena.h"
#include "base/custom.h"
#include "include/quern.h"
#include "runtime/report.h"

typedef struct CustomEntry CustomEntry;

/* All zero but for `from`: none. Not to be changed while programs are compiled or run. */
typedef struct Customs {
    const Allocator *from;
    CustomEntry *first;
} Customs;

/* Texts are copied. Fails with ST_bad_argument for a signature that is none and for an operator
 * that is there already, ST_missing without libffi. */
Status customs_add(Customs *customs, const qn_operator *given, Report *report);
void customs_finish(Customs *customs);
/* The operator of the largest first version that is not above `version`; NULL when there is none.
 * `customs` may be NULL. */
const CustomOperator *customs_find(const Customs *customs, const char *domain, const char *name,
                                   int64_t version);

#endif

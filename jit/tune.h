/* The tuner: looks for schedules that are faster, here and now, than those of the cost model. */
#ifndef QUERN_JIT_TUNE_H
#define QUERN_JIT_TUNE_H

#include "base/pool.h"
#include "jit/compile.h"

typedef struct TuneOptions {
    const Caps *caps; /* a CPU that this machine is */
    const LlvmApi *llvm;
    const Executor *executor;
    double seconds;
    const Records *known; /* where to start from; NULL = none */
    /* Called now and then; false stops. NULL = none. */
    bool (*progress)(void *user, int64_t done, int64_t total, const char *what);
    void *progress_user;
} TuneOptions;

/* What became of a nest. */
typedef struct Tuned {
    const NestUse *nest;
    Record record;  /* the best schedule and the medians */
    bool better;    /* than where it started, beyond noise */
    bool measured;  /* false: it cannot be run on its own */
    uint32_t tried; /* schedules measured */
} Tuned;

/* Nests by measured time times uses, heaviest first, each with its share of the time left. `tuned`
 * has room for all nests of the list. False after cx_fail. */
bool tune_nests(Cx *cx, const NestList *nests, const TuneOptions *options, Tuned *tuned);

#endif

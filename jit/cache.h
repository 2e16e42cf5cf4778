/* The disk cache of compiled programs: a directory with one file per entry, named by its key.
 *
 * An entry names the key it is for and checks itself; a bad, foreign or half-written file is a
 * miss. Writing goes through a temporary file and a rename, so any number of processes may share a
 * directory. When it cannot be used (full disk, read-only, not ours) everything works without it.
 * Entries that were not used for longest go first when the directory is over its limit. */
#ifndef QUERN_JIT_CACHE_H
#define QUERN_JIT_CACHE_H

#include "base/cx.h"
#include "base/hash.h"
#include "runtime/plan.h"

typedef struct Cache {
    const char *dir; /* NULL = there is none */
    int64_t limit;   /* bytes */
} Cache;

/* The image kept for the key, in the job's arena, aligned to 16 bytes; false when there is none.
 * Never fails the job. */
bool cache_get(Cx *cx, const Cache *cache, Hash128 key, PlanBytes *image);
/* NULL, or why it could not be kept (a static text or one in the arena). */
const char *cache_put(Cx *cx, const Cache *cache, Hash128 key, PlanBytes image);

#endif

/* A directory as a storage: one file per entry, named by its key.
 *
 * A bad, foreign or half-written file is a miss. Writing goes through a temporary file and a
 * rename, so any number of processes may share a directory. When it cannot be used (full disk,
 * read-only, not ours) everything works without it. Entries that were not used for longest go first
 * when the directory is over its limit. */
#ifndef QUERN_RUNTIME_CACHE_H
#define QUERN_RUNTIME_CACHE_H

#include "runtime/storage.h"

typedef struct Cache {
    Storage storage;
    int64_t limit; /* bytes */
} Cache;

/* `dir` stays the caller's; it is made when the first entry is written. */
Cache cache_in(const char *dir, int64_t limit);

#endif

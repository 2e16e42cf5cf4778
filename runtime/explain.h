/* Why an entry was not used: what its key's parts say that those asked for do not. */
#ifndef QUERN_RUNTIME_EXPLAIN_H
#define QUERN_RUNTIME_EXPLAIN_H

#include "runtime/storage.h"

typedef struct Explanation {
    uint32_t programs;      /* entries of programs that were looked at */
    const Storage *storage; /* where the nearest one is; NULL = there is none */
    Hash128 key;            /* its key there */
    uint32_t count;         /* differences; 0 = it is the one that is asked for */
    const char **lines;     /* one each, in words */
} Explanation;

/* The program in the storages whose parts differ least from these. A difference that the storage
 * does not look at (records in a pack) is none. Everything is in the job's arena. */
Explanation explain_program(Cx *cx, const char *parts, Storage *const *storages, uint32_t count);

#endif

/* The identity of a model's weights: which constants computed before are those of this model.
 *
 * It is the hash of the hashes of the tensors that a plan's init steps read. Tensors of files are
 * hashed once: the hashes are kept in a storage, by device, inode, size and times of the file, so
 * that a warm start does not read hundreds of megabytes to find a key. A file that was changed just
 * now is not remembered, since its times may not tell a further change. */
#ifndef QUERN_RUNTIME_WEIGHTS_H
#define QUERN_RUNTIME_WEIGHTS_H

#include "runtime/plan.h"
#include "runtime/storage.h"

typedef struct WeightSource {
    const Plan *plan;
    uint32_t file_count;
    const FileRange *files;
    Storage *memo; /* NULL = none */
    const Executor *executor;
} WeightSource;

/* False after cx_fail: the plan is for other files. */
bool weights_identity(Cx *cx, const WeightSource *source, Hash128 *identity);

#endif

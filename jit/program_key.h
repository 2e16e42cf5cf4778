/* What identifies a compiled program: everything its image depends on. */
#ifndef QUERN_JIT_PROGRAM_KEY_H
#define QUERN_JIT_PROGRAM_KEY_H

#include "base/hash.h"
#include "frontend/import.h"
#include "jit/plan_build.h"

/* Constants above this are not looked at when compiling: importers and passes read the values of
 * small ones only (shapes, axes, scalars), so two models that differ in large weights alone have
 * the same program. */
enum { KEY_SMALL_CONSTANT = 1 << 14 };

typedef struct KeySource {
    const OnnxModel *model;
    uint32_t file_count;
    const FileRange *files; /* of the model */
    const ImportOptions *import;
    const char *target; /* as emit_target_name gives it */
} KeySource;

/* The parts of its base key (storage.h): of the program that no tuning record is for. In the job's
 * arena. */
const char *program_key_parts(Cx *cx, const KeySource *source);
/* With the digest of the records that are for its nests. */
const char *program_key_with_records(Cx *cx, const char *parts, Hash128 digest);

#endif

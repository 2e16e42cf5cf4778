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

/* `files` as in FileRange, `target` as emit_target_name gives it. */
Hash128 program_key(const OnnxModel *model, uint32_t file_count, const FileRange *files,
                    const ImportOptions *import, const char *target);

#endif

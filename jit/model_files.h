/* Which files a model lies in, for who writes files. Includes nothing of the compiler. */
#ifndef QUERN_JIT_MODEL_FILES_H
#define QUERN_JIT_MODEL_FILES_H

#include "base/os_file.h"
#include "quern.h"

/* 0 when it is the model's own file, above when one of its external data, -1 when it is neither.
 * Looks at device and inode only. The model has been opened. */
int32_t model_file_number(const qn_model *model, const OsFileId *id);

#endif

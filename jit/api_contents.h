/* Inputs whose contents are known when compiling: between the public options and the import. */
#ifndef QUERN_JIT_API_CONTENTS_H
#define QUERN_JIT_API_CONTENTS_H

#include "frontend/import.h"
#include "jit/api.h"

enum { MOST_CONTENTS = 1 << 16 }; /* elements of one input */

/* Adds the contents, and the shapes they have, to the options of an import; fails when they are not
 * the model's inputs or not whole. The data stays the caller's. */
void api_set_contents(Cx *cx, const qn_model *model, const qn_contents *contents, size_t count,
                      ImportOptions *import);
/* Sets what the plan's inputs have to hold in a run. */
void api_keep_contents(Plan *plan, const ImportOptions *import);
/* Copies the names of inputs that a failed import asked for. */
void api_keep_wanted(Cx *cx, qn_program *p, const ImportProblems *problems);

#endif

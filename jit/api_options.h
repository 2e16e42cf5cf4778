/* Inside of compiling: what was asked for, and the compile it becomes. */
#ifndef QUERN_JIT_API_OPTIONS_H
#define QUERN_JIT_API_OPTIONS_H

#include "frontend/import.h"
#include "jit/api.h"

typedef struct Compilation {
    qn_program *program;
    qn_model *model;
    qn_compile_options options;
    Target target;
    const Caps *caps;
    ImportOptions import;
    ImportProblems problems;
    Records records;
    const char *parts; /* of the key */
    PlanBytes image;
    bool stays; /* the image, as long as the context */
    Compiled compiled;
} Compilation;

/* The public options, those of an older header included; NULL = all defaults. */
void api_options_copy(Compilation *c, const qn_compile_options *options);
/* As the compiler takes them, with the records in force and the parts of the program's key. `model`
 * and `options` are set; `program` may be NULL. False after cx_fail. */
bool api_options_read(Cx *cx, Compilation *c);

#endif

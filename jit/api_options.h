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
    int bits;              /* symbols without bounds of the caller's are at most 1 << bits */
    const bool *unbounded; /* these, by position in import.dims */
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
/* Lowers the bounds of symbols that the caller gave none, after a compile in which a product of
 * bounds did not fit in 63 bits. False when there is none that could be lowered. */
bool api_options_narrow(Cx *cx, Compilation *c);

#endif

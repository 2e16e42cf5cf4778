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
    const char *parts; /* of the base key; of the whole one after api_use_records */
    PlanBytes image;
    bool stays; /* the image, as long as the context */
    Compiled compiled;
} Compilation;

/* The public options, those of an older header included; NULL = all defaults. */
void api_options_copy(Compilation *c, const qn_compile_options *options);
/* As the compiler takes them, with the records in force and the parts of the program's base key.
 * `model` and `options` are set; `program` may be NULL. False after cx_fail. */
bool api_options_read(Cx *cx, Compilation *c);
/* Whether what the caller says about sizes is said once and without contradiction: the dims of the
 * options, and import.shapes, each as it was given. False after cx_fail. */
bool api_check_sizes(Cx *cx, const Compilation *c);
/* The symbol of an input's dim, or "<input>_<position>" when it has none. */
const char *api_dim_symbol(Cx *cx, const qn_tensor_info *info, int d);
/* Lowers the bounds of symbols that the caller gave none, after a compile in which a product of
 * bounds did not fit in 63 bits. False when there is none that could be lowered. */
bool api_options_narrow(Cx *cx, Compilation *c);

/* The distinct nests of the program's run steps, by as much of a compile as that takes. They are a
 * function of the base key: records have no say. False after cx_fail. */
bool api_list_nests(Cx *cx, Compilation *c, NestList *nests);
/* Leaves of the records in force those that are for the program's nests, and makes these a part of
 * the key. The nests are looked up in the directory; when they are not there they are listed and,
 * with `keep`, kept. False after cx_fail. */
bool api_use_records(Cx *cx, Compilation *c, Storage *directory, bool keep);

#endif

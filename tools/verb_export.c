/* quern export: one model compiled for one target, as a file that needs no model and no compiler:
 * what applications load with qn_program_load, also from libquern_runtime. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/outputs.h"
#include "tools/verbs.h"

enum { OPT_OUTPUT = 'o' };

static const Option options[] = {
    {OPT_OUTPUT, "output", "FILE", "the file to write"},
    {OPT_DEVICE, "device", "NAME", "device or target, of this machine or another; default: cpu"},
    SETUP_DIM_OPTIONS,
    {OPT_GENERIC, "generic", NULL, "compile for any size, as without --dim and --shape"},
    SETUP_CACHE_OPTIONS,
    {0}};

/* Whether sessions can be made here; programs for other machines are compiled all the same. */
static bool runs_here(const Setup *setup)
{
    qn_device_info info;
    for (int32_t i = 0; qn_device_at(setup->context, i, &info) == QN_OK; i++)
        if (!setup->device || !strcmp(info.name.data, setup->device))
            return info.usable;
    return false;
}

static bool export(Setup *setup, const char *model, const char *output, Fail *fail)
{
    qn_program_info info;
    if (!setup_open(setup, model, fail) || !outputs_check(setup, output, fail))
        return false;
    setup->elsewhere = !runs_here(setup);
    if (!setup_compile(setup, fail))
        return false;
    if (qn_program_save(setup->program, qn_str(output)) != QN_OK ||
        qn_program_describe(setup->program, &info) != QN_OK)
        return fail_set(fail, "%s", qn_program_message(setup->program));
    printf("%s: for %s, %d kernels, code %.3f MB, weights %.3f MB\n", output, info.target.data,
           info.kernels, (double)info.object_bytes / 1e6, (double)info.weight_bytes / 1e6);
    return true;
}

int verb_export(int argc, char **argv)
{
    static Setup setup;
    const char *output = NULL;
    Fail fail = {""};
    int count;
    Args args = {.verb = "export",
                 .usage = "MODEL -o FILE [OPTION...]",
                 .what = "Compiles a model into a file that holds code and weights, for "
                         "qn_program_load\n(include/quern.h). Sizes that are not given stay open.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    for (int id; (id = args_next(&args)) != ARGS_END;) {
        if (id == ARGS_HELP || id == ARGS_BAD)
            return id == ARGS_HELP ? EXIT_DONE : EXIT_BAD_USAGE;
        if (id == OPT_OUTPUT)
            output = args.value;
        else if (!setup_option(&setup, id, args.value, &fail))
            return args_bad(&args, "%s", fail.text);
    }
    char **rest = args_rest(&args, &count);
    if (count != 1)
        return args_bad(&args, count ? "one model, not %d" : "no model given", count);
    if (setup.generic && (setup.dim_count || setup.shape_count))
        return args_bad(&args, "--generic is for any size; --dim and --shape give one");
    if (!output)
        return args_bad(&args, "-o FILE is missing");
    bool done = export(&setup, rest[0], output, &fail);
    setup_close(&setup);
    return done ? EXIT_DONE : args_failed(&args, "%s", fail.text);
}

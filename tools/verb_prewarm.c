/* quern prewarm: models compiled for named targets, into one pack. Every combination of model,
 * sizes and target is a program; the pack is written when all of them are there. */
#include <stdio.h>
#include <stdlib.h>

#include "ir/target.h"
#include "tools/outputs.h"
#include "tools/verbs.h"

enum { OPT_OUTPUT = 'o', OPT_TARGET = 1, OPT_ADD, OPT_NO_WEIGHTS, MOST_TARGETS = 32, MOST = 1024 };

static const Option options[] = {
    {OPT_TARGET, "target", "NAME",
     "x86-64-v3, x86-64-v4, sm_80, sm_90a, opencl, opencl-cpu ..; may be repeated; default: cpu"},
    {OPT_OUTPUT, "output", "FILE", "the pack to write"},
    {OPT_ADD, "add", "FILE", "put in what this pack holds; may be repeated"},
    {OPT_NO_WEIGHTS, "no-weights", NULL, "leave packed weights out: smaller, and packed at load"},
    {OPT_DIM, "dim", "SYMBOL=N", "size of an open dim; again: one more program with that size"},
    {OPT_SHAPE, "shape", "INPUT=1x3x8x8", "shape of an input; again: one more program"},
    {OPT_THREADS, "threads", "N", "threads; default: one per processor"},
    SETUP_RECORDS_OPTION,
    SETUP_CACHE_OPTIONS,
    {0}};

typedef struct Work {
    Args args;
    Setup setup;
    Setup given; /* all sizes of the command line */
    qn_pack *pack;
    const char *targets[MOST_TARGETS], *added[MOST_TARGETS], *output;
    int target_count, added_count;
    bool no_weights;
} Work;

static int parse(Work *w)
{
    Fail fail;
    for (int id; (id = args_next(&w->args)) != ARGS_END;) {
        const char *value = w->args.value;
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_OUTPUT: w->output = value; break;
        case OPT_NO_WEIGHTS: w->no_weights = true; break;
        case OPT_TARGET:
        case OPT_ADD: {
            int *count = id == OPT_ADD ? &w->added_count : &w->target_count;
            if (*count == MOST_TARGETS)
                return args_bad(&w->args, "more than %d times --%s", MOST_TARGETS,
                                id == OPT_ADD ? "add" : "target");
            (id == OPT_ADD ? w->added : w->targets)[(*count)++] = value;
            break;
        }
        default:
            if (!setup_option(&w->given, id, value, &fail))
                return args_bad(&w->args, "%s", fail.text);
        }
    }
    return EXIT_DONE;
}

static bool is_same(qn_string a, qn_string b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

/* The item whose turn it is among those with the name of item `at`: names' values take turns, the
 * first name fastest. -1 when an earlier item has that name. Takes its share of *number. */
static int turn_of(qn_string (*name)(const Setup *setup, size_t item), const Setup *from, size_t at,
                   size_t count, size_t *number)
{
    int same[SETUP_ITEMS], values = 0;
    for (size_t k = 0; k < count; k++) {
        if (!is_same(name(from, k), name(from, at)))
            continue;
        if (k < at)
            return -1;
        same[values++] = (int)k;
    }
    size_t turn = *number % (size_t)values;
    *number /= (size_t)values;
    return same[turn];
}

static qn_string dim_name(const Setup *setup, size_t item)
{
    return setup->dims[item].symbol;
}

static qn_string shape_name(const Setup *setup, size_t item)
{
    return setup->shapes[item].name;
}

/* Takes variant `number` of the sizes given; false when there is no such variant. */
static bool choose_sizes(Work *w, size_t number)
{
    const Setup *from = &w->given;
    Setup *to = &w->setup;
    int turn;
    to->dim_count = to->shape_count = 0;
    for (size_t i = 0; i < from->dim_count; i++)
        if ((turn = turn_of(dim_name, from, i, from->dim_count, &number)) >= 0)
            to->dims[to->dim_count++] = from->dims[turn];
    for (size_t i = 0; i < from->shape_count; i++)
        if ((turn = turn_of(shape_name, from, i, from->shape_count, &number)) >= 0)
            to->shapes[to->shape_count++] = from->shapes[turn];
    return number == 0;
}

static void print_program(const Work *w, const char *path, const qn_pack_info *before)
{
    qn_program_info program;
    qn_pack_info now;
    if (qn_program_describe(w->setup.program, &program) != QN_OK ||
        qn_pack_describe(w->pack, &now) != QN_OK)
        return;
    printf("%s for %s: %d kernels, code %.3f MB, %.0f ms%s", path, program.target.data,
           program.kernels, (double)program.object_bytes / 1e6, program.compile_ms,
           program.cached ? " (was in the cache)" : "");
    if (now.weights > before->weights)
        printf(", packed weights %.3f MB", (double)(now.weight_bytes - before->weight_bytes) / 1e6);
    else if (!w->no_weights && program.init_kernels)
        printf(", packed weights left out: they are made where it runs");
    putchar('\n');
}

static bool add_program(Work *w, const char *path, Fail *fail)
{
    qn_pack_info before;
    bool done = setup_compile(&w->setup, fail);
    if (done && (qn_pack_describe(w->pack, &before) != QN_OK ||
                 qn_pack_add(w->pack, w->setup.program, w->no_weights ? QN_PACK_NO_WEIGHTS : 0)))
        done = fail_set(fail, "%s", qn_pack_message(w->pack));
    if (done)
        print_program(w, path, &before);
    else
        fail_prefix(fail, "%s for %s", path, w->setup.device ? w->setup.device : "cpu");
    qn_program_release(w->setup.program);
    w->setup.program = NULL;
    return done;
}

/* Whether the name is a target's that this machine's processor is not of: the program is then only
 * made. Names of devices, which are looked at by their presence, mean what is here. */
static bool is_elsewhere(const Setup *setup, const char *name)
{
    const Caps *target = target_find(name);
    qn_device_info info;
    for (int32_t i = 0;
         target && target->kind == TK_cpu && qn_device_at(setup->context, i, &info) == QN_OK; i++)
        if (!strcmp(info.name.data, name))
            return !info.usable;
    return target != NULL;
}

static bool add_model(Work *w, const char *path, Fail *fail)
{
    w->setup = w->given;
    if (!setup_open(&w->setup, path, fail) || !outputs_check(&w->setup, w->output, fail))
        return false;
    if (!w->pack && qn_pack_create(w->setup.context, &w->pack) != QN_OK)
        return fail_set(fail, "out of memory");
    for (int i = 0; i < w->added_count; i++)
        if (qn_pack_add_file(w->pack, qn_str(w->added[i])) != QN_OK)
            return fail_set(fail, "%s", qn_pack_message(w->pack));
    w->added_count = 0;
    for (size_t variant = 0; variant < MOST && choose_sizes(w, variant); variant++) {
        for (int t = 0; t < w->target_count; t++) {
            w->setup.device = w->targets[t];
            w->setup.elsewhere = is_elsewhere(&w->setup, w->targets[t]);
            if (!add_program(w, path, fail))
                return false;
            fflush(stdout);
        }
    }
    return true;
}

static bool write_pack(Work *w, Fail *fail)
{
    qn_pack_info info;
    if (qn_pack_write(w->pack, qn_str(w->output)) != QN_OK ||
        qn_pack_describe(w->pack, &info) != QN_OK)
        return fail_set(fail, "%s", qn_pack_message(w->pack));
    printf("%s: %lld programs, %lld with packed weights, %.3f MB\n", w->output,
           (long long)info.programs, (long long)info.weights, (double)info.bytes / 1e6);
    return true;
}

int verb_prewarm(int argc, char **argv)
{
    static Work w;
    w = (Work){.args = {.verb = "prewarm",
                        .usage = "MODEL... --target NAME... -o PACK [OPTION...]",
                        .what = "Compiles models for targets that need not be at hand, into one "
                                "pack for `quern run --pack`.\nA pack for this machine's target "
                                "holds the packed weights too.",
                        .options = options,
                        .argc = argc,
                        .argv = argv},
               .given = {.variants = true}};
    int status = parse(&w);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    int count;
    char **rest = args_rest(&w.args, &count);
    if (!count)
        return args_bad(&w.args, "no model given");
    if (!w.output)
        return args_bad(&w.args, "-o PACK is missing");
    if (!w.target_count)
        w.targets[w.target_count++] = "cpu";
    Fail fail = {""};
    bool done = true;
    for (int i = 0; i < count && done; i++) {
        done = add_model(&w, rest[i], &fail);
        setup_close(&w.setup);
    }
    done = done && write_pack(&w, &fail);
    qn_pack_release(w.pack);
    return done ? EXIT_DONE : args_failed(&w.args, "%s", fail.text);
}

/* quern inspect: first what the file says (inputs, outputs, operators, everything unsupported at
 * once), then what it was compiled to: the kernels with the nodes fused into each and why fusion
 * stopped there, or one of the texts of the compile. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "ir/target.h"
#include "tools/setup.h"
#include "tools/show.h"
#include "tools/verbs.h"

enum { OPT_IR = 1, OPT_TARGET, OPT_MODEL_ONLY };

static const Option options[] = {
    {OPT_IR, "ir", "LEVEL",
     "print only this text: graph, nest, tile, placed, llvm, asm, c, opencl or cuda"},
    {OPT_TARGET, "target", "NAME",
     "x86-64-v3, sm_80, opencl ..: compile for it, here or not; default: cpu"},
    {OPT_MODEL_ONLY, "model-only", NULL, "do not compile"},
    SETUP_DIM_OPTIONS,
    SETUP_DEVICE_OPTIONS,
    SETUP_CACHE_OPTIONS,
    {0}};

/* `target`: what it is a text of when no other is given; NULL = any. */
static const struct Level {
    const char *name;
    uint32_t text;
    const char *target;
} levels[] = {{"graph", QN_TEXT_GRAPH, NULL},   {"nest", QN_TEXT_NEST, NULL},
              {"tile", QN_TEXT_TILE, NULL},     {"placed", QN_TEXT_PLACED, "sm_80"},
              {"llvm", QN_TEXT_LLVM, NULL},     {"asm", QN_TEXT_ASM, NULL},
              {"c", QN_TEXT_SOURCE, NULL},      {"opencl", QN_TEXT_SOURCE, "opencl"},
              {"cuda", QN_TEXT_SOURCE, "sm_80"}};

static const struct Level *find_level(const char *name)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (!strcmp(levels[i].name, name))
            return &levels[i];
    return NULL;
}

/* The name of the language that a target's kernels are written in. */
static const char *language(const Caps *target)
{
    switch (target->kind) {
    case TK_cpu: return "c";
    case TK_opencl_cpu:
    case TK_opencl: return "opencl";
    case TK_cuda: return "cuda";
    }
    return "";
}

static void print_value(const char *word, const qn_tensor_info *info, qn_kind kind)
{
    static const char *const kinds[] = {[QN_OTHER] = "no tensor",
                                        [QN_SEQUENCE] = "sequence",
                                        [QN_OPTIONAL] = "optional",
                                        [QN_MAP] = "map"};
    printf("%-8s ", word);
    show_all(info->name.data);
    printf(" %s", kind == QN_TENSOR ? qn_dtype_name(info->dtype) : kinds[kind]);
    if (info->rank < 0 && kind == QN_TENSOR)
        printf(" of unknown rank");
    for (int32_t d = 0; d < info->rank; d++) {
        const qn_dim *dim = &info->dims[d];
        printf("%s", d ? "," : "[");
        if (dim->value >= 0)
            printf("%" PRId64, dim->value);
        else
            show_all(dim->symbol.length ? dim->symbol.data : "?");
    }
    puts(info->rank < 0 ? "" : info->rank ? "]" : "[]");
}

/* Prints what the model uses; the number of operators that are not supported. */
static int print_operators(const qn_model *model)
{
    qn_operator_info op;
    int missing = 0;
    for (int32_t i = 0; qn_model_operator(model, i, &op) == QN_OK; i++) {
        printf("operator ");
        show_all(op.domain.data);
        show_all(op.domain.length ? "." : "");
        show_all(op.name.data);
        printf(" opset %" PRId64 " x%" PRId64 "%s\n", op.opset, op.uses,
               op.supported ? "" : "  NOT SUPPORTED");
        missing += !op.supported;
    }
    return missing;
}

/* The number of unsupported operators. */
static int print_model(const qn_model *model)
{
    qn_model_info info;
    qn_tensor_info value;
    qn_kind kind;
    if (qn_model_describe(model, &info) != QN_OK)
        return 0;
    printf("graph    ");
    show_all(info.graph_name.data);
    printf(", IR version %" PRId64 ", by ", info.ir_version);
    show_all(info.producer.length ? info.producer.data : "(not stated)");
    putchar(' ');
    show_all(info.producer_version.data);
    printf("\nnodes    %" PRId64 ", functions %" PRId64 "\n", info.nodes, info.functions);
    printf("weights  %" PRId64 " parameters, %.3f MB\n", info.parameters,
           (double)info.weight_bytes / 1e6);
    for (int32_t i = 0; qn_model_input(model, i, &value) == QN_OK; i++)
        if (qn_model_input_kind(model, i, &kind) == QN_OK)
            print_value("input", &value, kind);
    for (int32_t i = 0; qn_model_output(model, i, &value) == QN_OK; i++)
        if (qn_model_output_kind(model, i, &kind) == QN_OK)
            print_value("output", &value, kind);
    return print_operators(model);
}

/* A list with a newline between its items, as one line with ", ". */
static void print_list(const char *text)
{
    for (; text && *text; text++) {
        if (*text != '\n')
            putchar(*text);
        else if (text[1])
            fputs(", ", stdout);
    }
}

static void print_kernels(const qn_program *program, int32_t init)
{
    qn_kernel_info k;
    for (int32_t i = 0; qn_program_kernel(program, init, i, &k) == QN_OK; i++) {
        printf("%s %-3d %s", init ? "load  " : "kernel", i, k.name.data);
        if (k.flops > 0)
            printf(", %.6g MFLOP", k.flops / 1e6);
        if (k.bytes >= 0)
            printf(", %.6g kB", (double)k.bytes / 1e3);
        if (k.times != 1)
            printf(k.times < 0 ? " an iteration" : " an iteration, %.0f iterations", k.times);
        printf(", phases %d\n    nodes: ", k.phases);
        print_list(k.nodes.data);
        printf("\n    schedule: %s\n", k.schedule.data ? k.schedule.data : "");
        if (k.why.length) {
            fputs("    fusion stopped: ", stdout);
            print_list(k.why.data);
            putchar('\n');
        }
    }
}

/* What a session takes, where the sizes are known and the program can run. */
static void print_session(Setup *setup)
{
    Fail fail = {"the program is for another machine"};
    qn_session_info info;
    if (setup->elsewhere || !setup_session(setup, &fail) ||
        qn_session_describe(setup->session, &info) != QN_OK) {
        printf("session  none: ");
        show_message(stdout, fail.text);
        putchar('\n');
        return;
    }
    printf("session  slab and scratch %.3f MB, packed constants %.3f MB made in %.1f ms\n",
           (double)info.memory_bytes / 1e6, (double)info.shared_bytes / 1e6, info.init_ms);
}

static void print_program(Setup *setup)
{
    const qn_program *program = setup->program;
    qn_program_info info;
    if (qn_program_describe(program, &info) != QN_OK)
        return;
    printf("target   %s\n", info.target.data);
    printf("kernels  %d steps a run, %d at load; %d distinct, %s\n", info.kernels,
           info.init_kernels, info.distinct_kernels,
           info.cached ? "from the cache" : "compiled now");
    printf("compile  %.1f ms\n", info.compile_ms);
    printf("memory   plan %" PRId64 " B, code %" PRId64 " B, weights %.3f MB\n", info.plan_bytes,
           info.object_bytes, (double)info.weight_bytes / 1e6);
    if (info.grows)
        printf("memory   grows in a run: sizes that only a run tells\n");
    print_session(setup);
    if (info.flops > 0)
        printf("flops    %.6g GFLOP a run\n", info.flops / 1e9);
    print_kernels(program, 1);
    print_kernels(program, 0);
}

typedef struct Work {
    Args args;
    Setup setup;
    bool model_only;
    const char *target; /* given as such: a device may have the same name */
    const struct Level *level;
} Work;

/* A target is compiled for whether it is there or not; without one a level has its own. */
static int set_target(Work *w)
{
    const struct Level *level = w->level;
    if (w->target && w->setup.device)
        return args_bad(&w->args, "--device %s or --target %s, not both", w->setup.device,
                        w->target);
    if (level)
        w->setup.keep_text = level->text;
    if (!w->target && !w->setup.device && level)
        w->target = level->target;
    bool device = w->setup.device && !w->target;
    bool host = !w->target || !strcmp(w->target, "cpu");
    const Caps *target = host ? target_host_cpu() : target_find(w->target);
    if (w->target)
        w->setup.device = w->target;
    w->setup.elsewhere = w->target && target && target != target_host_cpu();
    if (!level || !target || device)
        return EXIT_DONE;
    if (level->text == QN_TEXT_SOURCE && strcmp(language(target), level->name) != 0)
        return args_bad(&w->args, "kernels for %s are written in %s, not in %s", target->name,
                        language(target), level->name);
    if (level->text == QN_TEXT_PLACED && target->kind != TK_opencl && target->kind != TK_cuda)
        return args_bad(&w->args, "only programs for GPUs are placed, and %s is none",
                        target->name);
    if ((level->text & (QN_TEXT_LLVM | QN_TEXT_ASM)) && target->kind != TK_cpu)
        return args_bad(&w->args, "%s is not generated by LLVM", target->name);
    return EXIT_DONE;
}

static int parse(Work *w)
{
    Fail fail;
    for (int id; (id = args_next(&w->args)) != ARGS_END;) {
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_TARGET: w->target = w->args.value; break;
        case OPT_MODEL_ONLY: w->model_only = true; break;
        case OPT_IR:
            w->level = find_level(w->args.value);
            if (!w->level)
                return args_bad(&w->args,
                                "--ir takes graph, nest, tile, placed, llvm, asm, c, opencl or "
                                "cuda, not '%s'",
                                w->args.value);
            break;
        default:
            if (!setup_option(&w->setup, id, w->args.value, &fail))
                return args_bad(&w->args, "%s", fail.text);
        }
    }
    return set_target(w);
}

static bool work(Work *w, const char *path, Fail *fail)
{
    Setup *setup = &w->setup;
    if (!setup_open(setup, path, fail))
        return false;
    int missing = w->level ? 0 : print_model(setup->model);
    if (w->model_only)
        return true;
    if (missing)
        return fail_set(fail, "%s: %d operators are not supported; they are marked above", path,
                        missing);
    fflush(stdout);
    if (!setup_compile(setup, fail))
        return false;
    if (!w->level) {
        print_program(setup);
        return true;
    }
    qn_string text;
    setup->status = qn_program_text(setup->program, setup->keep_text, &text);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s: the compile made no such text for this device", path);
    fwrite(text.data, 1, text.length, stdout);
    return true;
}

int verb_inspect(int argc, char **argv)
{
    static Work w;
    w = (Work){.args = {.verb = "inspect",
                        .usage = "MODEL [OPTION...]",
                        .what = "Shows a model's inputs, outputs and operators, and the kernels "
                                "it is compiled to.",
                        .options = options,
                        .argc = argc,
                        .argv = argv}};
    int count, status = parse(&w);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    char **rest = args_rest(&w.args, &count);
    if (count != 1)
        return args_bad(&w.args, count ? "one model at a time" : "no model given");
    Fail fail = {""};
    bool done = work(&w, rest[0], &fail);
    setup_close(&w.setup);
    return done ? EXIT_DONE : args_failed(&w.args, "%s", fail.text);
}

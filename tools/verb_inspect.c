/* quern inspect: first what the file says (inputs, outputs, operators, everything unsupported at
 * once), then what it was compiled to: the kernels with the nodes fused into each and why fusion
 * stopped there, or one of the texts of the compile. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "tools/setup.h"
#include "tools/verbs.h"

enum { OPT_IR = 1, OPT_TARGET, OPT_MODEL_ONLY };

static const Option options[] = {
    {OPT_IR, "ir", "LEVEL", "print only this text: graph, nest, tile, llvm or asm"},
    {OPT_TARGET, "target", "NAME", "compile for this one of `quern devices`; the same as --device"},
    {OPT_MODEL_ONLY, "model-only", NULL, "do not compile"},
    SETUP_DIM_OPTIONS,
    SETUP_DEVICE_OPTIONS,
    SETUP_CACHE_OPTIONS,
    {0}};

static const struct {
    const char *name;
    uint32_t text;
} levels[] = {{"graph", QN_TEXT_GRAPH},
              {"nest", QN_TEXT_NEST},
              {"tile", QN_TEXT_TILE},
              {"llvm", QN_TEXT_LLVM},
              {"asm", QN_TEXT_ASM}};

static void print_value(const char *word, const qn_tensor_info *info)
{
    printf("%-8s %s %s", word, info->name.data, qn_dtype_name(info->dtype));
    if (info->rank < 0)
        printf(" of unknown rank");
    for (int32_t d = 0; d < info->rank; d++) {
        const qn_dim *dim = &info->dims[d];
        printf("%s", d ? "," : "[");
        if (dim->value >= 0)
            printf("%" PRId64, dim->value);
        else
            printf("%s", dim->symbol.length ? dim->symbol.data : "?");
    }
    puts(info->rank < 0 ? "" : info->rank ? "]" : "[]");
}

/* Prints what the model uses; the number of operators that are not supported. */
static int print_operators(const qn_model *model)
{
    qn_operator_info op;
    int missing = 0;
    for (int32_t i = 0; qn_model_operator(model, i, &op) == QN_OK; i++) {
        printf("operator %s%s%s opset %" PRId64 " x%" PRId64 "%s\n", op.domain.data,
               op.domain.length ? "." : "", op.name.data, op.opset, op.uses,
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
    if (qn_model_describe(model, &info) != QN_OK)
        return 0;
    printf("graph    %s, IR version %" PRId64 ", by %s %s\n", info.graph_name.data, info.ir_version,
           info.producer.length ? info.producer.data : "(not stated)",
           info.producer_version.data ? info.producer_version.data : "");
    printf("nodes    %" PRId64 ", functions %" PRId64 "\n", info.nodes, info.functions);
    printf("weights  %" PRId64 " parameters, %.3f MB\n", info.parameters,
           (double)info.weight_bytes / 1e6);
    for (int32_t i = 0; qn_model_input(model, i, &value) == QN_OK; i++)
        print_value("input", &value);
    for (int32_t i = 0; qn_model_output(model, i, &value) == QN_OK; i++)
        print_value("output", &value);
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

static void print_program(const qn_program *program)
{
    qn_program_info info;
    if (qn_program_describe(program, &info) != QN_OK)
        return;
    printf("target   %s\n", info.target.data);
    printf("kernels  %d steps a run, %d at load; %d distinct, %s\n", info.kernels,
           info.init_kernels, info.distinct_kernels,
           info.cached ? "from the cache" : "compiled now");
    printf("compile  %.1f ms\n", info.compile_ms);
    printf("memory   plan %" PRId64 " B, code %" PRId64 " B, weights %.3f MB, constants made at "
           "load %.3f MB\n",
           info.plan_bytes, info.object_bytes, (double)info.weight_bytes / 1e6,
           (double)info.init_bytes / 1e6);
    if (info.flops > 0)
        printf("flops    %.6g GFLOP a run\n", info.flops / 1e9);
    print_kernels(program, 1);
    print_kernels(program, 0);
}

static int parse(Args *args, Setup *setup, bool *model_only)
{
    Fail fail;
    for (int id; (id = args_next(args)) != ARGS_END;) {
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_TARGET: setup->device = args->value; break;
        case OPT_MODEL_ONLY: *model_only = true; break;
        case OPT_IR:
            for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
                if (!strcmp(levels[i].name, args->value))
                    setup->keep_text = levels[i].text;
            }
            if (!setup->keep_text)
                return args_bad(args, "--ir takes graph, nest, tile, llvm or asm, not '%s'",
                                args->value);
            break;
        default:
            if (!setup_option(setup, id, args->value, &fail))
                return args_bad(args, "%s", fail.text);
        }
    }
    return EXIT_DONE;
}

static bool work(Setup *setup, const char *path, bool model_only, Fail *fail)
{
    if (!setup_open(setup, path, fail))
        return false;
    int missing = setup->keep_text ? 0 : print_model(setup->model);
    if (model_only)
        return true;
    if (missing)
        return fail_set(fail, "%s: %d operators are not supported; they are marked above", path,
                        missing);
    fflush(stdout);
    if (!setup_compile(setup, fail))
        return false;
    if (!setup->keep_text) {
        print_program(setup->program);
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
    static Setup setup;
    bool model_only = false;
    Args args = {.verb = "inspect",
                 .usage = "MODEL [OPTION...]",
                 .what = "Shows a model's inputs, outputs and operators, and the kernels it is "
                         "compiled to.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    int status = parse(&args, &setup, &model_only);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    int count;
    char **rest = args_rest(&args, &count);
    if (count != 1)
        return args_bad(&args, count ? "one model at a time" : "no model given");
    Fail fail = {""};
    bool done = work(&setup, rest[0], model_only, &fail);
    setup_close(&setup);
    if (fflush(stdout) && done)
        done = fail_set(&fail, "standard output: %s", strerror(errno));
    return done ? EXIT_DONE : args_failed(&args, "%s", fail.text);
}

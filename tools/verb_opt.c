/* quern opt: text IR in, text IR (or code) out, one level at a time. */
#include <stdio.h>
#include <string.h>

#include "codegen/c_print.h"
#include "jit/llvm_module.h"
#include "passes/place_gpu.h"
#include "passes/schedule.h"
#include "tools/options.h"
#include "tools/text_file.h"
#include "tools/verbs.h"

enum { OPT_TO = 1, OPT_TARGET, OPT_SCHEDULE, OPT_LLVM };

static const Option options[] = {
    {OPT_TO, "to", "LEVEL",
     "nest, tile (default for nests), placed, llvm, asm, or the target's language: c, opencl, "
     "cuda"},
    {OPT_TARGET, "target", "NAME", "x86-64-v3, sm_80, opencl ..; default: this CPU"},
    {OPT_SCHEDULE, "schedule", "TEXT",
     "for instance 'contraction mr=8 nv=3'; default: the cost model's choice"},
    {OPT_LLVM, "llvm", "FILE", "the LLVM code generator to use"},
    {0}};

typedef struct Options {
    const char *target, *schedule, *to, *llvm, *file;
} Options;

static TileProg *scheduled(Cx *cx, const Options *o, Nest *nest, const Caps *caps)
{
    Schedule schedule = schedule_choose(cx, nest, caps);
    if (o->schedule) {
        Scan scan;
        scan_init(&scan, cx, "--schedule", o->schedule);
        if (!schedule_parse(&scan, &schedule))
            return NULL;
    }
    Lowered lowered;
    return schedule_apply(cx, nest, &schedule, caps, &lowered) ? lowered.prog : NULL;
}

/* The language a target's kernels are written in. */
static const char *language(const Caps *caps)
{
    switch (caps->kind) {
    case TK_cpu: return "c";
    case TK_opencl_cpu:
    case TK_opencl: return "opencl";
    case TK_cuda: return "cuda";
    }
    return "";
}

static bool is_gpu(const Caps *caps)
{
    return caps->kind == TK_opencl || caps->kind == TK_cuda;
}

static void print_program(Cx *cx, const Options *o, TileProg *prog, Text *out)
{
    const char *to = o->to ? o->to : "tile";
    bool code = strcmp(to, "c") == 0 || strcmp(to, "opencl") == 0 || strcmp(to, "cuda") == 0;
    LlvmModule llvm;
    if (code && strcmp(to, language(prog->caps)) != 0) {
        cx_fail(cx, ST_bad_argument, "kernels for %s are written in %s, not %s", prog->caps->name,
                language(prog->caps), to);
    } else if (strcmp(to, "tile") == 0) {
        tile_print(out, prog);
    } else if (code || strcmp(to, "placed") == 0) {
        if (is_gpu(prog->caps) && !prog->placed && !place_gpu(prog))
            return;
        if (code)
            c_print(cx, out, prog, dialect_for(prog->caps));
        else
            tile_print(out, prog);
    } else if (strcmp(to, "nest") == 0) {
        cx_fail(cx, ST_bad_argument, "%s holds a tile program, which no nest is made of", o->file);
    } else if (llvm_module_open(cx, &llvm, o->llvm)) {
        (to[0] == 'l' ? llvm.api->text : llvm.api->assembly)(cx, &prog, 1, prog->caps,
                                                             (LlvmOptions){0}, out);
    }
}

/* The first word of the file, after comments, says what it holds. */
static bool starts_with(Cx *cx, const char *text, const char *word)
{
    Scan scan;
    scan_init(&scan, cx, NULL, text);
    return scan_is(&scan, word);
}

static void run(Cx *cx, void *user)
{
    const Options *o = user;
    const Caps *caps = o->target ? target_find(o->target) : target_host_cpu();
    char *text = text_file_read(cx, o->file);
    Text out;
    text_init(&out, cx->arena);
    if (!caps)
        cx_fail(cx, ST_bad_argument, "unknown target '%s'; quern devices lists them",
                o->target ? o->target : "cpu");
    if (cx_failed(cx))
        return;
    if (starts_with(cx, text, "tile")) {
        TileProg *prog = tile_parse(cx, o->file, text);
        if (prog && tile_verify(prog))
            print_program(cx, o, prog, &out);
    } else {
        Nest *nest = nest_parse(cx, o->file, text);
        if (!nest || !nest_verify(nest))
            return;
        TileProg *prog = o->to && strcmp(o->to, "nest") == 0 ? NULL : scheduled(cx, o, nest, caps);
        if (prog)
            print_program(cx, o, prog, &out);
        else if (!cx_failed(cx))
            nest_print(&out, nest);
    }
    if (!cx_failed(cx))
        fputs(out.data, stdout);
}

static bool is_level(const char *name)
{
    static const char *const levels[] = {"nest", "tile", "placed", "llvm",
                                         "asm",  "c",    "opencl", "cuda"};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (!strcmp(levels[i], name))
            return true;
    return false;
}

/* EXIT_DONE to go on, -1 when the help was asked for. */
static int parse(Args *args, Options *o)
{
    for (int id; (id = args_next(args)) != ARGS_END;) {
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_TARGET: o->target = args->value; break;
        case OPT_SCHEDULE: o->schedule = args->value; break;
        case OPT_LLVM: o->llvm = args->value; break;
        case OPT_TO:
            o->to = args->value;
            if (!is_level(o->to))
                return args_bad(args,
                                "--to takes nest, tile, placed, llvm, asm, c, opencl or cuda, "
                                "not '%s'",
                                o->to);
            break;
        }
    }
    return EXIT_DONE;
}

int verb_opt(int argc, char **argv)
{
    Options o = {0};
    Args args = {.verb = "opt",
                 .usage = "FILE [OPTION...]",
                 .what = "Reads a nest or a tile program (text), verifies it, takes it to the "
                         "level asked for and prints that.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    int count, status = parse(&args, &o);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    char **rest = args_rest(&args, &count);
    if (count != 1)
        return args_bad(&args, count ? "one file at a time" : "no file given");
    o.file = rest[0];
    Cx cx;
    cx_init(&cx, NULL, 0);
    if (cx_run(&cx, run, &o) != ST_ok)
        status = args_failed(&args, "%s", cx.message);
    cx_finish(&cx);
    return status;
}

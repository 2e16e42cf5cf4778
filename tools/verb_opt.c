/* quern opt: text IR in, text IR (or code) out, one level at a time. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "codegen/c_print.h"
#include "jit/llvm_module.h"
#include "passes/place_gpu.h"
#include "passes/schedule.h"
#include "tools/text_file.h"
#include "tools/verbs.h"

typedef struct Options {
    const char *target, *schedule, *to, *llvm, *file;
} Options;

static const char help[] =
    "usage: quern opt [options] FILE\n"
    "\n"
    "Reads a nest or a tile program (text), verifies it, takes it to the level asked for and "
    "prints that.\n"
    "\n"
    "  --to LEVEL        nest, tile (default for nests), placed, llvm, asm, or the target's "
    "language:\n"
    "                    c, opencl, cuda\n"
    "  --target T        x86-64-v3, x86-64-v4, opencl-cpu, opencl, sm_75, sm_80, sm_90a (default: "
    "this CPU)\n"
    "  --schedule TEXT   for instance 'contraction mr=8 nv=3' (default: the cost model's choice)\n"
    "  --llvm FILE       the LLVM code generator to use\n"
    "  --help\n"
    "\n"
    "Exit status: 0 done, 1 the input is wrong or cannot be taken there, 2 wrong command line.\n";

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
    } else if (strcmp(to, "llvm") != 0 && strcmp(to, "asm") != 0) {
        cx_fail(cx, ST_bad_argument,
                "--to knows nest, tile, placed, c, opencl, cuda, llvm and asm, not '%s'", to);
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

int verb_opt(int argc, char **argv)
{
    static const struct option table[] = {{"target", 1, 0, 't'}, {"schedule", 1, 0, 's'},
                                          {"to", 1, 0, 'o'},     {"llvm", 1, 0, 'l'},
                                          {"help", 0, 0, 'h'},   {0, 0, 0, 0}};
    Options o = {0};
    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        switch (c) {
        case 't': o.target = optarg; break;
        case 's': o.schedule = optarg; break;
        case 'o': o.to = optarg; break;
        case 'l': o.llvm = optarg; break;
        case 'h': fputs(help, stdout); return EXIT_DONE;
        default: return EXIT_BAD_USAGE;
        }
    }
    if (optind != argc - 1) {
        fputs(help, stderr);
        return EXIT_BAD_USAGE;
    }
    o.file = argv[optind];
    Cx cx;
    cx_init(&cx, NULL, 0);
    int status = EXIT_DONE;
    if (cx_run(&cx, run, &o) != ST_ok) {
        fprintf(stderr, "quern opt: %s\n", cx.message);
        status = EXIT_FAILED;
    }
    cx_finish(&cx);
    return status;
}

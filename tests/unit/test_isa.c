/* An object is for the level it names: the machine code of every small golden nest and of random
 * nests, compiled for x86-64-v3, holds no AVX-512 instruction, and for x86-64-v4 nothing of the
 * extensions beyond that level.
 *
 * Objects are disassembled when a disassembler is installed: in 64-bit code the first byte 0x62 is
 * the EVEX prefix, which all of AVX-512 and nothing else has. Without one the assembly text is read
 * for registers and names. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jit/llvm_module.h"
#include "tests/property/random_case.h"
#include "tests/unit/golden.h"

enum { MOST = 160, RANDOM_SEEDS = 5 };

/* Instructions of extensions that x86-64-v4 does not have: names begin so. */
static const char *const beyond_v4[] = {
    "vpdp",         "vdpbf16",     "vcvtne",       "vpermb",      "vpermi2b",  "vpermt2b",
    "vpmultishift", "vpcompressb", "vpcompressw",  "vpexpandb",   "vpexpandw", "vpshld",
    "vpshrd",       "vpmadd52",    "vpopcnt",      "vpshufbit",   "gf2p8",     "vgf2p8",
    "vaes",         "vpclmul",     "vp2intersect", "tdp",         "tileload",  "vaddph",
    "vmulph",       "vfmadd132ph", "vfmadd213ph",  "vfmadd231ph", "vmaxph",    "vminph"};
/* What the text of AVX-512 code has and older code has not. */
static const char *const beyond_v3[] = {"zmm",   "%k0",   "%k1",  "%k2",
                                        "ymm16", "xmm16", "{1to", "vpternlog"};

typedef struct Job {
    const char *level;
    int count;
    TileProg *progs[MOST];
    ObjectBytes object;
    char *assembly;
    LlvmModule llvm;
} Job;

static void add_nest(Cx *cx, Job *job, Nest *nest, int number)
{
    const Caps *caps = target_find(job->level);
    Lowered lowered;
    if (!nest)
        return;
    nest->name = arena_printf(cx->arena, "n%d_%s", number, nest->name);
    Schedule schedule = schedule_choose(cx, nest, caps);
    if (job->count < MOST && schedule_apply(cx, nest, &schedule, caps, &lowered))
        job->progs[job->count++] = lowered.prog;
}

static void add_golden(Cx *cx, Job *job)
{
    glob_t found;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/nest/*_small.nest", 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc && !cx_failed(cx); i++) {
        char *text = golden_read(found.gl_pathv[i]);
        Source source = {found.gl_pathv[i], text, 0, RN_count};
        add_nest(cx, job, source_nest(cx, &source), job->count);
        free(text);
    }
    globfree(&found);
}

static void compile(Cx *cx, void *user)
{
    Job *job = user;
    const Caps *caps = target_find(job->level);
    Text text;
    add_golden(cx, job);
    for (int kind = 0; kind < RN_count; kind++)
        for (uint64_t seed = 0; seed < RANDOM_SEEDS && !cx_failed(cx); seed++) {
            Source source = {"random", NULL, seed, (RandomKind)kind};
            add_nest(cx, job, source_nest(cx, &source), job->count);
        }
    text_init(&text, cx->arena);
    if (cx_failed(cx) || !llvm_module_open(cx, &job->llvm, NULL) ||
        !job->llvm.api->emit(cx, job->progs, job->count, caps, (LlvmOptions){0}, &job->object) ||
        !job->llvm.api->assembly(cx, job->progs, job->count, caps, (LlvmOptions){0}, &text))
        return;
    job->assembly = text.data;
}

static bool has_prefix(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(name, list[i], strlen(list[i])) == 0)
            return true;
    return false;
}

/* Lines of the assembly that the level does not have; the first one is copied out. */
static int count_in_text(const char *text, bool v3, char first[200])
{
    int count = 0;
    for (const char *line = text; *line;
         line += strcspn(line, "\n") + (strchr(line, '\n') != NULL)) {
        char copy[200];
        size_t length = strcspn(line, "\n");
        snprintf(copy, sizeof copy, "%.*s", (int)(length < 199 ? length : 199), line);
        const char *name = copy + strspn(copy, " \t");
        bool bad =
            *name != '.' && has_prefix(name, beyond_v4, sizeof beyond_v4 / sizeof *beyond_v4);
        for (size_t i = 0; v3 && i < sizeof beyond_v3 / sizeof *beyond_v3; i++)
            bad |= strstr(name, beyond_v3[i]) != NULL;
        if (bad && !count++)
            strcpy(first, copy);
    }
    return count;
}

/* Instructions of a listing whose first byte is the EVEX prefix, and all instructions. */
static int count_evex(FILE *listing, int *all)
{
    char line[1000];
    int count = 0;
    while (fgets(line, sizeof line, listing)) {
        unsigned byte;
        char *colon = strchr(line, ':');
        if (!colon || strspn(line, " \t0123456789abcdef") != (size_t)(colon - line) ||
            sscanf(colon + 1, " %2x", &byte) != 1)
            continue;
        ++*all;
        count += byte == 0x62;
    }
    return count;
}

static const char *find_disassembler(void)
{
    static const char *const names[] = {"llvm-objdump-19", "llvm-objdump", "objdump"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char command[100];
        snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", names[i]);
        if (system(command) == 0)
            return names[i];
    }
    return NULL;
}

/* -1: there is no disassembler. */
static int disassemble(const ObjectBytes *object, int *all)
{
    const char *tool = find_disassembler();
    char path[] = "quern_isa_XXXXXX", command[200];
    if (!tool)
        return -1;
    int file = mkstemp(path);
    cr_assert(file >= 0);
    cr_assert(write(file, object->data, object->size) == (ssize_t)object->size);
    close(file);
    snprintf(command, sizeof command, "%s -d -w %s", tool, path);
    FILE *listing = popen(command, "r");
    cr_assert(listing);
    int count = count_evex(listing, all);
    pclose(listing);
    unlink(path);
    return count;
}

static void check_level(const char *level, bool v3)
{
    Job *job = calloc(1, sizeof *job);
    Cx cx;
    char first[200] = "";
    int all = 0;
    job->level = level;
    cx_init(&cx, NULL, 0);
    cr_assert(cx_run(&cx, compile, job) == ST_ok, "%s", cx.message);
    cr_expect(job->count > 60);
    int bad = count_in_text(job->assembly, v3, first);
    cr_expect(bad == 0, "%d lines for %s, the first: %s", bad, level, first);
    int evex = disassemble(&job->object, &all);
    if (evex >= 0) {
        cr_expect(all > 5000, "only %d instructions", all);
        cr_expect(v3 ? evex == 0 : evex > 1000, "%d of %d instructions are AVX-512", evex, all);
    }
    if (!v3)
        cr_expect(count_in_text(job->assembly, true, first) > 1000, "the check finds nothing");
    llvm_module_close(&job->llvm);
    cx_finish(&cx);
    free(job);
}

Test(isa, v3_has_no_avx512)
{
    check_level("x86-64-v3", true);
}

Test(isa, v4_has_nothing_beyond)
{
    check_level("x86-64-v4", false);
}

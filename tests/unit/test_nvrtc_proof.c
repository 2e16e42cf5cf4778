/* The proof nests at their real sizes, as CUDA: the cost model's schedule, placed, printed,
 * compiled by NVRTC to a CUBIN without an error, without a spill and within the target's shared
 * memory. Needs no GPU; skipped with its reason when there is no NVRTC. The quick run compiles
 * every nest for one of three targets in turn, QUERN_LONG for all of them, with a table of what
 * came out. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/os_file.h"
#include "codegen/c_print.h"
#include "jit/build_nvrtc.h"
#include "passes/place_gpu.h"
#include "passes/schedule.h"

static const char *const targets[] = {"sm_75", "sm_80", "sm_90a"};
enum { TARGETS = 3 };

typedef struct Proof {
    const char *file, *target;
    NvrtcBuild build;
    int64_t shared;
    char schedule[128];
    char *source;
} Proof;

static void prove(Cx *cx, void *user)
{
    Proof *p = user;
    char *text;
    size_t size;
    int error = os_read_file(cx->arena, p->file, 1 << 20, &text, &size);
    if (error) {
        cx_fail(cx, ST_io, "%s: %s", p->file, os_error_text(error));
        return;
    }
    Nest *nest = nest_parse(cx, p->file, text);
    const Caps *caps = target_find(p->target);
    if (cx_failed(cx) || !nest_verify(nest))
        return;
    Schedule schedule = schedule_choose(cx, nest, caps);
    Lowered lowered;
    Text out;
    text_init(&out, cx->arena);
    schedule_print(&out, &schedule);
    snprintf(p->schedule, sizeof p->schedule, "%s", out.data);
    if (!schedule_apply(cx, nest, &schedule, caps, &lowered) || !place_gpu(lowered.prog) ||
        !tile_verify(lowered.prog))
        return;
    text_init(&out, cx->arena);
    if (!c_print(cx, &out, lowered.prog, &dialect_cuda))
        return;
    for (uint32_t i = 0; i < lowered.prog->grid_count; i++) {
        int64_t shared = c_shared_bytes(lowered.prog, lowered.prog->grids[i]);
        p->shared = shared > p->shared ? shared : p->shared;
    }
    p->source = strdup(out.data);
    if (build_nvrtc(cx, out.data, caps, &p->build))
        p->build.log = strdup(p->build.log);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void check(const char *file, const char *target, bool table)
{
    Proof p = {.file = file, .target = target};
    const char *name = strrchr(file, '/') + 1;
    Cx cx;
    double start = seconds();
    cx_init(&cx, NULL, 0);
    cx_run(&cx, prove, &p);
    if (table)
        fprintf(stderr,
                "%-34s %-6s %3d registers %4d spilled %6lld shared %6zu bytes %5.2f s  %s\n", name,
                target, p.build.registers, p.build.spill_bytes, (long long)p.shared, p.build.size,
                seconds() - start, p.schedule);
    cr_expect(cx.status == ST_ok, "%s, %s, '%s': %s", name, target, p.schedule,
              cx.message ? cx.message : "?");
    if (cx.status == ST_ok) {
        cr_expect(p.build.size > 0 && p.build.registers > 0, "%s, %s", name, target);
        cr_expect_eq(p.build.spill_bytes, 0, "%s, %s, '%s': spills\n%s", name, target, p.schedule,
                     p.build.log);
        cr_expect(p.shared <= target_find(target)->shared_bytes, "%s, %s", name, target);
    }
    cx_finish(&cx);
    free(p.source);
}

/* Every second nest from `first` on: two tests share the work. */
static void check_half(size_t first)
{
    glob_t found;
    const char *why = "?";
    int major, minor, proofs = 0;
    if (!build_nvrtc_version(&major, &minor, &why)) {
        fprintf(stderr, "skipped: %s\n", why);
        cr_skip_test("%s", why);
    }
    bool all = getenv("QUERN_LONG") != NULL;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/nest/*.nest", 0, NULL, &found) == 0);
    for (size_t i = 0, number = 0; i < found.gl_pathc; i++) {
        if (strstr(found.gl_pathv[i], "_small.nest") || number++ % 2 != first)
            continue;
        for (size_t t = 0; t < TARGETS; t++)
            if (all || t == number / 2 % TARGETS) {
                check(found.gl_pathv[i], targets[t], all);
                proofs++;
            }
    }
    cr_expect(proofs > 10);
    globfree(&found);
}

Test(nvrtc_proof, even)
{
    check_half(0);
}
Test(nvrtc_proof, odd)
{
    check_half(1);
}

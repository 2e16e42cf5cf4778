/* The LLVM emitter: compiled, loaded, run, compared with plain C. */
#include <pthread.h>

#include "base/os_file.h"
#include "passes/schedule.h"
#include "tests/unit/llvm_run.h"

static const char gemm[] = "tile gemm_bias %s {\n"
                           "  dim M 1..512\n"
                           "  in A f32 [M, 96]\n"
                           "  const B f32 [3, 96, %d] align 64\n"
                           "  out Y f32 [M, %d]\n"
                           "  grid (jb 3, ib (M + %d) floordiv %d) {\n"
                           "    tile acc f32 [%d, %d] register\n"
                           "    map (i %d, j %d) { %%0 = const f32 0  store acc[i, j] %%0 }\n"
                           "    for k 0..96 step 4 {\n"
                           "      mma acc (i %d, j %d, r 4) bound i M - %d*ib {\n"
                           "        a %%0 = load A[%d*ib + i, k + r]\n"
                           "        b %%1 = load B[jb, k + r, j]\n"
                           "      }\n"
                           "    }\n"
                           "    map (i %d, j %d) bound i M - %d*ib {\n"
                           "      %%0 = tile acc[i, j]  store Y[%d*ib + i, %d*jb + j] %%0\n"
                           "    }\n"
                           "  }\n"
                           "}\n";

static char *gemm_text(const char *target, int mr, int nr)
{
    static char text[4096];
    snprintf(text, sizeof text, gemm, target, nr, 3 * nr, mr - 1, mr, mr, nr, mr, nr, mr, nr, mr,
             mr, mr, nr, mr, mr, nr);
    return text;
}

enum { K = 96 };

static void check_gemm(const char *target, int mr, int nr, int rows)
{
    if (!kernel_runs(target))
        return;
    Kernel k;
    cr_assert_eq(kernel_open(&k, gemm_text(target, mr, nr), target), ST_ok, "%s", k.cx.message);
    int columns = 3 * nr;
    float *a = malloc(sizeof(float) * (size_t)rows * K),
          *b = malloc(sizeof(float) * (size_t)columns * K);
    float *y = malloc(sizeof(float) * ((size_t)rows * (size_t)columns + 1));
    for (int i = 0; i < rows * K; i++)
        a[i] = (float)(i * 7 % 13 - 6);
    for (int i = 0; i < columns * K; i++)
        b[i] = (float)(i * 5 % 11 - 5);
    y[rows * columns] = 12345;
    int64_t dims[] = {rows}, tasks = 3 * ((rows + mr - 1) / mr);
    kernel_run(&k, 0, (void *[]){a, b, y}, dims, 0, tasks / 2);
    kernel_run(&k, 0, (void *[]){a, b, y}, dims, tasks / 2, tasks);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            float sum = 0;
            for (int q = 0; q < K; q++)
                sum += a[i * K + q] * b[j / nr * K * nr + q * nr + j % nr];
            cr_assert_eq(y[i * columns + j], sum, "%s %dx%d: Y[%d, %d] is %g, not %g", target, mr,
                         nr, i, j, (double)y[i * columns + j], (double)sum);
        }
    }
    cr_assert_eq(y[rows * columns], 12345);
    free(a);
    free(b);
    free(y);
    kernel_close(&k);
}

Test(llvm, gemm)
{
    static const int rows[] = {1, 7, 8, 19, 64};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_gemm("x86-64-v4", 8, 48, rows[i]);
        check_gemm("x86-64-v3", 6, 16, rows[i]);
    }
    check_gemm("x86-64-v4", 5, 19, 12);
    check_gemm("x86-64-v3", 3, 3, 12);
}

typedef struct Asm {
    const char *text, *target;
    char *out;
} Asm;

static void asm_body(Cx *cx, void *user)
{
    Asm *a = user;
    LlvmModule llvm;
    Text text;
    text_init(&text, cx->arena);
    TileProg *prog = tile_parse(cx, "test", a->text);
    if (cx_failed(cx) || !llvm_module_open(cx, &llvm, NULL))
        return;
    if (llvm.api->assembly(cx, &prog, 1, target_find(a->target), (LlvmOptions){0}, &text))
        a->out = strdup(text.data);
    llvm_module_close(&llvm);
}

static char *assembly(const char *text, const char *target)
{
    Asm a = {.text = text, .target = target};
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, asm_body, &a), ST_ok, "%s", cx.message);
    cx_finish(&cx);
    return a.out;
}

/* Vector registers that go through the stack. */
static int count_spills(char *text)
{
    int count = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        count += strstr(line, "(%rsp)") && (strstr(line, "%zmm") || strstr(line, "%ymm"));
    return count;
}

Test(llvm, micro_kernels_do_not_spill)
{
    static const struct {
        const char *target;
        int mr, nr;
    } tiles[] = {{"x86-64-v4", 8, 48},
                 {"x86-64-v4", 6, 64},
                 {"x86-64-v4", 7, 32},
                 {"x86-64-v4", 14, 32},
                 {"x86-64-v3", 6, 16}};
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        char *text =
            assembly(gemm_text(tiles[i].target, tiles[i].mr, tiles[i].nr), tiles[i].target);
        cr_assert(strstr(text, "vfmadd231ps"));
        int spills = count_spills(text);
        cr_expect_eq(spills, 0, "%dx%d: %d spills", tiles[i].mr, tiles[i].nr, spills);
        free(text);
    }
}

typedef struct NestAsm {
    const char *name, *target;
    char *out;
} NestAsm;

/* A golden nest under the cost model's schedule. */
static void nest_asm_body(Cx *cx, void *user)
{
    NestAsm *a = user;
    LlvmModule llvm;
    Lowered lowered;
    char file[4096], *source;
    size_t size;
    snprintf(file, sizeof file, "%s/tests/golden/nest/%s.nest", QUERN_SOURCE_DIR, a->name);
    cr_assert_eq(os_read_file(cx->arena, file, 1 << 20, &source, &size), 0, "%s", file);
    Nest *nest = nest_parse(cx, file, source);
    const Caps *caps = target_find(a->target);
    if (cx_failed(cx) || !nest_verify(nest))
        return;
    Schedule schedule = schedule_choose(cx, nest, caps);
    Text text;
    text_init(&text, cx->arena);
    if (!schedule_apply(cx, nest, &schedule, caps, &lowered) || !llvm_module_open(cx, &llvm, NULL))
        return;
    if (llvm.api->assembly(cx, &lowered.prog, 1, caps, (LlvmOptions){0}, &text))
        a->out = strdup(text.data);
    llvm_module_close(&llvm);
}

/* Several steps of k without a loop between them (three channels) tempt LLVM's machine scheduler to
 * load everything first; it is switched off where the LLVM is our own. */
Test(llvm, contractions_do_not_spill)
{
#ifndef QUERN_LLVM_PRIVATE
    cr_skip_test("a shared libLLVM with its own options");
#endif
    static const char *const names[] = {"conv7x7s2", "conv3x3s2", "conv1x1", "gemm_512_run"};
    static const char *const targets[] = {"x86-64-v4", "x86-64-v3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t t = 0; t < 2; t++) {
            NestAsm a = {.name = names[i], .target = targets[t]};
            Cx cx;
            cx_init(&cx, NULL, 0);
            cr_assert_eq(cx_run(&cx, nest_asm_body, &a), ST_ok, "%s: %s", a.name, cx.message);
            cx_finish(&cx);
            int spills = count_spills(a.out);
            cr_expect_eq(spills, 0, "%s, %s: %d spills", a.name, a.target, spills);
            free(a.out);
        }
}

/* Whole blocks of a transposition go through one function; parts of blocks are cheaper in place. */
Test(llvm, whole_blocks_are_turned_by_a_call)
{
    static const struct {
        const char *name;
        bool call;
    } nests[] = {{"pack_1x1", true}, {"transpose7", false}};
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++) {
        NestAsm a = {.name = nests[i].name, .target = "x86-64-v4"};
        Cx cx;
        cx_init(&cx, NULL, 0);
        cr_assert_eq(cx_run(&cx, nest_asm_body, &a), ST_ok, "%s: %s", a.name, cx.message);
        cx_finish(&cx);
        cr_expect_eq(strstr(a.out, "\tcallq\t") != NULL, nests[i].call, "%s", a.name);
        cr_expect(strstr(a.out, "vunpcklps"), "%s", a.name);
        cr_expect_eq(count_spills(a.out), 0, "%s", a.name);
        free(a.out);
    }
}

Test(llvm, other_targets_are_refused)
{
    static const char *const targets[] = {"aarch64", "sm_80", "opencl"};
    for (int i = 0; i < 3; i++) {
        Kernel k;
        cr_assert_eq(kernel_open(&k, gemm_text("x86-64-v3", 3, 16), targets[i]), ST_unsupported);
        cr_assert(strstr(k.cx.message, targets[i]), "%s", k.cx.message);
        kernel_close(&k);
    }
}

/* Code for AVX2 machines has no 512-bit register, mask register or 17th register. */
Test(llvm, code_keeps_to_its_level)
{
    char *text = assembly(gemm_text("x86-64-v3", 6, 16), "x86-64-v3");
    cr_assert(strstr(text, "%ymm"));
    static const char *const above[] = {"%zmm", "%k0", "%k1", "%ymm16", "%xmm16", "{1to"};
    for (size_t i = 0; i < sizeof above / sizeof *above; i++)
        cr_expect_null(strstr(text, above[i]), "%s", above[i]);
    free(text);
}

Test(llvm, same_bytes_every_time)
{
    char *a = assembly(gemm_text("x86-64-v4", 8, 48), "x86-64-v4");
    char *b = assembly(gemm_text("x86-64-v4", 8, 48), "x86-64-v4");
    cr_assert_str_eq(a, b);
    free(a);
    free(b);
}

typedef struct Worker {
    pthread_t thread;
    const LlvmApi *api;
    const char *text;
    uint8_t *bytes;
    size_t size;
} Worker;

static void worker_body(Cx *cx, void *user)
{
    Worker *w = user;
    ObjectBytes out;
    TileProg *prog = tile_parse(cx, "test", w->text);
    if (cx_failed(cx) ||
        !w->api->emit(cx, &prog, 1, target_find("x86-64-v3"), (LlvmOptions){0}, &out))
        return;
    w->bytes = malloc(out.size);
    w->size = out.size;
    memcpy(w->bytes, out.data, out.size);
}

static void *worker_run(void *user)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, worker_body, user);
    cx_finish(&cx);
    return NULL;
}

/* Jobs on several threads do not meet, and give the same object. */
Test(llvm, threads_compile_at_once)
{
    enum { THREADS = 4 };
    Worker workers[THREADS];
    LlvmModule llvm;
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert(llvm_module_open(&cx, &llvm, NULL), "%s", cx.message);
    char *text = gemm_text("x86-64-v3", 6, 16);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (Worker){.api = llvm.api, .text = text};
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    llvm_module_close(&llvm);
    for (int i = 0; i < THREADS; i++) {
        cr_assert(workers[i].bytes && workers[i].size == workers[0].size);
        cr_assert_eq(memcmp(workers[i].bytes, workers[0].bytes, workers[0].size), 0);
    }
    for (int i = 0; i < THREADS; i++)
        free(workers[i].bytes);
    cx_finish(&cx);
}

/* Memory refused at any moment ends the job, not the process. */
Test(llvm, out_of_memory_is_an_error)
{
    Worker w = {.text = gemm_text("x86-64-v3", 6, 16)};
    LlvmModule llvm;
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert(llvm_module_open(&cx, &llvm, NULL), "%s", cx.message);
    w.api = llvm.api;
    int failures = 0;
    for (size_t limit = 16 << 10; limit < 4 << 20; limit += limit / 4) {
        Cx job;
        cx_init(&job, NULL, limit);
        Status status = cx_run(&job, worker_body, &w);
        cr_assert(status == ST_ok || status == ST_out_of_memory, "%s", job.message);
        failures += status != ST_ok;
        free(w.bytes);
        w.bytes = NULL;
        cx_finish(&job);
    }
    cr_assert(failures > 0);
    llvm_module_close(&llvm);
    cx_finish(&cx);
}

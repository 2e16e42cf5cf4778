/* Kernels that may last end when they are cancelled, and compute what the others do when not: the
 * strips in which they look have no seams. How long a kernel may last follows from the bounds of
 * its dims, so that small sizes show all of it. */
#include "tests/unit/llvm_run.h"

#define HUGE "1099511627776"

/* Y[j] = number of turns; 16129 turns a strip or so. */
#define TURNS(most)                                                                                \
    "tile turns x86-64-v3 {\n"                                                                     \
    "  dim N 0.." most "\n"                                                                        \
    "  out Y f32 [16]\n"                                                                           \
    "  grid (g 1) {\n"                                                                             \
    "    tile acc f32 [16] register\n"                                                             \
    "    map (j 16) { %0 = const f32 0  store acc[j] %0 }\n"                                       \
    "    for r 0..N {\n"                                                                           \
    "      map (j 16) {\n"                                                                         \
    "        %0 = tile acc[j]  %1 = const f32 1  %2 = add f32 %0, %1  store acc[j] %2\n"           \
    "      }\n"                                                                                    \
    "    }\n"                                                                                      \
    "    map (j 16) { %0 = tile acc[j]  store Y[j] %0 }\n"                                         \
    "  }\n"                                                                                        \
    "}\n"

/* Y[i] += 1 for i < N, 64 at a time. */
static const char steps[] = "tile steps x86-64-v3 {\n"
                            "  dim N 0.." HUGE "\n"
                            "  in X f32 [N]\n"
                            "  out Y f32 [N]\n"
                            "  grid (g 1) {\n"
                            "    for r 0..N step 64 {\n"
                            "      map (j 64) bound j N - r {\n"
                            "        %0 = load X[r + j] if 0 <= r + j < N else 0\n"
                            "        %1 = const f32 1  %2 = add f32 %0, %1  store Y[r + j] %2\n"
                            "      }\n"
                            "    }\n"
                            "  }\n"
                            "}\n";

/* Y[g] = g for all tasks. */
static const char tasks[] = "tile tasks x86-64-v3 {\n"
                            "  dim N 0.." HUGE "\n"
                            "  out Y i64 [N]\n"
                            "  grid (g N) {\n"
                            "    map (j 1) { %0 = index i64 g  store Y[g] %0 }\n"
                            "  }\n"
                            "}\n";

/* Y[j] = N * 65536, in loops of which the outer one looks after every turn. */
static const char nested[] =
    "tile nested x86-64-v3 {\n"
    "  dim N 0.." HUGE "\n"
    "  out Y i64 [4]\n"
    "  grid (g 1) {\n"
    "    tile acc i64 [4] register\n"
    "    map (j 4) { %0 = const i64 0  store acc[j] %0 }\n"
    "    for r 0..N {\n"
    "      for q 0..65536 {\n"
    "        map (j 4) {\n"
    "          %0 = tile acc[j]  %1 = const i64 1  %2 = add i64 %0, %1  store acc[j] %2\n"
    "        }\n"
    "      }\n"
    "    }\n"
    "    map (j 4) { %0 = tile acc[j]  store Y[j] %0 }\n"
    "  }\n"
    "}\n";

static Kernel kernel;

static void open(const char *text)
{
    if (!kernel_runs("x86-64-v3"))
        cr_skip_test("not on this machine");
    cr_assert_eq(kernel_open(&kernel, text, "x86-64-v3"), ST_ok, "%s", kernel.cx.message);
}

static const int64_t sizes[] = {0,     1,     2,     63,    64,    65,    16127, 16128,
                                16129, 16130, 16131, 16132, 16133, 16134, 32256, 50000};
enum { SIZES = sizeof sizes / sizeof *sizes };

Test(llvm_poll, turns)
{
    float y[16];
    open(TURNS(HUGE));
    for (int i = 0; i < SIZES; i++) {
        kernel_run(&kernel, 0, (void *[]){y}, &sizes[i], 0, 1);
        for (int j = 0; j < 16; j++)
            cr_assert_eq(y[j], (float)sizes[i], "%lld turns, not %g", (long long)sizes[i],
                         (double)y[j]);
    }
    cr_assert_eq(kernel.error, 0);
    kernel.cancel = 1;
    y[0] = -1;
    kernel_run(&kernel, 0, (void *[]){y}, &(int64_t){INT64_C(1) << 40}, 0, 1);
    cr_assert_eq(kernel.error, ABI_CANCELLED);
    cr_assert_eq(y[0], -1);
    kernel_close(&kernel);
}

/* One that cannot last does not look. */
Test(llvm_poll, short_kernels)
{
    float y[16];
    open(TURNS("100000"));
    kernel.cancel = 1;
    kernel_run(&kernel, 0, (void *[]){y}, &sizes[SIZES - 1], 0, 1);
    cr_assert_eq(kernel.error, 0);
    cr_assert_eq(y[0], (float)sizes[SIZES - 1]);
    kernel_close(&kernel);
}

Test(llvm_poll, steps)
{
    enum { STEP = 64, MOST = 40 * 16384 };
    float *x = calloc(MOST + 1, sizeof *x), *y = calloc(MOST + 1, sizeof *y);
    open(steps);
    for (int64_t n = 0; n < MOST; n = n * 5 + 3) {
        for (int64_t i = 0; i <= MOST; i++)
            x[i] = y[i] = (float)(i % 1000);
        kernel_run(&kernel, 0, (void *[]){x, y}, &n, 0, 1);
        for (int64_t i = 0; i <= MOST; i++)
            cr_assert_eq(y[i], x[i] + (i < n), "N %lld, at %lld", (long long)n, (long long)i);
    }
    kernel.cancel = 1;
    y[MOST - 1] = -1;
    kernel_run(&kernel, 0, (void *[]){x, y}, &(int64_t){MOST}, 0, 1);
    cr_assert_eq(kernel.error, ABI_CANCELLED);
    cr_assert_eq(y[MOST - 1], -1);
    free(x);
    free(y);
    kernel_close(&kernel);
}

Test(llvm_poll, tasks)
{
    enum { MOST = 2000000 };
    int64_t *y = malloc(MOST * sizeof *y), n = MOST;
    open(tasks);
    memset(y, 0xFF, MOST * sizeof *y);
    kernel_run(&kernel, 0, (void *[]){y}, &n, 17, MOST - 17);
    for (int64_t i = 0; i < MOST; i++)
        cr_assert_eq(y[i], i < 17 || i >= MOST - 17 ? -1 : i);
    kernel.cancel = 1;
    memset(y, 0xFF, MOST * sizeof *y);
    kernel_run(&kernel, 0, (void *[]){y}, &n, 0, MOST);
    cr_assert_eq(kernel.error, ABI_CANCELLED);
    cr_assert_eq(y[MOST - 1], -1);
    free(y);
    kernel_close(&kernel);
}

Test(llvm_poll, nested)
{
    int64_t y[4] = {-1};
    open(nested);
    for (int64_t n = 0; n < 40; n += 13) {
        kernel_run(&kernel, 0, (void *[]){y}, &n, 0, 1);
        cr_assert_eq(y[0], n * 65536);
        cr_assert_eq(y[3], n * 65536);
    }
    kernel.cancel = 1;
    y[0] = -1;
    kernel_run(&kernel, 0, (void *[]){y}, &(int64_t){INT64_C(1) << 40}, 0, 1);
    cr_assert_eq(kernel.error, ABI_CANCELLED);
    cr_assert_eq(y[0], -1);
    kernel_close(&kernel);
}

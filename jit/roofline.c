/* Peak loops. Functions are compiled for the level they measure. A rate is the best of many
 * samples, and a sample is short, since on a machine with other work to do only a short one has a
 * chance to run undisturbed; working sets that take longer are gone over piece by piece. */
#include "jit/roofline.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double roofline_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* --- loops of one thread --- */

/* READ_LOOP: `turns` times 512 bytes, `rounds` times over. Four pieces of 128 bytes lie `apart`, a
 * turn goes on by `step`: one stream with 128 and 512, four streams with a quarter of the memory
 * and 128. */
#define READ_LOOP(name, vector_bytes, attributes)                                                  \
    attributes static float name(const char *from, size_t apart, size_t step, long turns,          \
                                 long rounds)                                                      \
    {                                                                                              \
        enum { BYTES = vector_bytes, EACH = 128 / BYTES };                                         \
        typedef float Vector __attribute__((vector_size(BYTES)));                                  \
        Vector sums[8] = {{0}};                                                                    \
        for (long r = 0; r < rounds; r++) {                                                        \
            const char *at = from;                                                                 \
            for (long i = 0; i < turns; i++, at += step)                                           \
                _Pragma("GCC unroll 16") for (size_t k = 0; k < 4 * EACH; k++) sums[k % 8] +=      \
                    *(const Vector *)(at + k / EACH * apart + k % EACH * BYTES);                   \
        }                                                                                          \
        for (int k = 1; k < 8; k++)                                                                \
            sums[0] += sums[k];                                                                    \
        return sums[0][0];                                                                         \
    }

/* COPY_LOOP: `turns` times 512 bytes. */
#define COPY_LOOP(name, vector_bytes, attributes)                                                  \
    attributes static void name(char *to, const char *from, long turns)                            \
    {                                                                                              \
        enum { BYTES = vector_bytes };                                                             \
        typedef float Vector __attribute__((vector_size(BYTES)));                                  \
        for (long i = 0; i < turns; i++, to += 512, from += 512)                                   \
            _Pragma("GCC unroll 32") for (size_t k = 0; k < 512; k += BYTES) *                     \
                (Vector *)(to + k) = *(const Vector *)(from + k);                                  \
    }

#ifdef __x86_64__
#define FOR_ISA(isa) __attribute__((target(isa), noinline))
/* 12 chains: two multiply-adds a cycle at a latency of four need eight. */
#define FMA_LOOP(name, V, fma, splat, first, isa)                                                  \
    FOR_ISA(isa) static float name(long rounds)                                                    \
    {                                                                                              \
        V a[12], x = splat(0.7f), y = splat(1e-9f);                                                \
        for (int k = 0; k < 12; k++)                                                               \
            a[k] = splat((float)k);                                                                \
        for (long i = 0; i < rounds; i++)                                                          \
            _Pragma("GCC unroll 12") for (int k = 0; k < 12; k++) a[k] = fma(a[k], x, y);          \
        for (int k = 1; k < 12; k++)                                                               \
            a[0] = fma(a[0], x, a[k]);                                                             \
        return first(a[0]);                                                                        \
    }
FMA_LOOP(fma_512, __m512, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_cvtss_f32, "avx512f,fma")
FMA_LOOP(fma_256, __m256, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_cvtss_f32, "avx2,fma")
READ_LOOP(read_512, 64, FOR_ISA("avx512f"))
READ_LOOP(read_256, 32, FOR_ISA("avx2"))
COPY_LOOP(copy_512, 64, FOR_ISA("avx512f"))
COPY_LOOP(copy_256, 32, FOR_ISA("avx2"))
#else
static float fma_plain(long rounds)
{
    float a[16] = {0};
    for (long i = 0; i < rounds; i++)
        for (int k = 0; k < 16; k++)
            a[k] = a[k] * 0.7f + 1e-9f;
    return a[0] + a[15];
}
READ_LOOP(read_plain, 16, )
COPY_LOOP(copy_plain, 16, )
#endif

typedef struct Loops {
    float (*fma)(long rounds);
    double fma_flops; /* of a round */
    float (*read)(const char *from, size_t apart, size_t step, long turns, long rounds);
    void (*copy)(char *to, const char *from, long turns);
} Loops;

static Loops loops_for(const Caps *caps)
{
#ifdef __x86_64__
    return caps->vector_bits >= 512 ? (Loops){fma_512, 2 * 12 * 16, read_512, copy_512}
                                    : (Loops){fma_256, 2 * 12 * 8, read_256, copy_256};
#else
    (void)caps;
    return (Loops){fma_plain, 2 * 16, read_plain, copy_plain};
#endif
}

/* --- all workers --- */

typedef struct Probe Probe;

/* Sample number `sample` of a worker's task. */
typedef float SampleFn(const Probe *probe, int64_t task, long sample);

struct Probe {
    const Executor *executor;
    SampleFn *run;
    double work; /* of a sample */
    Loops loops;
    char *memory; /* of all tasks */
    size_t size;  /* of one task's */
    size_t piece; /* of it, for one sample */
    long rounds;
    double *rates; /* by task */
};

static int worker_count(const Probe *probe)
{
    return probe->executor->worker_count(probe->executor->user);
}

static double best_rate(const Probe *probe, int64_t task)
{
    static const double most_processor = 0.1, most_time = 1;
    double best = 0, start = roofline_now(), end = start;
    double used = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    volatile float sink = 0;
    for (long n = 0;
         end - start < most_time && seconds_of(CLOCK_THREAD_CPUTIME_ID) - used < most_processor;
         n++) {
        double begin = roofline_now();
        sink += probe->run(probe, task, n);
        end = roofline_now();
        double rate = probe->work / (end - begin);
        best = rate > best ? rate : best;
    }
    (void)sink;
    return best;
}

static void measure_tasks(void *arg, int64_t begin, int64_t end, int worker)
{
    const Probe *probe = arg;
    (void)worker;
    for (int64_t task = begin; task < end; task++)
        probe->rates[task] = best_rate(probe, task);
}

/* Every worker's own best, added up: on a busy machine they are hardly ever undisturbed together.
 */
static double measure(Probe *probe)
{
    int workers = worker_count(probe);
    double sum = 0;
    probe->rates = calloc((size_t)workers, sizeof *probe->rates);
    if (!probe->rates)
        return 0;
    probe->executor->parallel_for(probe->executor->user, workers, measure_tasks, probe);
    for (int i = 0; i < workers; i++)
        sum += probe->rates[i];
    free(probe->rates);
    return sum;
}

static float sample_fma(const Probe *probe, int64_t task, long sample)
{
    (void)task;
    (void)sample;
    return probe->loops.fma(probe->rounds);
}

double roofline_fma(const Caps *caps, const Executor *executor)
{
    enum { ROUNDS = 100000 };
    Probe probe = {
        .executor = executor, .run = sample_fma, .loops = loops_for(caps), .rounds = ROUNDS};
    probe.work = probe.loops.fma_flops * ROUNDS;
    return measure(&probe);
}

/* Where a task reads in this sample: the piece of its memory whose turn it is. */
static char *piece_of(const Probe *probe, int64_t task, long sample)
{
    size_t turn = (size_t)sample % (probe->size / probe->piece);
    return probe->memory + (size_t)task * probe->size + turn * probe->piece;
}

/* The whole in one stream, then in four, by turns: which is faster differs by level of cache. */
static float sample_read(const Probe *probe, int64_t task, long sample)
{
    bool four = (size_t)sample / (probe->size / probe->piece) % 2;
    return probe->loops.read(piece_of(probe, task, sample), four ? probe->piece / 4 : 128,
                             four ? 128 : 512, (long)(probe->piece / 512), probe->rounds);
}

/* By the C library, then by a plain loop, by turns. */
static float sample_copy(const Probe *probe, int64_t task, long sample)
{
    char *from = piece_of(probe, task, sample), *to = from + probe->piece / 2;
    bool plain = (size_t)sample / (probe->size / probe->piece) % 2;
    for (long r = 0; r < probe->rounds; r++) {
        if (plain)
            probe->loops.copy(to, from, (long)(probe->piece / 1024));
        else
            memcpy(to, from, probe->piece / 2);
        __asm__ volatile("" : : "r"(to) : "memory"); /* every round is done */
    }
    return 0;
}

/* Gives each task's memory its pages, on the worker that is likely to read them. */
static void touch_tasks(void *arg, int64_t begin, int64_t end, int worker)
{
    const Probe *probe = arg;
    (void)worker;
    memset(probe->memory + (size_t)begin * probe->size, 0, (size_t)(end - begin) * probe->size);
}

/* Below the least working set all is in the innermost cache, however little it is. */
static double bandwidth(Probe *probe, double bytes)
{
    enum { UNIT = 1024, LEAST = 4 << 10, PIECE = 16 << 20, SAMPLE = 16 << 20 };
    int workers = worker_count(probe);
    double each = bytes / workers;
    size_t wanted = each > LEAST ? (size_t)each : LEAST, pieces = (wanted + PIECE - 1) / PIECE;
    probe->piece = (wanted / pieces + UNIT - 1) / UNIT * UNIT;
    probe->size = probe->piece * pieces;
    probe->rounds = (long)(SAMPLE / probe->piece);
    probe->work = (double)probe->piece * (double)probe->rounds;
    size_t all = probe->size * (size_t)workers;
    probe->memory = allocator_system.alloc(allocator_system.user, all, 64);
    if (!probe->memory)
        return 0;
    probe->executor->parallel_for(probe->executor->user, workers, touch_tasks, probe);
    double rate = measure(probe);
    allocator_system.release(allocator_system.user, probe->memory, all);
    return rate;
}

double roofline_read(const Caps *caps, const Executor *executor, double bytes)
{
    Probe probe = {.executor = executor, .run = sample_read, .loops = loops_for(caps)};
    return bandwidth(&probe, bytes);
}

double roofline_copy(const Caps *caps, const Executor *executor, double bytes)
{
    Probe probe = {.executor = executor, .run = sample_copy, .loops = loops_for(caps)};
    return bandwidth(&probe, bytes);
}

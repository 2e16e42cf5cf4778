/* Peak loops. The vector types are GCC's: 64 bytes are one register on AVX-512 and two on AVX2,
 * which is why the loops have enough independent chains for both. Functions are compiled for the
 * level they measure. */
#include "jit/roofline.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef float V16 __attribute__((vector_size(64)));

double roofline_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#ifdef __x86_64__
/* 12 chains: two multiply-adds a cycle at a latency of four need eight. */
#define FMA_LOOP(name, V, fma, splat, first, isa)                                                  \
    __attribute__((target(isa), noinline)) static float name(long rounds)                          \
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
#else
static float fma_plain(long rounds)
{
    float a[16] = {0};
    for (long i = 0; i < rounds; i++)
        for (int k = 0; k < 16; k++)
            a[k] = a[k] * 0.7f + 1e-9f;
    return a[0] + a[15];
}
#endif

double roofline_fma(const Caps *caps)
{
    enum { ROUNDS = 100000 };
    double best = 0;
    volatile float sink = 0;
    for (int i = 0; i < 12; i++) {
        double start = roofline_now(), lanes = 16, chains = 12;
#ifdef __x86_64__
        if (caps->vector_bits >= 512) {
            sink += fma_512(ROUNDS);
        } else {
            sink += fma_256(ROUNDS);
            lanes = 8;
        }
#else
        (void)caps;
        sink += fma_plain(ROUNDS);
        lanes = 16;
        chains = 1;
#endif
        double rate = 2.0 * chains * lanes * ROUNDS / (roofline_now() - start);
        if (rate > best)
            best = rate;
    }
    (void)sink;
    return best * 1e-9;
}

static double best_rate(double bytes, char *from, char *to)
{
    double best = 0;
    size_t size = (size_t)bytes;
    long rounds = (long)(2e7 / (bytes + 1)) + 1;
    volatile char sink = 0;
    for (int i = 0; i < 9; i++) {
        double start = roofline_now();
        for (long r = 0; r < rounds; r++) {
            if (to) {
                memcpy(to, from, size / 2);
                __asm__ volatile("" : : "r"(to) : "memory");
            } else {
                V16 sum[4] = {{0}};
                for (size_t at = 0; at + 256 <= size; at += 256)
                    for (int k = 0; k < 4; k++)
                        sum[k] += *(const V16 *)(from + at + 64 * k);
                sink = (char)(sink + (char)(sum[0] + sum[1] + sum[2] + sum[3])[0]);
            }
        }
        double rate = (double)rounds * bytes / (roofline_now() - start);
        if (rate > best)
            best = rate;
    }
    return best;
}

static double measure(double bytes, int copy)
{
    size_t size = ((size_t)bytes + 511) / 64 * 64;
    char *from = aligned_alloc(64, size), *to = copy ? aligned_alloc(64, size) : NULL;
    double rate = 0;
    if (from && (to || !copy)) {
        memset(from, 0, size);
        if (to)
            memset(to, 0, size);
        rate = best_rate(bytes, from, to);
    }
    free(from);
    free(to);
    return rate;
}

double roofline_copy(double bytes)
{
    return measure(bytes, 1);
}

double roofline_read(double bytes)
{
    return measure(bytes, 0);
}

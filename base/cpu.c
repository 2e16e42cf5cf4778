/* The level of the CPU we run on. A level counts when every feature it names is there, not only the
 * widest: virtual machines mask some. */
#include "base/cpu.h"

#include <stddef.h>
#include <string.h>

typedef struct Level {
    const char *name;
    bool (*runs)(void);
} Level;

#if defined(__x86_64__)
static bool runs_v3(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("sse4.2");
}

static bool runs_v4(void)
{
    return runs_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#else
static bool runs_v3(void)
{
    return false;
}

static bool runs_v4(void)
{
    return false;
}
#endif

static bool runs_aarch64(void)
{
#if defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

static const Level levels[] = {
    {"x86-64-v4", runs_v4}, {"x86-64-v3", runs_v3}, {"aarch64", runs_aarch64}};

enum { LEVEL_COUNT = sizeof levels / sizeof *levels };

const char *cpu_level_at(int index)
{
    return index >= 0 && index < LEVEL_COUNT ? levels[index].name : NULL;
}

const char *cpu_level(void)
{
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (levels[i].runs())
            return levels[i].name;
    return NULL;
}

bool cpu_runs(const char *level)
{
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (strcmp(levels[i].name, level) == 0)
            return levels[i].runs();
    return false;
}

/* The named targets (targets.def) and the level of the CPU we run on. */
#include "ir/target.h"

#include <stddef.h>
#include <string.h>

#define KIB 1024
#define NO_LLVM .triple = "", .cpu = "", .features = ""

static const Caps targets[] = {
#define TARGET(name_, kind_, ...) {.name = name_, .kind = TK_##kind_, __VA_ARGS__},
#include "ir/targets.def"
#undef TARGET
};

enum { TARGET_COUNT = sizeof targets / sizeof *targets };

const Caps *target_at(int index)
{
    return index >= 0 && index < TARGET_COUNT ? &targets[index] : NULL;
}

const Caps *target_find(const char *name)
{
    if (strcmp(name, "cpu") == 0)
        return target_host_cpu();
    for (int i = 0; i < TARGET_COUNT; i++)
        if (strcmp(targets[i].name, name) == 0)
            return &targets[i];
    return NULL;
}

#if defined(__x86_64__)
/* Every feature the level names, not only the widest: virtual machines mask some. */
static const char *host_level(void)
{
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("sse4.2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? "x86-64-v4" : v3 ? "x86-64-v3" : NULL;
}
#elif defined(__aarch64__)
static const char *host_level(void)
{
    return "aarch64";
}
#else
static const char *host_level(void)
{
    return NULL;
}
#endif

const Caps *target_host_cpu(void)
{
    const char *level = host_level();
    return level ? target_find(level) : NULL;
}

/* The named targets (targets.def) and the level of the CPU we run on. */
#include "ir/target.h"

#include <stddef.h>
#include <string.h>

#include "base/cpu.h"

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

const Caps *target_host_cpu(void)
{
    const char *level = cpu_level();
    return level ? target_find(level) : NULL;
}

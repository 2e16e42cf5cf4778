/* The floating-point environment kernels are called with: round to nearest, denormals kept, no
 * traps. */
#ifndef QUERN_RUNTIME_FLOAT_ENV_H
#define QUERN_RUNTIME_FLOAT_ENV_H

#include <stdint.h>

#if defined(__x86_64__)
enum { FLOAT_ENV = 0x1F80 };
static inline uint64_t float_env_get(void)
{
    return __builtin_ia32_stmxcsr();
}
static inline void float_env_set(uint64_t env)
{
    __builtin_ia32_ldmxcsr((uint32_t)env);
}
#elif defined(__aarch64__)
enum { FLOAT_ENV = 0 };
static inline uint64_t float_env_get(void)
{
    uint64_t env;
    __asm__ volatile("mrs %0, fpcr" : "=r"(env));
    return env;
}
static inline void float_env_set(uint64_t env)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(env));
}
#else
#error "floating-point environment of this processor"
#endif

/* Returns what was there, for float_env_leave. Writing the register is slow, so it is left alone
 * when it is right; the status flags of x86 (the low 6 bits) do not count. */
static inline uint64_t float_env_enter(void)
{
    uint64_t before = float_env_get();
    if ((before & ~UINT64_C(63)) != FLOAT_ENV)
        float_env_set(FLOAT_ENV);
    return before;
}
static inline void float_env_leave(uint64_t before)
{
    if ((before & ~UINT64_C(63)) != FLOAT_ENV)
        float_env_set(before);
}

#endif

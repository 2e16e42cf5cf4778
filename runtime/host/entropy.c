/* A key for random numbers, another one each time: time, a counter of calls and the operand, mixed.
 * Not for secrets. */
#include <stdatomic.h>
#include <time.h>

#include "runtime/host/args.h"

/* host_entropy: salt (a number that sets places of a model apart) -> key [2], u64, each below 2^32.
 */
static const HostParam entropy_in[] = {{"salt", TYPE(i64), 0, 0, false}};
static const HostParam entropy_out[] = {{"key", TYPE(u64), 1, 1, false}};
static const HostForm form = {"entropy", entropy_in, entropy_out, 1, 1, false};

/* The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

Status host_entropy(HostCall *call)
{
    static atomic_uint_fast64_t calls;
    int64_t salt, dims[] = {2};
    if (!args_check(call, &form) || !args_int(call, &form, 0, INT64_MIN, INT64_MAX, &salt))
        return args_status(call);
    uint64_t *key = call->output(call, 0, 1, dims);
    if (!key)
        return args_status(call);
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    uint64_t x = mix((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    x = mix(x + mix((uint64_t)salt) + (uint64_t)(uintptr_t)&now);
    x = mix(x + atomic_fetch_add(&calls, 1) * 0x9E3779B97F4A7C15u);
    key[0] = x & 0xFFFFFFFF;
    key[1] = x >> 32;
    return ST_ok;
}

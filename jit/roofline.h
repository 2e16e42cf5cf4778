/* What this machine can do, measured now: the yardstick beside every kernel's time. A rate is that
 * of all workers of an executor at the same time, each with the best of many short samples: 0.1 s
 * of its processor time, a second at most. */
#ifndef QUERN_JIT_ROOFLINE_H
#define QUERN_JIT_ROOFLINE_H

#include "base/pool.h"
#include "ir/target.h"

/* float32 multiply-adds with independent chains at the target's vector width, a second; an FMA is
 * two. */
double roofline_fma(const Caps *caps, const Executor *executor);
/* Bytes a second of reading `bytes`, cut into one piece for each worker, again and again in vectors
 * of the target's width: the bandwidth of the level of cache that such a working set lives in. 0
 * when memory is refused. */
double roofline_read(const Caps *caps, const Executor *executor, double bytes);
/* The same, read plus written, of copying `bytes` / 2 to `bytes` / 2. */
double roofline_copy(const Caps *caps, const Executor *executor, double bytes);
/* Seconds, monotonic. */
double roofline_now(void);

#endif

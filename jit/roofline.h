/* What this machine can do, measured now: the yardstick beside every kernel's time. One thread. */
#ifndef QUERN_JIT_ROOFLINE_H
#define QUERN_JIT_ROOFLINE_H

#include "ir/target.h"

/* float32 multiply-adds with independent chains at the target's vector width, in GFLOP/s (an FMA is two). Takes about 5 ms. */
double roofline_fma(const Caps *caps);
/* Bytes per second, read plus written, of copying `bytes` / 2 to `bytes` / 2 again and again: the bandwidth of the level of
 * cache that a working set of `bytes` lives in. 0 when memory is refused. */
double roofline_copy(double bytes);
/* The same for reading `bytes`. */
double roofline_read(double bytes);
/* Seconds, monotonic. */
double roofline_now(void);

#endif

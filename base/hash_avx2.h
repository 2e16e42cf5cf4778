/* Inside of hash.c. */
#ifndef QUERN_BASE_HASH_AVX2_H
#define QUERN_BASE_HASH_AVX2_H

#include "base/hash.h"

/* As hash_bytes, on a processor with AVX2. */
Hash128 hash_bytes_avx2(const void *data, size_t size);

#endif

/* XXH3 for processors with AVX2: this file is compiled for them (base/CMakeLists.txt), and called by
 * hash.c on no other. The digest is the same. */
#include "base/hash_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

Hash128 hash_bytes_avx2(const void *data, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits(data, size);
    return (Hash128){hash.high64, hash.low64};
}

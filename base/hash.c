/* Content hashes by XXH3: 128 bits for identities, 64 for tables. */
#include "base/hash.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/hash_avx2.h"

_Static_assert(sizeof(Hasher) >= sizeof(XXH3_state_t), "Hasher holds the library's state");
_Static_assert(_Alignof(Hasher) >= _Alignof(XXH3_state_t), "Hasher is aligned for it");

static Hash128 from_library(XXH128_hash_t hash)
{
    return (Hash128){hash.high64, hash.low64};
}

void hash_init(Hasher *hasher)
{
    memset(hasher, 0, sizeof *hasher);
    XXH3_128bits_reset((XXH3_state_t *)hasher);
}

void hash_add(Hasher *hasher, const void *data, size_t size)
{
    if (size)
        XXH3_128bits_update((XXH3_state_t *)hasher, data, size);
}

void hash_add_int(Hasher *hasher, int64_t value)
{
    unsigned char bytes[8];
    for (int b = 0; b < 8; b++)
        bytes[b] = (unsigned char)((uint64_t)value >> (8 * b));
    hash_add(hasher, bytes, sizeof bytes);
}

void hash_add_text(Hasher *hasher, const char *text)
{
    size_t length = strlen(text);
    hash_add_int(hasher, (int64_t)length);
    hash_add(hasher, text, length);
}

Hash128 hash_finish(const Hasher *hasher)
{
    return from_library(XXH3_128bits_digest((const XXH3_state_t *)hasher));
}

/* Vectors of 32 bytes: twice as fast on what is long. */
static bool is_wide(size_t size)
{
#ifdef __x86_64__
    return size >= 1024 && __builtin_cpu_supports("avx2");
#else
    (void)size;
    return false;
#endif
}

Hash128 hash_bytes(const void *data, size_t size)
{
    if (is_wide(size))
        return hash_bytes_avx2(data, size);
    return from_library(XXH3_128bits(size ? data : "", size));
}

uint64_t hash_bytes64(const void *data, size_t size)
{
    return XXH3_64bits(size ? data : "", size);
}

static const char digits[] = "0123456789abcdef";

void hash_to_hex(Hash128 hash, char text[HASH_HEX_SIZE])
{
    for (int i = 0; i < 32; i++) {
        uint64_t half = i < 16 ? hash.high : hash.low;
        text[i] = digits[half >> (60 - 4 * (i % 16)) & 15];
    }
    text[32] = 0;
}

bool hash_from_hex(const char *text, Hash128 *hash)
{
    uint64_t halves[2] = {0, 0};
    for (int i = 0; i < 32; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        halves[i / 16] = halves[i / 16] << 4 | (uint64_t)(digit - digits);
    }
    *hash = (Hash128){halves[0], halves[1]};
    return text[32] == 0;
}

/* Content hashes: 128 bits, fast, not cryptographic. Keys of caches and identities of weights.
 *
 * The digest depends on the sequence of bytes only, not on how it was cut into hash_add calls. */
#ifndef QUERN_BASE_HASH_H
#define QUERN_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Hash128 {
    uint64_t high, low;
} Hash128;

typedef struct Hasher {
    _Alignas(64) unsigned char state[576];
} Hasher;

void hash_init(Hasher *hasher);
void hash_add(Hasher *hasher, const void *data, size_t size);
/* The length, then the bytes: a sequence of texts is hashed without ambiguity. */
void hash_add_text(Hasher *hasher, const char *text);
/* As 8 bytes, least significant first. */
void hash_add_int(Hasher *hasher, int64_t value);
/* May be followed by more hash_add. */
Hash128 hash_finish(const Hasher *hasher);

Hash128 hash_bytes(const void *data, size_t size);
/* For tables in memory. */
uint64_t hash_bytes64(const void *data, size_t size);

static inline bool hash_equal(Hash128 a, Hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

/* 32 lower-case hexadecimal digits, high half first. */
enum { HASH_HEX_SIZE = 33 };
void hash_to_hex(Hash128 hash, char text[HASH_HEX_SIZE]);
/* False unless `text` is exactly such digits. */
bool hash_from_hex(const char *text, Hash128 *hash);

#endif

/* Content hashes and the hash map. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "base/cx.h"
#include "base/hash.h"
#include "base/map.h"

Test(hash, known_value)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(hash_bytes("", 0), hex);
    cr_expect_str_eq(hex, "99aa06d3014798d86001c324468d497f", "XXH3_128 of nothing: %s", hex);
    hash_to_hex(hash_bytes(NULL, 0), hex);
    cr_expect_str_eq(hex, "99aa06d3014798d86001c324468d497f");
}

Test(hash, pieces_do_not_matter)
{
    unsigned char data[3000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 37 + i / 251);
    Hash128 whole = hash_bytes(data, sizeof data);
    for (size_t step = 1; step < sizeof data; step = step * 2 + 1) {
        Hasher hasher;
        hash_init(&hasher);
        for (size_t at = 0; at < sizeof data; at += step)
            hash_add(&hasher, data + at, sizeof data - at < step ? sizeof data - at : step);
        cr_expect(hash_equal(hash_finish(&hasher), whole), "step %zu", step);
        hash_add(&hasher, data, 1);
        cr_expect(!hash_equal(hash_finish(&hasher), whole), "goes on after finish");
    }
}

static Hash128 two_texts(const char *a, const char *b)
{
    Hasher hasher;
    hash_init(&hasher);
    hash_add_text(&hasher, a);
    hash_add_text(&hasher, b);
    return hash_finish(&hasher);
}

Test(hash, texts_are_apart)
{
    cr_expect(hash_equal(two_texts("ab", "c"), two_texts("ab", "c")));
    cr_expect(!hash_equal(two_texts("ab", "c"), two_texts("a", "bc")));
    Hasher a, b;
    hash_init(&a);
    hash_init(&b);
    hash_add_int(&a, 0x0102);
    hash_add(&b, "\2\1\0\0\0\0\0\0", 8);
    cr_expect(hash_equal(hash_finish(&a), hash_finish(&b)), "integers are little-endian");
}

Test(hash, hex)
{
    Hash128 hash = {0x0123456789abcdef, 0xfedcba9876543210}, back;
    char hex[HASH_HEX_SIZE];
    hash_to_hex(hash, hex);
    cr_expect_str_eq(hex, "0123456789abcdeffedcba9876543210");
    cr_expect(hash_from_hex(hex, &back) && hash_equal(hash, back));
    cr_expect(!hash_from_hex("0123456789abcdeffedcba987654321", &back));
    cr_expect(!hash_from_hex("0123456789abcdeffedcba98765432100", &back));
    cr_expect(!hash_from_hex("0123456789abcdefFedcba9876543210", &back));
    cr_expect(!hash_from_hex("", &back));
}

Test(map, many_keys)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    Map map;
    map_init(&map, cx.arena);
    static int values[5000];
    cr_expect_null(map_find_text(&map, "k0"));
    for (int i = 0; i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_null(map_set_text(&map, key, &values[i]));
    }
    cr_expect_eq(map.count, 5000);
    for (int i = 0; i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(map_find_text(&map, key), &values[i]);
        cr_assert_str_eq(map.entries[i].key, key, "in order");
    }
    cr_expect_null(map_find_text(&map, "k5000"));
    cr_expect_eq(map_set_text(&map, "k7", &values[1]), &values[7]);
    cr_expect_eq(map_find_text(&map, "k7"), &values[1]);
    cr_expect_eq(map.count, 5000);
    cx_finish(&cx);
}

Test(map, keys_are_bytes)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    Map map;
    map_init(&map, cx.arena);
    int a, b, c;
    map_set(&map, "x\0y", 3, &a);
    map_set(&map, "x\0z", 3, &b);
    map_set(&map, NULL, 0, &c);
    cr_expect_eq(map_find(&map, "x\0y", 3), &a);
    cr_expect_eq(map_find(&map, "x\0z", 3), &b);
    cr_expect_eq(map_find(&map, "", 0), &c);
    cr_expect_null(map_find(&map, "x", 1));
    cx_finish(&cx);
}

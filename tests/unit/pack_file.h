/* For tests of packs: a pack of three entries in a folder of the test's own, and what is found in
 * it. */
#ifndef QUERN_TESTS_PACK_FILE_H
#define QUERN_TESTS_PACK_FILE_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "runtime/pack.h"
#include "tests/unit/scratch_dir.h"

static char path[64];
static Cx cx;

static inline void pack_file_start(void)
{
    scratch_make();
    snprintf(path, sizeof path, "%s/p.qnp", scratch_dir);
    cx_init(&cx, NULL, 0);
}

static inline void pack_file_stop(void)
{
    cx_finish(&cx);
    scratch_drop();
}

static char bodies[3][200];

static inline const char *parts_of(int number, const char *records)
{
    return arena_printf(cx.arena, "kind program\nnumber %d\n%s", number, records);
}

static inline Entry entry_of(int number, size_t size)
{
    memset(bodies[number], 'a' + number, sizeof bodies[number]);
    return (Entry){ENTRY_program, parts_of(number, ""), bodies[number], size};
}

static inline void write_small(void)
{
    PackList list = {0};
    for (int i = 0; i < 3; i++) {
        Entry entry = entry_of(i, 67 * (size_t)i);
        pack_list_add(&cx, &list, &entry);
    }
    cr_assert(pack_write(&cx, &executor_inline, path, &list), "%s", cx.message);
}

static inline void forget(void)
{
    cx.status = ST_ok;
    cx.message = NULL;
}

/* 1: there and right, 0: a miss, -1: an error. Anything else fails the test. */
static inline int look(const Pack *pack, int number)
{
    Entry found;
    Storage *storage = (Storage *)(uintptr_t)&pack->storage;
    bool there =
        storage_get(storage, &cx, &executor_inline, entry_key(parts_of(number, "")), &found);
    if (cx_failed(&cx)) {
        cr_assert_not(there);
        cr_assert_eq(cx.status, ST_bad_file);
        forget();
        return -1;
    }
    if (!there)
        return 0;
    Entry wanted = entry_of(number, 67 * (size_t)number);
    cr_assert_eq(found.kind, wanted.kind);
    cr_assert_str_eq(found.parts, wanted.parts);
    cr_assert_eq(found.size, wanted.size);
    cr_assert_eq((uintptr_t)found.data % ENTRY_ALIGN, 0);
    cr_assert_eq(memcmp(found.data, wanted.data, wanted.size), 0);
    return 1;
}

/* Tries the file as it is now: the number of entries that are there. */
static inline int count_whole(void)
{
    Pack pack;
    int count = 0;
    if (!pack_open(&cx, path, &pack)) {
        cr_assert_eq(cx.status, ST_bad_file);
        cr_assert_not_null(strstr(cx.message, path));
        forget();
        return -1;
    }
    for (int i = 0; i < 3; i++)
        count += look(&pack, i) == 1;
    pack_close(&pack);
    return count;
}

#endif

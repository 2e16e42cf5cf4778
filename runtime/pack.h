/* A pack: entries of several programs, models and targets in one file that is mapped. Read-only.
 *
 *   magic[8] version:8 size:8 count:8 hash:16 0[16]
 *   count * { key:16 offset:8 size:8 }   ascending by key; the hash covers all of this and what is
 *                                        before it but itself
 *   entries (storage.h), each at a multiple of 64, 64 zeros behind the last
 *
 * The keys are base keys. A pack is hostile input: opening checks form, sizes, offsets and that no
 * two entries overlap; getting an entry checks that entry. The file must not be changed in place
 * while it is open (os_file.h). */
#ifndef QUERN_RUNTIME_PACK_H
#define QUERN_RUNTIME_PACK_H

#include "runtime/storage.h"

enum { PACK_VERSION = 1 };

typedef struct Pack {
    Storage storage;
    OsMap map; /* OS_MAP_NONE when it is in memory */
    const unsigned char *data;
    size_t size;
    uint32_t count;
} Pack;

/* `path` stays the caller's. False after cx_fail, with nothing to close. */
bool pack_open(Cx *cx, const char *path, Pack *pack);
/* The same of memory, which stays the caller's: aligned to ENTRY_ALIGN it is used where it lies,
 * else copied into the job's arena. */
bool pack_open_memory(Cx *cx, const void *data, size_t size, Pack *pack);
void pack_close(Pack *pack); /* an all-zero Pack is allowed */

/* Entry number `index` in the order of keys, checked; false after cx_fail when it is damaged. */
bool pack_entry(Cx *cx, const Pack *pack, const Executor *executor, uint32_t index, Entry *entry);

/* What is to be written: of two entries with the same base key the later one counts. The entries
 * are referred to. */
typedef struct PackItem {
    Hash128 key;
    Entry entry;
} PackItem;
typedef struct PackList {
    PackItem *items;
    uint32_t count, capacity;
} PackList;
void pack_list_add(Cx *cx, PackList *list, const Entry *entry);
/* Writes beside `path`, then renames. False after cx_fail; then nothing was written. */
bool pack_write(Cx *cx, const Executor *executor, const char *path, const PackList *list);

#endif

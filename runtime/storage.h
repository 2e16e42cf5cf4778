/* What is kept between processes: entries, and the places they are kept in.
 *
 * An entry is named by what it depends on, its *parts*: a text of lines "name value". The key is
 * the hash of that text, so an entry knows what it is for, and two entries can be compared in words
 * (explain.h). The line "records ..." is the last one when there is one; the *base* key leaves it
 * out. Directories go by the whole key; packs by the base key: who ships a pack has chosen the
 * schedules in it.
 *
 * As bytes an entry checks itself:
 *
 *   magic[8] kind:8 parts:8 data:8 hash:16 0[16] | parts 0.. to a multiple of 64 | data
 *
 * The hash covers kind, sizes, parts and data. Numbers are little-endian. */
#ifndef QUERN_RUNTIME_STORAGE_H
#define QUERN_RUNTIME_STORAGE_H

#include "base/cx.h"
#include "base/hash.h"
#include "base/os_file.h"
#include "base/pool.h"

enum { ENTRY_ALIGN = 64, ENTRY_HEADER = 64, ENTRY_PARTS = 1 << 20 };

typedef enum EntryKind {
    ENTRY_program,   /* an image (image.h) */
    ENTRY_constants, /* results of a program's init steps (program.h) */
    ENTRY_hashes,    /* of tensors of a file (weights.h) */
    ENTRY_saved,     /* an image whose weights are entries too (saved.h) */
    ENTRY_weight,    /* one of these */
    ENTRY_binary,    /* what an OpenCL driver made of a text (opencl_build.h) */
    ENTRY_nests,     /* hashes of a program's nests (jit/api_nests.c) */
    ENTRY_count
} EntryKind;

const char *entry_kind_name(EntryKind kind);

typedef struct Entry {
    EntryKind kind;
    const char *parts; /* terminated */
    const void *data;  /* aligned to ENTRY_ALIGN in a pack, to 16 elsewhere */
    size_t size;
} Entry;

typedef struct EntryKey {
    Hash128 whole, base;
} EntryKey;
EntryKey entry_key(const char *parts);

/* Bytes of an entry; `pieces` refer to it and to the arena. */
typedef struct EntryBytes {
    OsPart pieces[2];
    size_t size;
} EntryBytes;
EntryBytes entry_write(Arena *arena, const Executor *executor, const Entry *entry);
/* Only form and sizes, of an entry of `size` bytes of which the first `have` are here: the parts
 * may be shown to people, the data must not be used. */
bool entry_peek(const void *bytes, size_t have, uint64_t size, Entry *entry);
/* Checks the hash too. */
bool entry_read(Arena *arena, const Executor *executor, const void *bytes, size_t size,
                Entry *entry);

/* --- storages --- */

typedef struct Storage Storage;

typedef struct StorageItem {
    const char *name;   /* "" when the storage has none */
    Hash128 key;        /* the storage's own */
    int64_t size, used; /* used: nanoseconds since 1970, 0 = not known */
    bool whole;         /* its form is right; else kind, parts and data size say nothing */
    Entry entry;        /* data NULL */
} StorageItem;

/* False stops. What the item points to is in the job's arena or the storage, but for its name. */
typedef bool StorageEach(void *user, const StorageItem *item);

typedef struct StorageClass {
    /* False when there is none. Directories take damage for that; packs, which were asked for by
     * name, fail the job with ST_bad_file. The data lives as long as the job or the storage. */
    bool (*get)(Storage *storage, Cx *cx, const Executor *executor, EntryKey key, Entry *entry);
    /* NULL, or why it could not be kept (a static text or one in the arena). */
    const char *(*put)(Storage *storage, Cx *cx, const Executor *executor, const Entry *entry);
    const char *(*list)(Storage *storage, Cx *cx, StorageEach *each, void *user);
    const char *(*remove)(Storage *storage, Cx *cx, Hash128 key);
} StorageClass;

struct Storage {
    const StorageClass *class;
    const char *name; /* path, for messages */
};

static inline bool storage_get(Storage *storage, Cx *cx, const Executor *executor, EntryKey key,
                               Entry *entry)
{
    return storage->class->get(storage, cx, executor, key, entry);
}

#endif

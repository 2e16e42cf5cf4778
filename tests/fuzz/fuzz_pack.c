/* Packs from any bytes, the hash of their index made right first: opened, and every entry looked
 * at, with its checksum and without. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/pool.h"
#include "runtime/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 64, AT_VERSION = 8, AT_SIZE = 16, AT_COUNT = 24, AT_HASH = 32, PLACE = 32 };

/* size, version and, when the index is inside, its hash. */
static void fix_head(uint8_t *data, size_t size)
{
    uint64_t fields[] = {PACK_VERSION, size}, count;
    memcpy(data, "QNPACK\0", 8);
    memcpy(data + AT_VERSION, fields, sizeof fields);
    memcpy(&count, data + AT_COUNT, sizeof count);
    if (count > (size - HEAD) / PLACE)
        return;
    Hasher hasher;
    memset(data + AT_HASH, 0, sizeof(Hash128));
    hash_init(&hasher);
    hash_add(&hasher, data, HEAD);
    hash_add(&hasher, data + HEAD, (size_t)count * PLACE);
    Hash128 hash = hash_finish(&hasher);
    memcpy(data + AT_HASH, &hash, sizeof hash);
}

typedef struct Input {
    const char *path;
    const uint8_t *data;
    size_t size;
} Input;

/* A damaged entry fails its job, not the others. */
static void read_entry(Cx *cx, void *user)
{
    Entry entry;
    const Pack *pack = *(const Pack **)user;
    uint32_t index = *(uint32_t *)((const Pack **)user + 1);
    if (pack_entry(cx, pack, &executor_inline, index, &entry) && !entry_kind_name(entry.kind))
        BUG("an entry of no kind was taken");
}

static void open_input(Cx *cx, void *user)
{
    const Input *in = user;
    Pack pack;
    Entry entry;
    if (!pack_open(cx, in->path, &pack))
        return;
    for (uint32_t i = 0; i < pack.count && i < 64; i++) {
        struct {
            const Pack *pack;
            uint32_t index;
        } one = {&pack, i};
        Cx own;
        cx_init(&own, NULL, 64 << 20);
        cx_run(&own, read_entry, &one);
        cx_finish(&own);
        uint64_t offset;
        memcpy(&offset, in->data + HEAD + (size_t)PLACE * i + 16, sizeof offset);
        entry_peek(in->data + offset, in->size - offset, in->size - offset, &entry);
    }
    pack_close(&pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    uint8_t *copy;
    /* Pages, as a map of a file has them. */
    if (size < HEAD || !(copy = aligned_alloc(64, (size + 63) / 64 * 64)))
        return 0;
    memcpy(copy, data, size);
    fix_head(copy, size);
    int file = memfd_create("pack", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (file >= 0 && write(file, copy, size) == (ssize_t)size) {
        Cx cx;
        Input in = {path, copy, size};
        cx_init(&cx, NULL, 64 << 20);
        cx_run(&cx, open_input, &in);
        cx_finish(&cx);
    }
    if (file >= 0)
        close(file);
    free(copy);
    return 0;
}

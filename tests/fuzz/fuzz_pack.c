/* Packs from any bytes: every entry is looked at, and a saved program in it is loaded through the
 * public interface and asked. The headers inside one another (pack, entry, image, plan) are made
 * right first. No session is made: that would run code from the input. */
#include <stdlib.h>
#include <string.h>

#include "include/quern.h"
#include "runtime/pack.h"
#include "tests/fuzz/limited.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    AT_VERSION = 8,
    AT_COUNT = 24,
    AT_HASH = 32,
    HEAD = 64,
    IMAGE_HEADER = 32,
    PLAN_HEADER = 48
};

typedef struct Place {
    Hash128 key;
    uint64_t offset, size;
} Place;

typedef struct Input {
    uint8_t *data;
    size_t size;
} Input;

static uint64_t number(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* size and hash of what follows, which end a header of `bytes` at `header`. */
static void fix(uint8_t *header, size_t bytes, size_t size)
{
    Hash128 hash = hash_bytes(header + bytes, size);
    const uint64_t fields[] = {size, hash.high, hash.low};
    memcpy(header + bytes - sizeof fields, fields, sizeof fields);
}

/* From the inside to the outside; stops where something is not inside. */
static void fix_image(uint8_t *image, size_t size)
{
    if (size < IMAGE_HEADER)
        return;
    if (size >= IMAGE_HEADER + 24) {
        uint64_t plan = number(image + IMAGE_HEADER), pieces = number(image + IMAGE_HEADER + 16);
        size_t after = size - IMAGE_HEADER - 24;
        if (pieces <= after / 8 && plan >= PLAN_HEADER && plan <= after - 8 * pieces)
            fix(image + IMAGE_HEADER + 24 + 8 * pieces, PLAN_HEADER, (size_t)plan - PLAN_HEADER);
    }
    fix(image, IMAGE_HEADER, size - IMAGE_HEADER);
}

static void fix_entry(Cx *cx, const Input *in, Place *place)
{
    Entry entry;
    if (place->offset % ENTRY_ALIGN || place->offset > in->size ||
        place->size > in->size - place->offset)
        return;
    uint8_t *at = in->data + place->offset;
    if (!entry_peek(at, (size_t)place->size, place->size, &entry))
        return;
    if (entry.kind == ENTRY_program || entry.kind == ENTRY_saved)
        fix_image(at + (place->size - entry.size), entry.size);
    EntryBytes bytes = entry_write(cx->arena, &executor_inline, &entry);
    memcpy(at, bytes.pieces[0].data, bytes.pieces[0].size);
    place->key = entry_key(entry.parts).base;
}

static int by_key(const void *a, const void *b)
{
    Hash128 x = ((const Place *)a)->key, y = ((const Place *)b)->key;
    if (x.high != y.high)
        return x.high < y.high ? -1 : 1;
    return (x.low > y.low) - (x.low < y.low);
}

/* Entries, their keys and order, then size, version and hash of the index. */
static void fix_pack(Cx *cx, const Input *in)
{
    uint64_t fields[] = {PACK_VERSION, in->size}, count = number(in->data + AT_COUNT);
    memcpy(in->data, "QNPACK\0", 8);
    memcpy(in->data + AT_VERSION, fields, sizeof fields);
    if (count > (in->size - HEAD) / sizeof(Place))
        return;
    Place *index = (Place *)(void *)(in->data + HEAD);
    for (uint64_t i = 0; i < count && i < 64; i++)
        fix_entry(cx, in, &index[i]);
    qsort(index, count, sizeof *index, by_key);
    memset(in->data + AT_HASH, 0, sizeof(Hash128));
    Hash128 hash = hash_bytes(in->data, HEAD + (size_t)count * sizeof *index);
    memcpy(in->data + AT_HASH, &hash, sizeof hash);
}

/* --- entries --- */

typedef struct One {
    const Pack *pack;
    uint32_t index;
} One;

/* A damaged entry fails its job, not the others. */
static void read_entry(Cx *cx, void *user)
{
    const One *one = user;
    Entry entry;
    if (pack_entry(cx, one->pack, &executor_inline, one->index, &entry) &&
        !entry_kind_name(entry.kind))
        BUG("an entry of no kind was taken");
}

static bool count_item(void *user, const StorageItem *item)
{
    *(uint32_t *)user += item->whole && *entry_kind_name(item->entry.kind);
    return true;
}

static void entries_job(Cx *cx, void *user)
{
    const Input *in = user;
    Pack pack;
    uint32_t whole = 0;
    fix_pack(cx, in);
    if (!pack_open_memory(cx, in->data, in->size, &pack))
        return;
    pack.storage.class->list(&pack.storage, cx, count_item, &whole);
    for (uint32_t i = 0; i < pack.count && i < 64; i++) {
        One one = {&pack, i};
        Cx own;
        cx_init(&own, NULL, 64 << 20);
        cx_run(&own, read_entry, &one);
        cx_finish(&own);
    }
    pack_close(&pack);
}

/* --- a saved program --- */

static void ask(const qn_program *program)
{
    qn_tensor_info info;
    qn_program_info whole;
    qn_kernel_info kernel;
    for (int32_t i = 0; qn_program_input(program, i, &info) == QN_OK; i++)
        continue;
    for (int32_t i = 0; qn_program_output(program, i, &info) == QN_OK; i++)
        continue;
    for (int32_t init = 0; init < 2; init++)
        for (int32_t i = 0; qn_program_kernel(program, init, i, &kernel) == QN_OK; i++)
            continue;
    qn_program_describe(program, &whole);
}

static void load(const Input *in)
{
    static const qn_allocator allocator = {NULL, limited_alloc, limited_release};
    qn_context_options options = {.allocator = &allocator, .threads = 1};
    qn_context *context;
    qn_program *program;
    if (qn_context_create(&options, &context) != QN_OK)
        return;
    if (qn_program_from_memory(context, in->data, in->size, &program) == QN_OK)
        ask(program);
    else if (!program || !*qn_program_message(program))
        abort();
    qn_program_release(program);
    qn_context_release(context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)limited;
    if (size < HEAD)
        return 0;
    Input in = {aligned_alloc(ENTRY_ALIGN, (size + 63) / 64 * 64), size};
    if (!in.data)
        return 0;
    memcpy(in.data, data, size);
    Cx cx;
    cx_init(&cx, NULL, 64 << 20);
    cx_run(&cx, entries_job, &in);
    cx_finish(&cx);
    load(&in);
    free(in.data);
    return 0;
}

/* The public interface: which of the tuning records in force are for a program's kernels. Only
 * these are a part of its key, so records of other models leave it where it is.
 *
 * The nests of a program are a function of its base key. Their hashes are an entry beside it,
 *
 *   kind nests   program BASE KEY      data: 16 bytes a nest
 *
 * which is made and read only where there are records for the target. */
#include "jit/api_options.h"

#include <string.h>

#include "jit/program_key.h"

static const char *nests_parts(Cx *cx, const char *program_parts)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(entry_key(program_parts).base, hex);
    return arena_printf(cx->arena, "kind nests\nprogram %s\n", hex);
}

static bool read_nests(Cx *cx, Storage *directory, const char *parts, Entry *entry)
{
    return storage_get(directory, cx, &executor_inline, entry_key(parts), entry) &&
           entry->kind == ENTRY_nests && entry->size % sizeof(Hash128) == 0;
}

/* Not being able to keep them is told when the program itself cannot be kept. */
static bool list_nests(Cx *cx, Compilation *c, Storage *keep, const char *parts, Entry *entry)
{
    NestList nests;
    if (!api_list_nests(cx, c, &nests))
        return false;
    Hash128 *hashes = NEW_ARRAY(cx->arena, Hash128, nests.count);
    for (uint32_t i = 0; i < nests.count; i++)
        hashes[i] = nests.list[i].key;
    *entry = (Entry){ENTRY_nests, parts, hashes, nests.count * sizeof *hashes};
    if (keep)
        (void)keep->class->put(keep, cx, &executor_inline, entry);
    return true;
}

static bool has_target(const Compilation *c)
{
    for (uint32_t i = 0; i < c->records.count; i++)
        if (strcmp(c->records.list[i].target, c->caps->name) == 0)
            return true;
    return false;
}

bool api_use_records(Cx *cx, Compilation *c, Storage *directory, bool keep)
{
    Entry entry;
    Records used;
    Hash128 digest;
    if (!has_target(c))
        return true;
    const char *parts = nests_parts(cx, c->parts);
    if (!read_nests(cx, directory, parts, &entry) &&
        !list_nests(cx, c, keep ? directory : NULL, parts, &entry))
        return false;
    records_init(&used, cx->arena);
    for (size_t i = 0; i < entry.size / sizeof(Hash128); i++) {
        Hash128 nest;
        memcpy(&nest, (const char *)entry.data + i * sizeof nest, sizeof nest);
        const Record *record = records_find(&c->records, nest, c->caps->name);
        if (record)
            records_add(&used, record);
    }
    c->records = used;
    if (records_digest(cx, &used, c->caps->name, &digest))
        c->parts = program_key_with_records(cx, c->parts, digest);
    return true;
}

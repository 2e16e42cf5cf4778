/* Packs as files: what is written is read, and nothing that is damaged is taken for whole. */
#include "tests/unit/pack_file.h"

TestSuite(pack, .init = pack_file_start, .fini = pack_file_stop);

Test(pack, keeps)
{
    Pack pack;
    write_small();
    cr_assert(pack_open(&cx, path, &pack));
    cr_assert_eq(pack.count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(look(&pack, i), 1);
    cr_assert_eq(look(&pack, 3), 0);
    cr_assert_not_null(pack.storage.class->remove(&pack.storage, &cx, entry_key("").base));
    pack_close(&pack);
    pack_close(&pack);
}

/* Equal contents, in whatever order they were added, are equal bytes. */
Test(pack, order)
{
    char *one, *two;
    size_t one_size, two_size;
    PackList list = {0};
    write_small();
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 20, &one, &one_size), 0);
    for (int i = 2; i >= 0; i--) {
        Entry entry = entry_of(i, 67 * (size_t)i);
        pack_list_add(&cx, &list, &entry);
        pack_list_add(&cx, &list, &entry);
    }
    cr_assert_eq(list.count, 3);
    cr_assert(pack_write(&cx, &executor_inline, path, &list));
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 20, &two, &two_size), 0);
    cr_assert_eq(one_size, two_size);
    cr_assert_eq(memcmp(one, two, one_size), 0);
}

/* Records are not asked for in a pack: of two sets the later one is there. */
Test(pack, records)
{
    PackList list = {0};
    Pack pack;
    Entry found, one = entry_of(1, 10), two = entry_of(2, 20);
    one.parts = parts_of(7, "records 1\n");
    two.parts = parts_of(7, "records 2\n");
    pack_list_add(&cx, &list, &one);
    pack_list_add(&cx, &list, &two);
    cr_assert(pack_write(&cx, &executor_inline, path, &list));
    cr_assert(pack_open(&cx, path, &pack));
    cr_assert(
        storage_get(&pack.storage, &cx, &executor_inline, entry_key(parts_of(7, "")), &found));
    cr_assert_eq(found.size, 20);
    cr_assert(storage_get(&pack.storage, &cx, &executor_inline,
                          entry_key(parts_of(7, "records 3\n")), &found));
    pack_close(&pack);
}

static void put_bytes(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

Test(pack, truncated, .timeout = 60)
{
    char *bytes;
    size_t size;
    write_small();
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 20, &bytes, &size), 0);
    for (size_t length = 0; length < size; length++) {
        put_bytes(bytes, length);
        cr_assert_eq(count_whole(), -1, "%zu bytes", length);
    }
    put_bytes(arena_printf(cx.arena, "%s", "soup"), 4);
    cr_assert_eq(count_whole(), -1);
    char *longer = arena_array(cx.arena, size + 64, 1);
    memcpy(longer, bytes, size);
    put_bytes(longer, size + 64);
    cr_assert_eq(count_whole(), -1);
}

/* Each bit: the pack is refused, or the one entry it belongs to is, or it is a zero between entries
 * that means nothing. */
Test(pack, flipped, .timeout = 120)
{
    char *bytes;
    size_t size;
    int harmless = 0;
    write_small();
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 20, &bytes, &size), 0);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        put_bytes(bytes, size);
        int whole = count_whole();
        cr_assert(whole == -1 || whole == 2 || (whole == 3 && bytes[bit / 8] != 0), "bit %zu", bit);
        harmless += whole == 3;
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    cr_assert_lt(harmless, 8 * 4 * ENTRY_ALIGN); /* padding of three entries and the tail */
}

/* --- packs whose checksum is right and whose index lies --- */

typedef struct TestHead {
    char magic[8];
    uint64_t version, size, count;
    Hash128 hash;
    uint64_t zero[2];
} TestHead;

typedef struct TestPlace {
    Hash128 key;
    uint64_t offset, size;
} TestPlace;

/* Writes the pack with its index changed and signed anew. */
static int with_index(void (*change)(TestHead *head, TestPlace *index))
{
    char *bytes;
    size_t size;
    TestHead head;
    TestPlace index[3];
    Hasher hasher;
    write_small();
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 20, &bytes, &size), 0);
    memcpy(&head, bytes, sizeof head);
    memcpy(index, bytes + sizeof head, sizeof index);
    change(&head, index);
    head.hash = (Hash128){0, 0};
    hash_init(&hasher);
    hash_add(&hasher, &head, sizeof head);
    if (head.count <= 3)
        hash_add(&hasher, index, head.count * sizeof *index);
    head.hash = hash_finish(&hasher);
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, index, sizeof index);
    put_bytes(bytes, size);
    return count_whole();
}

static void nothing(TestHead *head, TestPlace *index)
{
    (void)head, (void)index;
}

static void overlap(TestHead *head, TestPlace *index)
{
    (void)head;
    index[1].offset = index[0].offset;
    index[1].size = index[0].size;
}

static void swallow(TestHead *head, TestPlace *index)
{
    (void)head;
    for (int i = 0; i < 3; i++)
        if (index[i].offset < index[(i + 1) % 3].offset &&
            index[i].offset < index[(i + 2) % 3].offset)
            index[i].size += 64;
}

static void huge_offset(TestHead *head, TestPlace *index)
{
    (void)head;
    index[0].offset = UINT64_MAX - 63;
}

static void huge_size(TestHead *head, TestPlace *index)
{
    (void)head;
    index[0].size = UINT64_MAX - index[0].offset + 1;
}

static void odd_offset(TestHead *head, TestPlace *index)
{
    (void)head;
    index[0].offset += 8;
}

static void on_index(TestHead *head, TestPlace *index)
{
    (void)head;
    index[0].offset = 64;
}

static void huge_count(TestHead *head, TestPlace *index)
{
    (void)index;
    head->count = UINT64_MAX / 32 + 2;
}

static void more_count(TestHead *head, TestPlace *index)
{
    (void)index;
    head->count = 1 << 15;
}

static void other_version(TestHead *head, TestPlace *index)
{
    (void)index;
    head->version++;
}

static void same_key(TestHead *head, TestPlace *index)
{
    (void)head;
    index[1].key = index[0].key;
}

static void no_order(TestHead *head, TestPlace *index)
{
    (void)head;
    TestPlace first = index[0];
    index[0] = index[1];
    index[1] = first;
}

static void empty_entry(TestHead *head, TestPlace *index)
{
    (void)head;
    index[0].size = 0;
}

/* The entries are whole, but under each other's keys. */
static void wrong_key(TestHead *head, TestPlace *index)
{
    (void)head;
    Hash128 key = index[0].key;
    index[0].key = index[1].key;
    index[1].key = key;
    TestPlace first = index[0];
    index[0] = index[1];
    index[1] = first;
}

Test(pack, lying_index)
{
    cr_assert_eq(with_index(nothing), 3);
    cr_assert_eq(with_index(overlap), -1);
    cr_assert_eq(with_index(swallow), -1);
    cr_assert_eq(with_index(huge_offset), -1);
    cr_assert_eq(with_index(huge_size), -1);
    cr_assert_eq(with_index(odd_offset), -1);
    cr_assert_eq(with_index(on_index), -1);
    cr_assert_eq(with_index(huge_count), -1);
    cr_assert_eq(with_index(more_count), -1);
    cr_assert_eq(with_index(other_version), -1);
    cr_assert_eq(with_index(same_key), -1);
    cr_assert_eq(with_index(no_order), -1);
    cr_assert_eq(with_index(empty_entry), 2);
    cr_assert_eq(with_index(wrong_key), 1);
}

Test(pack, no_file)
{
    Pack pack;
    cr_assert_not(pack_open(&cx, "/nowhere/p.qnp", &pack));
    cr_assert_eq(cx.status, ST_missing);
    forget();
    cr_assert_not(pack_open(&cx, scratch_dir, &pack));
    cr_assert_eq(cx.status, ST_io);
    pack_close(&pack);
}

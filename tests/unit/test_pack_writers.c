/* Writers of packs and of the cache that do not come to an end: killed, out of space, not allowed.
 * What is found afterwards is whole. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/cache.h"
#include "tests/unit/pack_file.h"

TestSuite(pack_writers, .init = pack_file_start, .fini = pack_file_stop);

enum { LARGE = 3 << 20 };

static Entry large_entry(int number)
{
    char *data = arena_array(cx.arena, LARGE, 1);
    memset(data, 'a' + number, LARGE);
    return (Entry){ENTRY_program, parts_of(number, ""), data, LARGE};
}

static void check_large(const Entry *found, int number)
{
    const char *data = found->data;
    cr_assert_eq(found->size, LARGE);
    for (size_t i = 0; i < LARGE; i += 997)
        cr_assert_eq(data[i], 'a' + number);
}

/* A process that puts entries and packs is killed in the middle, again and again: what is found
 * afterwards is whole, and the next writer is not hindered. */
Test(pack_writers, killed_writer, .timeout = 120)
{
    char dir[100];
    snprintf(dir, sizeof dir, "%s/cache", scratch_dir);
    Cache cache = cache_in(dir, 1 << 28);
    Entry entry = large_entry(1);
    PackList list = {0};
    pack_list_add(&cx, &list, &entry);
    int found = 0;
    for (int round = 0; round < 40 || (!found && round < 400); round++) {
        pid_t child = fork();
        if (child == 0) {
            for (;;) {
                cache.storage.class->put(&cache.storage, &cx, &executor_inline, &entry);
                pack_write(&cx, &executor_inline, path, &list);
            }
        }
        usleep((useconds_t)(500 + 1201 * round));
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        Entry got;
        Pack pack;
        if (storage_get(&cache.storage, &cx, &executor_inline, entry_key(entry.parts), &got))
            check_large(&got, 1);
        if (pack_open(&cx, path, &pack)) {
            cr_assert(
                storage_get(&pack.storage, &cx, &executor_inline, entry_key(entry.parts), &got));
            check_large(&got, 1);
            pack_close(&pack);
            found++;
        }
        cr_assert(!cx_failed(&cx) || cx.status == ST_missing, "%s", cx.message);
        forget();
    }
    cr_assert_gt(found, 0);
    cr_assert_null(cache.storage.class->put(&cache.storage, &cx, &executor_inline, &entry));
}

/* A disk that takes only so much: a message, nothing half-written, and what was there stays. */
Test(pack_writers, full_disk)
{
    char dir[100];
    snprintf(dir, sizeof dir, "%s/cache", scratch_dir);
    Cache cache = cache_in(dir, 1 << 28);
    Entry small = entry_of(2, 100), large = large_entry(1), got;
    struct rlimit before, limit;
    PackList list = {0};
    cr_assert_null(cache.storage.class->put(&cache.storage, &cx, &executor_inline, &small));
    write_small();
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const char *why = cache.storage.class->put(&cache.storage, &cx, &executor_inline, &large);
    pack_list_add(&cx, &list, &large);
    bool written = pack_write(&cx, &executor_inline, path, &list);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_not_null(why);
    cr_assert_not(written);
    cr_assert_eq(cx.status, ST_io);
    forget();
    cr_assert_not(storage_get(&cache.storage, &cx, &executor_inline, entry_key(large.parts), &got));
    cr_assert(storage_get(&cache.storage, &cx, &executor_inline, entry_key(small.parts), &got));
    cr_assert_eq(count_whole(), 3);
}

static bool count_file(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return true;
}

/* A directory that may be read and not written: entries are used, writing is refused, and nothing
 * is left there. Root may write anything, so it becomes someone else first. */
Test(pack_writers, read_only_directory)
{
    char dir[100];
    int files = 0, status;
    snprintf(dir, sizeof dir, "%s/cache", scratch_dir);
    Cache cache = cache_in(dir, 1 << 28);
    Entry one = entry_of(1, 10), two = entry_of(2, 20), got;
    cr_assert_null(cache.storage.class->put(&cache.storage, &cx, &executor_inline, &one));
    bool is_root = geteuid() == 0;
    if (is_root) {
        cr_assert_eq(chmod(scratch_dir, 0755), 0);
        cr_assert_eq(chown(dir, 65534, 65534), 0);
        char file[200], hex[HASH_HEX_SIZE];
        hash_to_hex(entry_key(one.parts).whole, hex);
        snprintf(file, sizeof file, "%s/%s.qnc", dir, hex);
        cr_assert_eq(chown(file, 65534, 65534), 0);
    }
    cr_assert_eq(chmod(dir, 0500), 0);
    pid_t child = fork();
    if (child == 0) {
        if (is_root && setuid(65534) != 0)
            _exit(2);
        bool found = storage_get(&cache.storage, &cx, &executor_inline, entry_key(one.parts), &got);
        const char *why = cache.storage.class->put(&cache.storage, &cx, &executor_inline, &two);
        _exit(!found || !why);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(chmod(dir, 0700), 0);
    cr_assert_eq(status, 0);
    cr_assert_eq(os_list_dir(dir, count_file, &files), 0);
    cr_assert_eq(files, 1);
}

/* Mapped reading, atomic writing and private directories, in a directory of the test's own. */
#include "base/os_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/scratch_dir.h"

static char buffer[4096];

static const char *in_root(const char *name)
{
    snprintf(buffer, sizeof buffer, "%s/%s", scratch_dir, name);
    return buffer;
}

static void put(const char *name, const char *text)
{
    OsPart part = {text, strlen(text)};
    cr_assert_eq(os_write_file(in_root(name), &part, 1), 0);
}

TestSuite(os_file, .init = scratch_make, .fini = scratch_drop);

static bool count_entry(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return true;
}

Test(os_file, write_is_whole_and_leaves_no_temporary)
{
    OsPart parts[] = {{"head", 4}, {NULL, 0}, {"body", 4}};
    cr_assert_eq(os_write_file(in_root("a"), parts, 3), 0);
    OsMap map;
    cr_assert_eq(os_map_file(in_root("a"), &map), 0);
    cr_assert_eq(map.size, 8);
    cr_assert_arr_eq(map.data, "headbody", 8);
    put("a", "new");
    cr_assert_arr_eq(map.data, "headbody", 8, "a map keeps the file it was made from");
    os_unmap(&map);
    os_unmap(&map);
    int entries = 0;
    cr_assert_eq(os_list_dir(scratch_dir, count_entry, &entries), 0);
    cr_assert_eq(entries, 1);
    cr_assert_neq(os_write_file(in_root("no/such"), parts, 3), 0);
    struct stat st;
    cr_assert_eq(stat(in_root("a"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(os_file, failed_write_leaves_nothing)
{
    cr_assert_eq(os_make_dirs(in_root("d/full")), 0); /* a directory cannot be replaced by a file */
    OsPart part = {"x", 1};
    cr_assert_neq(os_write_file(in_root("d"), &part, 1), 0);
    int entries = 0;
    cr_assert_eq(os_list_dir(scratch_dir, count_entry, &entries), 0);
    cr_assert_eq(entries, 1);
}

static int entries_of(const char *path)
{
    int entries = 0;
    cr_assert_eq(os_list_dir(path, count_entry, &entries), 0);
    return entries;
}

Test(os_file, outputs_replace_regular_files_only)
{
    OsPart part = {"new", 3};
    cr_assert_eq(os_make_dirs(in_root("d")), 0);
    cr_assert_eq(mkfifo(in_root("pipe"), 0600), 0);
    cr_assert_eq(symlink("pipe", in_root("to_pipe")), 0);
    cr_assert_eq(symlink("gone", in_root("to_nothing")), 0);
    cr_assert_eq(symlink("self", in_root("self")), 0);
    static const struct {
        const char *path;
        int error;
    } cases[] = {{"d", EISDIR},           {"pipe", EINVAL}, {"to_pipe", EINVAL},
                 {"to_nothing", ENOLINK}, {"self", ELOOP},  {"no/such", ENOENT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int error = os_output_write(in_root(cases[i].path), &part, 1);
        cr_expect_eq(error, cases[i].error, "%s: %d", cases[i].path, error);
        cr_expect_eq(os_output_check(in_root(cases[i].path)), error);
    }
    struct stat st;
    cr_assert(!lstat(in_root("pipe"), &st) && S_ISFIFO(st.st_mode));
    cr_assert_eq(entries_of(scratch_dir), 5);
}

Test(os_file, outputs_follow_links_and_keep_modes)
{
    OsPart part = {"new", 3};
    struct stat st;
    cr_assert_eq(os_make_dirs(in_root("d")), 0);
    put("d/real", "old");
    cr_assert_eq(chmod(in_root("d/real"), 0640), 0);
    cr_assert_eq(symlink("d/real", in_root("link")), 0);
    cr_assert_eq(os_output_check(in_root("link")), 0);
    cr_assert_eq(os_output_write(in_root("link"), &part, 1), 0);
    cr_assert(!lstat(in_root("link"), &st) && S_ISLNK(st.st_mode));
    cr_assert(!lstat(in_root("d/real"), &st) && st.st_size == 3);
    cr_assert_eq(st.st_mode & 0777, 0640);
    umask(0027);
    cr_assert_eq(os_output_write(in_root("fresh"), &part, 1), 0);
    cr_assert(!stat(in_root("fresh"), &st) && (st.st_mode & 0777) == 0640);
    cr_assert_eq(entries_of(scratch_dir), 3);
}

Test(os_file, outputs_are_there_when_placed)
{
    OsOutput a, b;
    put("a", "old");
    cr_assert_eq(os_output_open(&a, in_root("a")), 0);
    cr_assert_eq(os_output_open(&b, in_root("b")), 0);
    cr_assert_eq(write(a.file, "newer", 5), 5);
    cr_assert_eq(os_output_finish(&a), 0);
    cr_assert_eq(os_output_finish(&b), 0);
    OsFileId id;
    cr_assert(!os_file_id(in_root("a"), &id) && id.size == 3);
    cr_assert_eq(os_output_place(&a), 0);
    os_output_drop(&a);
    os_output_drop(&b);
    os_output_drop(&b);
    cr_assert(!os_file_id(in_root("a"), &id) && id.size == 5);
    cr_assert_eq(entries_of(scratch_dir), 1);
}

Test(os_file, only_regular_files_are_mapped)
{
    OsMap map;
    cr_assert_eq(os_map_file(scratch_dir, &map), EISDIR);
    cr_assert_eq(mkfifo(in_root("pipe"), 0600), 0);
    cr_assert_eq(os_map_file(in_root("pipe"), &map), EINVAL);
    cr_assert_eq(os_map_file(in_root("none"), &map), ENOENT);
    put("empty", "");
    cr_assert_eq(os_map_file(in_root("empty"), &map), 0);
    cr_assert_eq(map.size, 0);
    os_unmap(&map);
}

Test(os_file, beneath_a_directory)
{
    cr_assert_eq(os_make_dirs(in_root("m/sub")), 0);
    put("secret", "s");
    put("m/w", "w");
    put("m/sub/v", "v");
    cr_assert_eq(symlink("../secret", in_root("m/link")), 0);
    cr_assert_eq(symlink("sub", in_root("m/dirlink")), 0);
    char from[4096], to[4096], dir[4096];
    snprintf(dir, sizeof dir, "%s/m", scratch_dir);
    snprintf(from, sizeof from, "%s/secret", scratch_dir);
    snprintf(to, sizeof to, "%s/m/hard", scratch_dir);
    cr_assert_eq(link(from, to), 0);
    static const struct {
        const char *path;
        int error;
    } cases[] = {{"w", 0},
                 {"./w", 0},
                 {"sub//v", 0},
                 {"", EACCES},
                 {"../secret", EACCES},
                 {"sub/../../secret", EACCES},
                 {"/etc/passwd", EACCES},
                 {"..", EACCES},
                 {"sub", EISDIR},
                 {"sub/", EISDIR},
                 {"link", ELOOP},
                 {"dirlink/v", ELOOP},
                 {"hard", EMLINK},
                 {"w/x", ENOTDIR},
                 {"none", ENOENT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OsMap map;
        int error = os_map_beneath(dir, cases[i].path, &map);
        cr_expect_eq(error, cases[i].error, "%s: %d", cases[i].path, error);
        os_unmap(&map);
    }
}

Test(os_file, a_shorter_file_is_noticed)
{
    size_t size = (size_t)OS_COPY_BELOW * 2;
    OsPart part = {calloc(1, size), size};
    cr_assert_eq(os_write_file(in_root("big"), &part, 1), 0);
    OsMap map;
    cr_assert_eq(os_map_file(in_root("big"), &map), 0);
    cr_assert_eq(os_map_check(&map), 0);
    cr_assert_eq(truncate(in_root("big"), 10), 0);
    cr_assert_eq(os_map_check(&map), ESTALE);
    os_unmap(&map);
    free((void *)(uintptr_t)part.data);
    put("small", "abc");
    cr_assert_eq(os_map_file(in_root("small"), &map), 0);
    cr_assert_eq(truncate(in_root("small"), 0), 0);
    cr_assert_eq(os_map_check(&map), 0, "small files are ours");
    cr_assert_arr_eq(map.data, "abc", 3);
    os_unmap(&map);
}

Test(os_file, directories)
{
    cr_assert_eq(os_make_dirs(in_root("x/y/z")), 0);
    cr_assert_eq(os_make_dirs(in_root("x/y/z")), 0);
    struct stat st;
    cr_assert_eq(stat(in_root("x/y"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    cr_assert_eq(os_check_private_dir(in_root("x")), 0);
    cr_assert_eq(chmod(in_root("x"), 0777), 0);
    cr_assert_eq(os_check_private_dir(in_root("x")), EACCES);
    put("f", "f");
    cr_assert_eq(os_check_private_dir(in_root("f")), ENOTDIR);
    cr_assert_eq(os_make_dirs(in_root("f/g")), ENOTDIR);
    cr_assert_eq(symlink("gone", in_root("nowhere")), 0);
    cr_assert_eq(os_make_dirs(in_root("nowhere/g")), ENOTDIR);
    cr_assert_eq(os_remove(in_root("f")), 0);
    cr_assert_eq(os_remove(in_root("f")), 0);
    cr_assert_neq(os_remove(in_root("x")), 0);
}

Test(os_file, identity_and_reading)
{
    put("f", "text");
    OsFileId a, b;
    cr_assert_eq(os_file_id(in_root("f"), &a), 0);
    cr_assert_eq(os_file_id(in_root("f"), &b), 0);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    cr_assert_eq(a.size, 4);
    put("f", "else");
    cr_assert_eq(os_file_id(in_root("f"), &b), 0);
    cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
    cr_assert_eq(os_touch(in_root("f")), 0);
    Arena arena;
    arena_init(&arena, NULL, 0, NULL);
    char *text;
    size_t size;
    cr_assert_eq(os_read_file(&arena, in_root("f"), 100, &text, &size), 0);
    cr_assert_str_eq(text, "else");
    cr_assert_eq(os_read_file(&arena, in_root("f"), 3, &text, &size), EFBIG);
    cr_assert_neq(os_read_file(&arena, scratch_dir, 1 << 20, &text, &size), 0);
    arena_finish(&arena);
}

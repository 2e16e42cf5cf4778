/* Files, as much of the operating system as Quern needs: mapped reading, atomic writing, private
 * directories, listing.
 *
 * Functions that can fail return 0 or an `errno` value (os_error_text spells it). Nothing here uses
 * an arena except os_read_file, prints, or changes process-wide state; all of it may be called from
 * any thread.
 *
 * Files that change under us. A file below OS_COPY_BELOW bytes is copied into memory of ours, so it
 * cannot change. A larger one is mapped: its pages come from the file, and reading past a new,
 * shorter end raises SIGBUS. We do not install a signal handler for that, since a library must not
 * take over its host's signals. Replacing a file by rename (as is done here, and by most tools) is
 * safe: the map keeps the old file. Who is about to read much of a map calls os_map_check first,
 * which turns a file truncated since into an error; only a truncation during the read itself
 * remains. */
#ifndef QUERN_BASE_OS_FILE_H
#define QUERN_BASE_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum { OS_COPY_BELOW = 1 << 20, OS_PATH = 4096 };

const char *os_error_text(int error);

/* What tells one state of one file from another. Times are nanoseconds since 1970. */
typedef struct OsFileId {
    uint64_t device, inode, size;
    int64_t modified, changed;
} OsFileId;

int os_file_id(const char *path, OsFileId *id);

/* A whole regular file, readable. `data` is page-aligned; NULL when the file is empty. */
typedef struct OsMap {
    const unsigned char *data;
    size_t size;
    OsFileId id;
    int file; /* kept open for os_map_check; -1 when not mapped or copied */
} OsMap;

#define OS_MAP_NONE ((OsMap){.file = -1})

/* Anything but a regular file (directory, device, pipe) is refused with EISDIR or EINVAL, without
 * blocking. */
int os_map_file(const char *path, OsMap *map);
/* Like os_map_file for a '/'-separated path that must stay beneath `directory`: refuses an empty or
 * absolute path and any ".." (EACCES), a symbolic link in any component of `path` (ELOOP), and a
 * file with more than one hard link (EMLINK). `directory` itself is trusted. The path is opened one
 * component at a time from the directory's handle, so nothing can be swapped in between check and
 * use. */
int os_map_beneath(const char *directory, const char *path, OsMap *map);
/* ESTALE when the file is now shorter than the map, else 0. */
int os_map_check(const OsMap *map);
/* Closes the handle behind a map, which stays readable: for callers with many maps. os_map_check
 * then says 0. */
void os_map_detach(OsMap *map);
void os_unmap(OsMap *map); /* takes a zero-size or OS_MAP_NONE map; may be called twice */

/* Reads a whole file into the arena, with a NUL behind it. EFBIG when larger than `limit`. */
int os_read_file(Arena *arena, const char *path, size_t limit, char **data, size_t *size);
/* Reads the first bytes of a file, at most `limit`, into the arena. */
int os_read_start(Arena *arena, const char *path, size_t limit, char **data, size_t *size);

typedef struct OsPart {
    const void *data;
    size_t size;
} OsPart;

/* Writes the parts one after another into a new file of mode 0600 beside `path`, syncs it, and
 * renames it over whatever is called `path`: readers see the old file or the new one, never a half.
 * On failure nothing is left behind. For files whose names are Quern's own (a cache). */
int os_write_file(const char *path, const OsPart *parts, size_t count);

/* A file at a path that a user gave: written beside it, and renamed when it is whole. Only a
 * regular file is replaced, and keeps its mode; a link to one stays, and what it points at is
 * replaced. A directory is EISDIR, a link to nothing ENOLINK, all else (device, pipe, socket)
 * EINVAL: renaming would put a file in its place, and who says /dev/null does not mean that.
 *
 * open, write to `file`, finish, place; drop in any case, which leaves nothing behind of what was
 * not placed. Several files that belong together: finish all of them, then place all. */
typedef struct OsOutput {
    char path[OS_PATH]; /* links followed */
    char temporary[OS_PATH];
    int file; /* -1 when not open */
} OsOutput;

#define OS_OUTPUT_NONE ((OsOutput){.file = -1})

int os_output_open(OsOutput *out, const char *path);
int os_output_finish(OsOutput *out); /* syncs and closes */
int os_output_place(OsOutput *out);
/* Takes OS_OUTPUT_NONE; may be called twice. Why the temporary file could not be removed, or 0. */
int os_output_drop(OsOutput *out);
/* All of it. */
int os_output_write(const char *path, const OsPart *parts, size_t count);
/* Whether a file can be put there, as far as can be told beforehand. Changes nothing. */
int os_output_check(const char *path);

/* Makes a directory and its missing parents, mode 0700. Existing ones are left as they are. */
int os_make_dirs(const char *path);
/* 0 when `path` is a directory, not a link, owned by this user, which no one else may write; else
 * EACCES, ENOTDIR or what stat said. */
int os_check_private_dir(const char *path);
/* Calls `each` for every entry but "." and ".."; stops early when it returns false. */
int os_list_dir(const char *path, bool (*each)(void *user, const char *name), void *user);
int os_remove(
    const char *path); /* a file or an empty directory; removing what is not there is success */
int os_touch(const char *path); /* sets the modification time to now */

#endif

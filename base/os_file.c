/* Files on POSIX systems. Handles are opened close-on-exec and non-blocking (a pipe must not hang
 * us), and only regular files are read. See os_file.h for what happens when a file changes under a
 * map. */
#include "base/os_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, COMPONENT_LIMIT = 255 };

const char *os_error_text(int error)
{
    switch (error) {
    case EMLINK: return "the file has more than one hard link";
    case ELOOP: return "the path goes through a symbolic link";
    case ESTALE: return "the file became shorter while it was in use";
    case EISDIR: return "is a directory";
    case EINVAL: return "not a regular file";
    case ENOLINK: return "is a symbolic link to what does not exist";
    default: break;
    }
    const char *text = strerrordesc_np(error);
    return text ? text : "unknown error";
}

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static OsFileId id_of(const struct stat *st)
{
    return (OsFileId){.device = (uint64_t)st->st_dev,
                      .inode = (uint64_t)st->st_ino,
                      .size = (uint64_t)st->st_size,
                      .modified = nanoseconds(st->st_mtim),
                      .changed = nanoseconds(st->st_ctim)};
}

int os_file_id(const char *path, OsFileId *id)
{
    struct stat st;
    if (stat(path, &st))
        return errno;
    *id = id_of(&st);
    return 0;
}

/* Fills [to, to + size) from the start of the file; ESTALE when the file ends before. */
static int read_all(int file, unsigned char *to, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(file, to + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return ESTALE;
        done += (size_t)n;
    }
    return 0;
}

/* Takes over `file`. Small files are copied into anonymous memory, others mapped. */
static int map_open_file(int file, bool single_link, OsMap *map)
{
    struct stat st;
    int error = 0;
    if (fstat(file, &st))
        error = errno;
    else if (S_ISDIR(st.st_mode))
        error = EISDIR;
    else if (!S_ISREG(st.st_mode))
        error = EINVAL;
    else if (single_link && st.st_nlink > 1)
        error = EMLINK;
    else if ((uint64_t)st.st_size > SIZE_MAX / 2)
        error = EFBIG;
    if (error || st.st_size == 0) {
        close(file);
        if (!error)
            map->id = id_of(&st);
        return error;
    }
    size_t size = (size_t)st.st_size;
    bool copy = size < OS_COPY_BELOW;
    void *data = copy ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED)
        error = errno;
    else if (copy && (error = read_all(file, data, size)))
        munmap(data, size);
    if (error || copy)
        close(file);
    if (!error)
        *map = (OsMap){data, size, id_of(&st), copy ? -1 : file};
    return error;
}

int os_map_file(const char *path, OsMap *map)
{
    *map = OS_MAP_NONE;
    int file = open(path, OPEN_FLAGS);
    return file < 0 ? errno : map_open_file(file, false, map);
}

/* Opens `path` from `at`, one component after another, following no link. Returns a handle, or -1
 * with errno. */
static int open_beneath(int at, const char *path)
{
    char name[COMPONENT_LIMIT + 1];
    while (at >= 0) {
        path += strspn(path, "/");
        size_t length = strcspn(path, "/");
        bool last = path[length] == 0;
        int next = -1;
        if (length > COMPONENT_LIMIT) {
            errno = ENAMETOOLONG;
        } else if (length == 0 || (length == 2 && !memcmp(path, "..", 2))) {
            errno = length ? EACCES : EISDIR;
        } else {
            memcpy(name, path, length);
            name[length] = 0;
            next = openat(at, name, OPEN_FLAGS | O_NOFOLLOW | (last ? 0 : O_DIRECTORY));
            struct stat st; /* a link in the middle reports ENOTDIR: say what it is */
            if (next < 0 && errno == ENOTDIR)
                errno = !fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode)
                            ? ELOOP
                            : ENOTDIR;
        }
        int error = errno;
        close(at);
        errno = error;
        if (last || next < 0)
            return next;
        at = next;
        path += length;
    }
    return -1;
}

int os_map_beneath(const char *directory, const char *path, OsMap *map)
{
    *map = OS_MAP_NONE;
    if (!path[0] || path[0] == '/')
        return EACCES;
    int at = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    int file = open_beneath(at, path);
    return file < 0 ? errno : map_open_file(file, true, map);
}

int os_map_check(const OsMap *map)
{
    struct stat st;
    if (map->file < 0)
        return 0;
    if (fstat(map->file, &st))
        return errno;
    return (uint64_t)st.st_size < map->size ? ESTALE : 0;
}

void os_map_detach(OsMap *map)
{
    if (map->data && map->file >= 0)
        close(map->file);
    map->file = -1;
}

void os_unmap(OsMap *map)
{
    if (map->data && map->size)
        munmap((void *)(uintptr_t)map->data, map->size);
    os_map_detach(map);
    *map = OS_MAP_NONE;
}

/* Reads [0, size) of a regular file into `to`. */
static int read_path(const char *path, void *to, size_t size)
{
    struct stat st;
    int file = open(path, OPEN_FLAGS), error = 0;
    if (file < 0)
        return errno;
    if (fstat(file, &st))
        error = errno;
    else if (!S_ISREG(st.st_mode))
        error = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    else
        error = read_all(file, to, size);
    close(file);
    return error;
}

int os_read_file(Arena *arena, const char *path, size_t limit, char **data, size_t *size)
{
    OsFileId id = {0};
    int error = os_file_id(path, &id);
    if (error)
        return error;
    return id.size > limit ? EFBIG : os_read_start(arena, path, limit, data, size);
}

int os_read_start(Arena *arena, const char *path, size_t limit, char **data, size_t *size)
{
    OsFileId id = {0};
    int error = os_file_id(path, &id);
    if (error)
        return error;
    size_t length = id.size < limit ? (size_t)id.size : limit;
    char *text = arena_alloc(arena, length + 1); /* before opening: it may jump */
    error = read_path(path, text, length);
    if (!error) {
        *data = text;
        *size = length;
    }
    return error;
}

static int write_parts(int file, const OsPart *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *at = parts[i].data;
        for (size_t left = parts[i].size; left;) {
            ssize_t n = write(file, at, left);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return n ? errno : EIO;
            at += n;
            left -= (size_t)n;
        }
    }
    return 0;
}

/* So that the rename itself survives a crash. Some file systems cannot: that is no reason to fail.
 */
static void sync_parent(const char *path)
{
    char parent[OS_PATH];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof parent)
        return;
    memcpy(parent, path, length);
    parent[length] = 0;
    int at = open(length ? parent : slash ? "/" : ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (at >= 0) {
        (void)fsync(at);
        close(at);
    }
}

/* Makes the file beside `out->path` that is written first. */
static int open_beside(OsOutput *out, mode_t mode)
{
    static atomic_uint serial;
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    char name[sizeof out->temporary];
    int length = snprintf(name, sizeof name, "%s.%ld.%u.tmp", out->path, (long)getpid(),
                          atomic_fetch_add(&serial, 1));
    if (length < 0 || (size_t)length >= sizeof name)
        return ENAMETOOLONG;
    out->file = open(name, flags, mode);
    if (out->file < 0 && errno == EEXIST) { /* left by a killed process that had our number */
        unlink(name);
        out->file = open(name, flags, mode);
    }
    if (out->file < 0)
        return errno;
    memcpy(out->temporary, name, (size_t)length + 1);
    return 0;
}

static int copy_path(const char *path, char to[OS_PATH])
{
    size_t length = strlen(path);
    if (length >= OS_PATH)
        return ENAMETOOLONG;
    memcpy(to, path, length + 1);
    return 0;
}

/* What `path` means once links are followed: nothing yet, or a regular file with this mode. */
static int find_target(const char *path, char to[OS_PATH], mode_t *mode)
{
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? copy_path(path, to) : errno;
    bool link = S_ISLNK(st.st_mode);
    if (link && stat(path, &st))
        return errno == ENOENT ? ENOLINK : errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    *mode = st.st_mode & 0777;
    if (link)
        return realpath(path, to) ? 0 : errno;
    return copy_path(path, to);
}

int os_output_open(OsOutput *out, const char *path)
{
    mode_t kept = 0;
    *out = OS_OUTPUT_NONE;
    int error = find_target(path, out->path, &kept);
    if (!error)
        error = open_beside(out, 0666);
    if (!error && kept) /* some file systems have no modes: that is no reason to fail */
        (void)fchmod(out->file, kept);
    return error;
}

int os_output_finish(OsOutput *out)
{
    int error = fsync(out->file) ? errno : 0;
    if (close(out->file) && !error)
        error = errno;
    out->file = -1;
    return error;
}

int os_output_place(OsOutput *out)
{
    if (rename(out->temporary, out->path))
        return errno;
    out->temporary[0] = 0;
    sync_parent(out->path);
    return 0;
}

int os_output_drop(OsOutput *out)
{
    if (out->file >= 0)
        close(out->file);
    int error = out->temporary[0] && unlink(out->temporary) ? errno : 0;
    *out = OS_OUTPUT_NONE;
    return error;
}

int os_output_check(const char *path)
{
    OsOutput out;
    int error = os_output_open(&out, path);
    int left = os_output_drop(&out);
    return error ? error : left;
}

/* All steps after opening. */
static int write_whole(OsOutput *out, const OsPart *parts, size_t count)
{
    int error = write_parts(out->file, parts, count);
    if (!error)
        error = os_output_finish(out);
    if (!error)
        error = os_output_place(out);
    os_output_drop(out);
    return error;
}

int os_output_write(const char *path, const OsPart *parts, size_t count)
{
    OsOutput out;
    int error = os_output_open(&out, path);
    return error ? error : write_whole(&out, parts, count);
}

int os_write_file(const char *path, const OsPart *parts, size_t count)
{
    OsOutput out = OS_OUTPUT_NONE;
    int error = copy_path(path, out.path);
    if (!error)
        error = open_beside(&out, 0600);
    return error ? error : write_whole(&out, parts, count);
}

int os_make_dirs(const char *path)
{
    char part[OS_PATH];
    size_t length = strlen(path);
    if (!length || length >= sizeof part)
        return length ? ENAMETOOLONG : ENOENT;
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i])
            continue;
        char kept = part[i];
        part[i] = 0;
        struct stat st;
        if (mkdir(part, 0700)) {
            int error = errno;   /* a read-only parent that exists reports EROFS or EACCES */
            if (stat(part, &st)) /* what exists all the same is a link that leads nowhere */
                return error == EEXIST ? ENOTDIR : error;
            if (!S_ISDIR(st.st_mode))
                return ENOTDIR;
        }
        part[i] = kept;
    }
    return 0;
}

int os_check_private_dir(const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        return errno;
    if (!S_ISDIR(st.st_mode))
        return ENOTDIR;
    return st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) ? EACCES : 0;
}

int os_list_dir(const char *path, bool (*each)(void *user, const char *name), void *user)
{
    DIR *directory = opendir(path);
    if (!directory)
        return errno;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(directory))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") && strcmp(name, "..") && !each(user, name))
            break;
        errno = 0;
    }
    int error = entry ? 0 : errno;
    closedir(directory);
    return error;
}

int os_remove(const char *path)
{
    return remove(path) && errno != ENOENT ? errno : 0;
}

int os_touch(const char *path)
{
    return utimensat(AT_FDCWD, path, NULL, 0) ? errno : 0;
}

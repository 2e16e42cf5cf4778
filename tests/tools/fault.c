/* Stands between a program and the system's storage calls (LD_PRELOAD): counts those that concern
 * files below $FAULT_UNDER and makes number $FAULT_AT end as $FAULT_KIND says: a name of errno
 * ("ENOSPC"), "short" (half of what should be written is, then the disk is full), or "kill". At
 * exit the number of calls is written to $FAULT_COUNT. One process, any number of threads; what a
 * process inherits begins at 0 again.
 *
 * Descriptors are looked up in /proc/self/fd, so that pipes, terminals and libraries do not count.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static atomic_bool full; /* the disk, once it was */

static int error_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EACCES", EACCES},
                 {"EROFS", EROFS},   {"EMFILE", EMFILE}, {"EINTR", EINTR}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name))
            return known[i].number;
    abort();
}

static int path_concerns(const char *path)
{
    const char *under = getenv("FAULT_UNDER");
    return under && path && !strncmp(path, under, strlen(under));
}

static int descriptor_concerns(int fd)
{
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return path_concerns(path);
}

/* Paths of the *at calls: relative ones concern us when their directory does. */
static int place_concerns(int fd, const char *path)
{
    return path[0] == '/' || fd == AT_FDCWD ? path_concerns(path) : descriptor_concerns(fd);
}

/* Counts a call; what it has to fail with, 0 to go on, -1 for a short write. */
static int fault(int writes)
{
    const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (writes && atomic_load(&full))
        return ENOSPC;
    if (!at || number != atol(at))
        return 0;
    if (!strcmp(kind, "kill"))
        kill(getpid(), SIGKILL);
    if (!strcmp(kind, "short")) {
        atomic_store(&full, 1);
        return writes ? -1 : 0;
    }
    return error_number(kind);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("FAULT_COUNT");
    long count = atomic_load(&calls);
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    fprintf(file, "%ld\n", count);
    fclose(file);
}

/* The function that would have been called. */
#define NEXT(name) (__extension__(__typeof__(&name)) dlsym(RTLD_NEXT, #name))

#define FAIL_IF(concerns)                                                                          \
    do {                                                                                           \
        int error = (concerns) ? fault(0) : 0;                                                     \
        if (error > 0) {                                                                           \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;                                  \
        va_end(list);                                                                              \
        FAIL_IF(path_concerns(path));                                                              \
        return NEXT(name)(path, flags, mode);                                                      \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    int name(int fd, const char *path, int flags, ...)                                             \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;                                  \
        va_end(list);                                                                              \
        FAIL_IF(place_concerns(fd, path));                                                         \
        return NEXT(name)(fd, path, flags, mode);                                                  \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                \
    FILE *name(const char *path, const char *mode)                                                 \
    {                                                                                              \
        int error = path_concerns(path) ? fault(0) : 0;                                            \
        errno = error > 0 ? error : errno;                                                         \
        return error > 0 ? NULL : NEXT(name)(path, mode);                                          \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int fd, const void *data, size_t bytes)
{
    int error = descriptor_concerns(fd) ? fault(1) : 0;
    if (error > 0) {
        errno = error;
        return -1;
    }
    return NEXT(write)(fd, data, error ? bytes / 2 : bytes);
}

#define PWRITE(name, type)                                                                         \
    ssize_t name(int fd, const void *data, size_t bytes, type offset)                              \
    {                                                                                              \
        int error = descriptor_concerns(fd) ? fault(1) : 0;                                        \
        if (error > 0) {                                                                           \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        return NEXT(name)(fd, data, error ? bytes / 2 : bytes, offset);                            \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Streams call the system without passing here. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    int error = descriptor_concerns(fileno(file)) ? fault(1) : 0;
    if (error > 0) {
        errno = error;
        return 0;
    }
    return NEXT(fwrite)(data, size, error ? count / 2 : count, file);
}

int fclose(FILE *file)
{
    int error = descriptor_concerns(fileno(file)) ? fault(1) : 0;
    int result = NEXT(fclose)(file);
    errno = error > 0 ? error : errno;
    return error > 0 ? -1 : result;
}

#define READ(name, ...)                                                                            \
    {                                                                                              \
        FAIL_IF(descriptor_concerns(fd));                                                          \
        return NEXT(name)(__VA_ARGS__);                                                            \
    }
ssize_t read(int fd, void *data, size_t bytes) READ(read, fd, data, bytes) int fsync(int fd)
    READ(fsync, fd) int fdatasync(int fd) READ(fdatasync, fd) int ftruncate(int fd, off_t length)
        READ(ftruncate, fd, length)

            int close(int fd)
{
    int error = descriptor_concerns(fd) ? fault(0) : 0;
    int result = NEXT(close)(fd); /* the descriptor is gone in any case */
    errno = error > 0 ? error : errno;
    return error > 0 ? -1 : result;
}

#define MMAP(name, type)                                                                           \
    void *name(void *at, size_t bytes, int protection, int flags, int fd, type offset)             \
    {                                                                                              \
        int error = fd >= 0 && descriptor_concerns(fd) ? fault(0) : 0;                             \
        errno = error > 0 ? error : errno;                                                         \
        return error > 0 ? MAP_FAILED : NEXT(name)(at, bytes, protection, flags, fd, offset);      \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

int rename(const char *from, const char *to)
{
    FAIL_IF(path_concerns(to));
    return NEXT(rename)(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    FAIL_IF(place_concerns(to_fd, to));
    return NEXT(renameat)(from_fd, from, to_fd, to);
}

int unlink(const char *path)
{
    FAIL_IF(path_concerns(path));
    return NEXT(unlink)(path);
}

int unlinkat(int fd, const char *path, int flags)
{
    FAIL_IF(place_concerns(fd, path));
    return NEXT(unlinkat)(fd, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    FAIL_IF(path_concerns(path));
    return NEXT(mkdir)(path, mode);
}

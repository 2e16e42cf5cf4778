/* quern cache: where compiled kernels are kept, what is there, and emptying it. Only files that
 * look like entries are ever listed or removed: regular files named by 32 hexadecimal digits and
 * ".qnc" (jit/cache.c). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/setup.h"
#include "tools/verbs.h"

static const Option options[] = {
    {OPT_CACHE_DIR, "cache-dir", "DIR", "this one instead of the user's"}, {0}};

static bool is_entry(const char *name)
{
    return strspn(name, "0123456789abcdef") == 32 && !strcmp(name + 32, ".qnc");
}

typedef struct Totals {
    int64_t files, bytes, failed;
} Totals;

static void visit(int directory, const char *name, bool clear, Totals *totals)
{
    struct stat st;
    char when[32] = "";
    struct tm parts;
    if (!is_entry(name) || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode))
        return;
    totals->files++;
    totals->bytes += st.st_size;
    if (clear) {
        totals->failed += unlinkat(directory, name, 0) != 0;
        return;
    }
    if (localtime_r(&st.st_mtime, &parts))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
    printf("%10" PRId64 "  %s  %s\n", (int64_t)st.st_size, when, name);
}

static bool walk(const char *path, bool clear, Fail *fail)
{
    Totals totals = {0};
    struct dirent **entries;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 && access(path, F_OK) != 0) {
        printf("empty: %s does not exist\n", path);
        return true;
    }
    int count = directory < 0 ? -1 : scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return fail_set(fail, "%s: %s", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        visit(directory, entries[i]->d_name, clear, &totals);
        free(entries[i]);
    }
    free(entries);
    close(directory);
    printf("%s%" PRId64 " entries, %.3f MB in %s\n", clear ? "removed " : "",
           totals.files - totals.failed, (double)totals.bytes / 1e6, path);
    return !totals.failed ||
           fail_set(fail, "%" PRId64 " entries could not be removed", totals.failed);
}

int verb_cache(int argc, char **argv)
{
    Args args = {.verb = "cache",
                 .usage = "list|clear|path [OPTION...]",
                 .what = "Lists the entries of the cache of compiled kernels, removes them all, or "
                         "prints its path.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    char path[4096];
    const char *directory = NULL;
    for (int id; (id = args_next(&args)) != ARGS_END;) {
        if (id == ARGS_HELP)
            return EXIT_DONE;
        if (id == ARGS_BAD)
            return EXIT_BAD_USAGE;
        directory = args.value;
    }
    int count;
    char **rest = args_rest(&args, &count);
    if (count != 1)
        return args_bad(&args, count ? "one thing at a time" : "list, clear or path?");
    bool clear = !strcmp(rest[0], "clear"), list = !strcmp(rest[0], "list");
    if (!clear && !list && strcmp(rest[0], "path") != 0)
        return args_bad(&args, "no '%s'; there are list, clear and path", rest[0]);
    if (!directory) {
        if (qn_cache_default_dir(path, sizeof path) != QN_OK)
            return args_failed(&args, "no cache directory: neither XDG_CACHE_HOME nor HOME is set");
        directory = path;
    }
    Fail fail = {""};
    if (!clear && !list)
        puts(directory);
    else if (!walk(directory, clear, &fail))
        return args_failed(&args, "%s", fail.text);
    return EXIT_DONE;
}

/* quern cache: where compiled programs are kept, what is there, emptying it, and why a model's
 * program would be taken from there or not. Only files that look like entries are ever listed or
 * removed: regular files named by 32 hexadecimal digits and ".qnc" (runtime/cache.c), and what
 * writers of such files left unfinished. */
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
#include "tools/show.h"
#include "tools/verbs.h"

static const Option options[] = {
    {OPT_DIM, "dim", "SYMBOL=N", "explain: size of an open dim; may be repeated"},
    {OPT_SHAPE, "shape", "INPUT=1x3x8x8", "explain: shape of an input; may be repeated"},
    {OPT_DEVICE, "target", "NAME", "explain: for this target; default: this CPU"},
    {OPT_PACK, "pack", "FILE", "explain: look into this pack, and nowhere else"},
    {OPT_RECORDS, "records", "FILE", "explain: with the schedules of these tuning records"},
    {OPT_CACHE_DIR, "cache-dir", "DIR", "this one instead of the user's"},
    {0}};

/* --- emptying --- */

static bool is_entry(const char *name)
{
    return strspn(name, "0123456789abcdef") == 32 && !strcmp(name + 32, ".qnc");
}

/* What a writer that was killed leaves behind: "<entry>.<process>.<number>.tmp". */
static bool is_unfinished(const char *name)
{
    size_t length = strlen(name);
    return length > 40 && strspn(name, "0123456789abcdef") == 32 &&
           !strncmp(name + 32, ".qnc.", 5) && strspn(name + 37, "0123456789.") == length - 40 &&
           !strcmp(name + length - 3, "tmp");
}

typedef struct Removal {
    int64_t removed, failed, bytes;
    int error; /* of the first that failed */
    char first[256];
} Removal;

static void remove_entry(int directory, const char *name, Removal *r)
{
    struct stat st;
    if (!(is_entry(name) || is_unfinished(name)) ||
        fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
        return;
    if (unlinkat(directory, name, 0) == 0) {
        r->removed++;
        r->bytes += st.st_size;
    } else if (!r->failed++) {
        r->error = errno;
        snprintf(r->first, sizeof r->first, "%s", name);
    }
}

/* A cache that nobody has used does not exist yet. A link to nothing is no such place. */
static bool is_unused(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0 || errno != ENOENT)
        return false;
    printf("empty: %s does not exist\n", path);
    return true;
}

static bool clear(const char *path, Fail *fail)
{
    struct dirent **entries;
    Removal r = {0};
    if (is_unused(path))
        return true;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = directory < 0 ? -1 : scandir(path, &entries, NULL, NULL);
    if (count < 0) {
        fail_set(fail, "%s: %s", path, strerror(errno));
        if (directory >= 0)
            close(directory);
        return false;
    }
    for (int i = 0; i < count; i++) {
        remove_entry(directory, entries[i]->d_name, &r);
        free(entries[i]);
    }
    free(entries);
    close(directory);
    printf("removed %" PRId64 " entries, %.3f MB in %s\n", r.removed, (double)r.bytes / 1e6, path);
    return !r.failed || fail_set(fail, "%s/%s: %s; %" PRId64 " entries could not be removed", path,
                                 r.first, strerror(r.error), r.failed);
}

/* --- listing --- */

typedef struct Totals {
    int64_t entries, bytes;
} Totals;

/* The value of a line of the parts, without the line's end. */
static int find_part(qn_string parts, const char *name, const char **value)
{
    size_t length = strlen(name);
    for (const char *at = parts.data; *at; at += strcspn(at, "\n") + 1) {
        if (!strncmp(at, name, length) && at[length] == ' ') {
            *value = at + length + 1;
            return (int)strcspn(*value, "\n");
        }
        if (!at[strcspn(at, "\n")])
            break;
    }
    *value = "";
    return 0;
}

static void print_entry(void *user, const qn_entry_info *info)
{
    Totals *totals = user;
    char when[32] = "";
    struct tm parts;
    time_t used = (time_t)info->used;
    const char *graph, *target;
    if (used && localtime_r(&used, &parts))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
    int graph_length = find_part(info->parts, "graph", &graph);
    int target_length = find_part(info->parts, "target", &target);
    printf("%12" PRId64 "  %-19s  ", info->bytes, when);
    const char *kind = info->kind.length ? info->kind.data : "damaged";
    show_all(kind);
    printf("%*s", strlen(kind) < 9 ? (int)(11 - strlen(kind)) : 2, "");
    show_all(info->name.data);
    if (target_length) {
        printf("  ");
        show(target, (size_t)target_length);
        printf(": ");
        show(graph, (size_t)graph_length);
    }
    putchar('\n');
    totals->entries++;
    totals->bytes += info->bytes;
}

/* Of a pack, which has to exist, or the cache. */
static bool list(const char *path, bool is_cache, Fail *fail)
{
    Totals totals = {0};
    qn_context *context;
    qn_context_options context_options = {.size = sizeof context_options, .threads = 1};
    if (is_cache && is_unused(path))
        return true;
    if (qn_context_create(&context_options, &context) != QN_OK)
        return fail_set(fail, "out of memory");
    bool done = qn_cache_list(context, qn_str(path), print_entry, &totals) == QN_OK ||
                fail_set(fail, "%s", qn_context_message(context));
    qn_context_release(context);
    if (done)
        printf("%" PRId64 " entries, %.3f MB in %s\n", totals.entries, (double)totals.bytes / 1e6,
               path);
    return done;
}

/* --- explaining --- */

static void print_line(void *user, const char *line)
{
    (void)user;
    show_all(line);
    putchar('\n');
}

/* Succeeds when the program is there, since that is what a script wants to know. */
static int explain(const Args *args, Setup *setup, const char *path)
{
    Fail fail = {""};
    qn_status status = QN_INTERNAL;
    setup->elsewhere = setup->device != NULL;
    qn_compile_options what;
    if (setup_open(setup, path, &fail) && setup_compile_options(setup, &what, &fail)) {
        status = qn_program_explain(setup->model, &what, print_line, NULL);
        if (status != QN_OK && status != QN_MISSING)
            fail_set(&fail, "%s: %s", path, qn_model_message(setup->model));
    }
    setup_close(setup);
    if (fail.text[0])
        return args_failed(args, "%s", fail.text);
    return status == QN_OK ? EXIT_DONE : EXIT_FAILED;
}

static const char *option_name(int id)
{
    const Option *o = options;
    while (o->id && o->id != id)
        o++;
    return o->name;
}

/* *only: an option that explain alone takes, if there was one. */
static int parse(Args *args, Setup *setup, int *only)
{
    Fail fail;
    for (int id; (id = args_next(args)) != ARGS_END;) {
        if (id == ARGS_HELP)
            return -1;
        if (id == ARGS_BAD)
            return EXIT_BAD_USAGE;
        if (!setup_option(setup, id, args->value, &fail))
            return args_bad(args, "%s", fail.text);
        if (id != OPT_CACHE_DIR)
            *only = id;
    }
    return EXIT_DONE;
}

/* Everything but explain. */
static int show_or_clear(const Args *args, const Setup *setup, const char *what, const char *pack)
{
    Fail fail = {""};
    char path[4096];
    bool done = true;
    if (!pack && !setup_cache_dir(setup, path, sizeof path, &fail))
        return args_failed(args, "no cache directory: %s", fail.text);
    const char *place = pack ? pack : path;
    if (!strcmp(what, "path"))
        puts(place);
    else
        done = strcmp(what, "list") ? clear(place, &fail) : list(place, !pack, &fail);
    return done ? EXIT_DONE : args_failed(args, "%s", fail.text);
}

int verb_cache(int argc, char **argv)
{
    static Setup setup;
    Args args = {.verb = "cache",
                 .usage = "list [PACK]|explain MODEL|clear|path [OPTION...]",
                 .what = "Lists the entries of the cache of compiled programs (or of a pack), "
                         "removes them all, or prints its path.\nexplain says what the key of a "
                         "model's program is made of, whether it is there, and if not, what\n"
                         "differs in the nearest entry; its exit status is 0 when it is there.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    int count, only = 0, status = parse(&args, &setup, &only);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    char **rest = args_rest(&args, &count);
    if (!count)
        return args_bad(&args, "list, explain, clear or path?");
    const char *what = rest[0];
    if (!strcmp(what, "explain"))
        return count == 2 ? explain(&args, &setup, rest[1])
                          : args_bad(&args, count < 2 ? "no model given" : "one model at a time");
    bool lists = !strcmp(what, "list");
    if (!lists && strcmp(what, "clear") != 0 && strcmp(what, "path") != 0)
        return args_bad(&args, "no '%s'; there are list, explain, clear and path", what);
    if (count > (lists ? 2 : 1))
        return args_bad(&args, "one thing at a time");
    if (only)
        return args_bad(&args, "--%s is for explain; %s takes --cache-dir only", option_name(only),
                        what);
    if (count == 2 && setup.cache_dir)
        return args_bad(&args, "a pack or --cache-dir, not both");
    return show_or_clear(&args, &setup, what, count == 2 ? rest[1] : NULL);
}

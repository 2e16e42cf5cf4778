/* The disk cache: entries, damage, limits, refusals; and that a warm start opens no compiler. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os_file.h"
#include "include/quern.h"
#include "runtime/cache.h"
#include "runtime/image.h"
#include "tests/unit/scratch_dir.h"

#define MODEL QUERN_SOURCE_DIR "/examples/digits/digits.onnx"

static char dir[64];
static Cx cx;

static void start(void)
{
    scratch_make();
    snprintf(dir, sizeof dir, "%s/cache", scratch_dir);
    cx_init(&cx, NULL, 0);
}

static void stop(void)
{
    cx_finish(&cx);
    chmod(dir, 0700);
    scratch_drop();
}

TestSuite(cache, .init = start, .fini = stop);

static const char *parts_of(int number)
{
    return arena_printf(cx.arena, "kind program\nnumber %d\n", number);
}

static Hash128 key_of(int number)
{
    return entry_key(parts_of(number)).whole;
}

static const char *put(Cache *cache, int number, char fill, size_t size)
{
    char *data = arena_array(cx.arena, size, 1);
    memset(data, fill, size);
    Entry entry = {ENTRY_program, parts_of(number), data, size};
    return cache->storage.class->put(&cache->storage, &cx, &executor_inline, &entry);
}

static bool has(Cache *cache, int number, char fill, size_t size)
{
    Entry found;
    if (!storage_get(&cache->storage, &cx, &executor_inline, entry_key(parts_of(number)), &found))
        return false;
    cr_assert_eq(found.kind, ENTRY_program);
    cr_assert_eq(found.size, size);
    cr_assert_eq((uintptr_t)found.data % 16, 0);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(((const uint8_t *)found.data)[i], (uint8_t)fill);
    return true;
}

Test(cache, keeps)
{
    Cache cache = cache_in(dir, 1 << 20);
    cr_assert(!has(&cache, 1, 'a', 100));
    cr_assert_null(put(&cache, 1, 'a', 100));
    cr_assert_null(put(&cache, 2, 'b', 3));
    cr_assert(has(&cache, 1, 'a', 100));
    cr_assert(has(&cache, 2, 'b', 3));
    cr_assert(!has(&cache, 3, 'b', 3));
    cr_assert_null(put(&cache, 1, 'c', 50));
    cr_assert(has(&cache, 1, 'c', 50));
}

static void entry_path(char path[200], int number)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(key_of(number), hex);
    snprintf(path, 200, "%s/%s.qnc", dir, hex);
}

Test(cache, foreign_entries)
{
    Cache cache = cache_in(dir, 1 << 20);
    char one[200], two[200];
    cr_assert_null(put(&cache, 1, 'a', 100));
    entry_path(one, 1);
    entry_path(two, 2);
    cr_assert_eq(rename(one, two), 0); /* an entry of another key */
    cr_assert(!has(&cache, 2, 'a', 100));
    cr_assert_eq(truncate(two, 20), 0);
    cr_assert(!has(&cache, 2, 'a', 100));
    cr_assert_null(put(&cache, 2, 'b', 10)); /* and is replaced */
    cr_assert(has(&cache, 2, 'b', 10));
}

Test(cache, limit)
{
    Cache cache = cache_in(dir, 4000);
    for (int i = 0; i < 3; i++) {
        cr_assert_null(put(&cache, i, 'a', 1000));
        usleep(20000);
    }
    cr_assert(has(&cache, 0, 'a', 1000)); /* the oldest, but used */
    usleep(20000);
    cr_assert_null(put(&cache, 3, 'a', 1000));
    cr_assert(has(&cache, 0, 'a', 1000));
    cr_assert(!has(&cache, 1, 'a', 1000));
    cr_assert(has(&cache, 2, 'a', 1000));
    cr_assert(has(&cache, 3, 'a', 1000));
    cr_assert_not_null(put(&cache, 4, 'a', 5000));
    cr_assert(has(&cache, 3, 'a', 1000));
}

/* A directory others may write is neither read nor written. */
Test(cache, not_private)
{
    Cache cache = cache_in(dir, 1 << 20);
    cr_assert_null(put(&cache, 1, 'a', 100));
    chmod(dir, 0777);
    cr_assert(!has(&cache, 1, 'a', 100));
    cr_assert_not_null(put(&cache, 2, 'a', 100));
    cache.storage.name = "/proc/nowhere";
    cr_assert(!has(&cache, 1, 'a', 100));
    cr_assert_not_null(put(&cache, 1, 'a', 100));
}

/* --- programs --- */

static int warnings;

static void count_warning(void *user, qn_log_level level, const char *text)
{
    (void)user;
    (void)level;
    cr_assert_not_null(strstr(text, "not kept"));
    warnings++;
}

static float result[10];

/* 1: from the cache, 0: compiled. */
static int run_model(const char *cache, int64_t fixed)
{
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
    qn_program_info info;
    float image[64];
    qn_context_options options = {.threads = 1, .cache_dir = qn_str(cache), .log = count_warning};
    cr_assert_eq(qn_context_create(&options, &context), QN_OK);
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    for (int i = 0; i < 2; i++) { /* twice: the same answer, and only one warning */
        qn_dim_value n = {.symbol = qn_str("N"), .value = fixed};
        qn_compile_options compile = {.dims = &n, .dim_count = fixed > 0};
        cr_assert_eq(qn_program_compile(model, &compile, &program), QN_OK, "%s",
                     qn_program_message(program));
        if (i)
            break;
        cr_assert_eq(qn_program_describe(program, &info), QN_OK);
        qn_program_release(program);
    }
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK);
    qn_shape shape = {.rank = 4, .dims = (int64_t[]){1, 1, 8, 8}};
    cr_assert_eq(qn_session_set_shapes(session, &shape, 1), QN_OK);
    for (int i = 0; i < 64; i++)
        image[i] = (float)(i % 17) / 16;
    cr_assert_eq(qn_run(session, &(qn_buffer){.data = image, .bytes = sizeof image}, 1,
                        &(qn_buffer){.data = result, .bytes = sizeof result}, 1),
                 QN_OK);
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
    return info.cached;
}

static bool is_mapped(const char *name)
{
    char line[1000];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    cr_assert_not_null(maps);
    while (fgets(line, sizeof line, maps))
        found |= strstr(line, name) != NULL;
    fclose(maps);
    return found;
}

/* Another process compiles; this one then finds it, gets the same bits, and has no compiler in it.
 */
Test(cache, warm_start)
{
    float cold[10];
    int pipes[2], status;
    cr_assert_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        bool ok = run_model(dir, 0) == 0 && is_mapped("libquern_llvm");
        ok = ok && write(pipes[1], result, sizeof result) == (ssize_t)sizeof result;
        _exit(!ok);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(read(pipes[0], cold, sizeof cold), (ssize_t)sizeof cold);
    cr_assert_eq(run_model(dir, 0), 1);
    cr_assert_eq(memcmp(cold, result, sizeof cold), 0);
    cr_assert(!is_mapped("libquern_llvm"));
    cr_assert(!is_mapped("libLLVM"));
    cr_assert_eq(run_model(dir, 1), 0); /* another program: fixed dims */
    cr_assert_eq(run_model(dir, 1), 1);
    cr_assert_eq(warnings, 0);
}

/* --- damage --- */

static char entry_file[200];

static bool note_entry(void *user, const char *name)
{
    (void)user;
    snprintf(entry_file, sizeof entry_file, "%s/%s", dir, name);
    return true;
}

/* The only entry, and its bytes. */
static char *load_entry(size_t *size)
{
    char *bytes;
    cr_assert_eq(os_list_dir(dir, note_entry, NULL), 0);
    cr_assert_eq(os_read_file(cx.arena, entry_file, 1 << 20, &bytes, size), 0);
    return bytes;
}

static void save_entry(const char *bytes, size_t size)
{
    OsPart part = {bytes, size};
    cr_assert_eq(os_write_file(entry_file, &part, 1), 0);
}

/* Where the parts of an entry begin, in order, and its end: the fields of the header, the text,
 * what fills it up, the head of the image, the plan, the code. */
static int find_regions(const char *bytes, size_t size, size_t *at)
{
    static const size_t fields[] = {0, 8, 16, 24, 32, 48};
    int count = 0;
    Entry entry;
    Image image;
    cr_assert(entry_read(cx.arena, &executor_inline, bytes, size, &entry));
    cr_assert(image_read(&cx, entry.data, entry.size, &image));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        at[count++] = fields[i];
    at[count++] = ENTRY_HEADER;
    at[count++] = ENTRY_HEADER + strlen(entry.parts);
    at[count++] = (size_t)((const char *)entry.data - bytes);
    at[count++] = (size_t)((const char *)image.plan - bytes);
    at[count++] = (size_t)((const char *)image.plan - bytes) + image.plan_size;
    for (uint32_t i = 0; i < image.code.count; i++)
        at[count++] = (size_t)((const char *)image.code.pieces[i].data - bytes);
    at[count++] = size;
    for (int i = 1; i < count; i++)
        cr_assert(at[i - 1] <= at[i] && at[i] <= size);
    return count;
}

/* What is in the file is compiled again, gives the right result, and is kept again. */
static void expect_again(const float *good, const char *bytes, size_t size, size_t at)
{
    save_entry(bytes, size);
    cr_assert_eq(run_model(dir, 0), 0, "byte %zu", at);
    cr_assert_eq(memcmp(good, result, sizeof result), 0, "byte %zu", at);
    cr_assert_eq(run_model(dir, 0), 1);
    cr_assert_eq(memcmp(good, result, sizeof result), 0);
}

/* The first and last byte of every region wrong, one between, and files that end there. */
Test(cache, damaged_program, .timeout = 300)
{
    enum { MOST = 64 };
    float good[10];
    size_t size, at[MOST];
    cr_assert_eq(run_model(dir, 0), 0);
    memcpy(good, result, sizeof good);
    char *bytes = load_entry(&size);
    char *longer = arena_alloc(cx.arena, size + 1);
    int count = find_regions(bytes, size, at);
    for (int i = 0; i + 1 < count; i++) {
        size_t last = at[i + 1] - 1, places[] = {at[i], last, (at[i] + last) / 2};
        for (int k = 0; k < (last > at[i] + 16 ? 3 : 2) && last + 1 > at[i]; k++) {
            char byte = bytes[places[k]];
            bytes[places[k]] = (char)(byte ^ (k == 2 ? 0x80 : 1));
            expect_again(good, bytes, size, places[k]);
            bytes[places[k]] = byte;
        }
        expect_again(good, bytes, at[i], at[i]);
    }
    memcpy(longer, bytes, size);
    longer[size] = 0;
    expect_again(good, longer, size + 1, size);
    save_entry(bytes, size);
    cr_assert_eq(run_model(dir, 0), 1);
}

Test(cache, cannot_write)
{
    cr_assert_eq(run_model("/proc/nowhere", 0), 0);
    cr_assert_eq(warnings, 1);
}

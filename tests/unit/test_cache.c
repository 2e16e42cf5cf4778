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

static bool damage_entry(void *user, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, *(long *)user, SEEK_SET), 0);
    int byte = fgetc(file);
    cr_assert_eq(fseek(file, *(long *)user, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    fclose(file);
    return true;
}

/* Whatever byte is wrong: compiled again, and kept again. */
Test(cache, damaged_program)
{
    float good[10];
    cr_assert_eq(run_model(dir, 0), 0);
    memcpy(good, result, sizeof good);
    for (long at = 3; at < 12000; at = at * 2 + 5) {
        cr_assert_eq(os_list_dir(dir, damage_entry, &at), 0);
        cr_assert_eq(run_model(dir, 0), 0, "byte %ld", at);
        cr_assert_eq(memcmp(good, result, sizeof good), 0);
        cr_assert_eq(run_model(dir, 0), 1);
    }
}

Test(cache, cannot_write)
{
    cr_assert_eq(run_model("/proc/nowhere", 0), 0);
    cr_assert_eq(warnings, 1);
}

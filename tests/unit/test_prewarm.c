/* Packs through the public interface: what was prewarmed runs without a compiler and without
 * packing, and what a pack does not hold is said in words. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/os_file.h"
#include "include/quern.h"
#include "jit/api.h"
#include "runtime/weights.h"
#include "tests/unit/scratch_dir.h"

#define MODEL QUERN_SOURCE_DIR "/examples/digits/digits.onnx"

static char pack_path[64], cache_path[64];

static void start(void)
{
    scratch_make();
    snprintf(pack_path, sizeof pack_path, "%s/p.qnp", scratch_dir);
    snprintf(cache_path, sizeof cache_path, "%s/cache", scratch_dir);
}

static void stop(void)
{
    scratch_drop();
}

TestSuite(prewarm, .init = start, .fini = stop);

static char warned[600];

static void keep_warning(void *user, qn_log_level level, const char *text)
{
    (void)user;
    (void)level;
    snprintf(warned, sizeof warned, "%s", text);
}

/* A context that cannot compile, or one that can. */
static qn_context *context_of(bool compiler, const char *cache)
{
    qn_context *context;
    qn_context_options options = {.threads = 2, .cache_dir = qn_str(cache), .log = keep_warning};
    if (!compiler)
        options.compiler_path = qn_str("/nowhere/libquern_llvm.so");
    cr_assert_eq(qn_context_create(&options, &context), QN_OK);
    return context;
}

static qn_model *open_model(qn_context *context, const char *path)
{
    qn_model *model;
    cr_assert_eq(qn_model_open(context, qn_str(path), NULL, &model), QN_OK, "%s",
                 qn_model_message(model));
    return model;
}

static qn_dim_value one = {.symbol = {"N", 1}, .value = 1};

/* A pack with digits.onnx for N = 1. */
static void make_pack(const char *model_path, uint32_t flags, const char *merged)
{
    qn_context *context = context_of(true, "");
    qn_model *model = open_model(context, model_path);
    qn_program *program;
    qn_pack *pack;
    qn_compile_options options = {.dims = &one, .dim_count = 1};
    cr_assert_eq(qn_program_compile(model, &options, &program), QN_OK);
    cr_assert_eq(qn_pack_create(context, &pack), QN_OK);
    if (merged)
        cr_assert_eq(qn_pack_add_file(pack, qn_str(merged)), QN_OK, "%s", qn_pack_message(pack));
    cr_assert_eq(qn_pack_add(pack, program, flags), QN_OK, "%s", qn_pack_message(pack));
    qn_program_release(program);
    qn_model_release(model);
    cr_assert_eq(qn_pack_write(pack, qn_str(pack_path)), QN_OK, "%s", qn_pack_message(pack));
    qn_pack_release(pack);
    qn_context_release(context);
}

static float result[10];
static qn_program_info info;
static qn_session_info session_info_;
static char message[1000];

static qn_status run_program(qn_program *program)
{
    qn_session *session;
    float image[64];
    qn_status status = qn_session_create(program, NULL, &session);
    snprintf(message, sizeof message, "%s", qn_session_message(session));
    if (status == QN_OK) {
        for (int i = 0; i < 64; i++)
            image[i] = (float)(i % 17) / 16;
        status = qn_run(session, &(qn_buffer){.data = image, .bytes = sizeof image}, 1,
                        &(qn_buffer){.data = result, .bytes = sizeof result}, 1);
        cr_assert_eq(qn_session_describe(session, &session_info_), QN_OK);
    }
    qn_session_release(session);
    return status;
}

/* Compiles and runs; what it is called with says where it may come from. */
static qn_status run_model(qn_context *context, const char *path, qn_compile_options options)
{
    qn_model *model = open_model(context, path);
    qn_program *program;
    qn_status status = qn_program_compile(model, &options, &program);
    snprintf(message, sizeof message, "%s", qn_program_message(program));
    if (status == QN_OK) {
        cr_assert_eq(qn_program_describe(program, &info), QN_OK);
        status = run_program(program);
    }
    qn_program_release(program);
    qn_model_release(model);
    return status;
}

static const qn_compile_options from_packs = {.dims = &one, .dim_count = 1, .packs_only = 1};

Test(prewarm, needs_no_compiler)
{
    float expected[10];
    qn_context *context = context_of(true, "");
    cr_assert_eq(run_model(context, MODEL, (qn_compile_options){.dims = &one, .dim_count = 1}),
                 QN_OK);
    memcpy(expected, result, sizeof expected);
    cr_assert_eq(info.cached, 0);
    cr_assert_eq(session_info_.packed, 0);
    qn_context_release(context);
    make_pack(MODEL, 0, NULL);
    context = context_of(false, "");
    cr_assert_eq(run_model(context, MODEL, (qn_compile_options){.dims = &one, .dim_count = 1}),
                 QN_MISSING); /* no compiler */
    cr_assert_eq(qn_context_add_pack(context, qn_str(pack_path)), QN_OK, "%s",
                 qn_context_message(context));
    memset(result, 0, sizeof result);
    cr_assert_eq(run_model(context, MODEL, from_packs), QN_OK, "%s", message);
    cr_assert_eq(info.cached, 2);
    cr_assert_eq(session_info_.packed, 1);
    cr_assert_gt(session_info_.shared_bytes, 100000);
    cr_assert_eq(memcmp(result, expected, sizeof result), 0);
    /* the same size, said as a shape */
    qn_shape shape = {.name = qn_str("image"), .rank = 4, .dims = (int64_t[]){1, 1, 8, 8}};
    qn_compile_options by_shape = {.shapes = &shape, .shape_count = 1, .packs_only = 1};
    cr_assert_eq(run_model(context, MODEL, by_shape), QN_OK, "%s", message);
    /* packs are looked into without being told to */
    qn_compile_options anything = {.dims = &one, .dim_count = 1};
    cr_assert_eq(run_model(context, MODEL, anything), QN_OK, "%s", message);
    cr_assert_str_eq(warned, "");
    qn_context_release(context);
}

Test(prewarm, wrong_program)
{
    make_pack(MODEL, 0, NULL);
    qn_context *context = context_of(true, cache_path);
    cr_assert_eq(run_model(context, MODEL, from_packs), QN_MISSING);
    cr_assert_not_null(strstr(message, "no pack"));
    cr_assert_eq(qn_context_add_pack(context, qn_str(pack_path)), QN_OK);
    cr_assert_eq(run_model(context, MODEL, (qn_compile_options){.packs_only = 1}), QN_MISSING);
    cr_assert_not_null(strstr(message, pack_path));
    cr_assert_not_null(strstr(message, "dim 'N': 1..1048576 by 1 here, 1..1 by 1 there"), "%s",
                       message);
    qn_compile_options other = from_packs;
    other.device = qn_str(
        strcmp(info.target.data ? info.target.data : "", "x86-64-v3") ? "x86-64-v3" : "x86-64-v4");
    other.elsewhere = 1;
    cr_assert_eq(run_model(context, MODEL, other), QN_MISSING);
    cr_assert_not_null(strstr(message, "target: x86-64-v3"), "%s", message);
    cr_assert_eq(run_model(context, QUERN_SOURCE_DIR "/examples/digits/digits.onnx", from_packs),
                 QN_OK);
    qn_context_release(context);
}

static void copy_model(const char *to, long flip)
{
    Cx cx;
    char *data;
    size_t size;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(os_read_file(cx.arena, MODEL, 1 << 20, &data, &size), 0);
    for (long i = 0; flip && i < 4096; i++)
        data[flip + i] ^= 4;
    OsPart part = {data, size};
    cr_assert_eq(os_write_file(to, &part, 1), 0);
    cx_finish(&cx);
}

/* The same model with other weights: its code is there, its packed weights are not. Which weights a
 * program has is found out by looking at them, whatever the file is called and wherever it is. */
Test(prewarm, other_weights)
{
    char copy[80], changed[80];
    float expected[10];
    snprintf(copy, sizeof copy, "%s/copy.onnx", scratch_dir);
    snprintf(changed, sizeof changed, "%s/changed.onnx", scratch_dir);
    copy_model(copy, 0);
    copy_model(changed, 100000); /* in the largest weight */
    make_pack(MODEL, 0, NULL);
    qn_context *context = context_of(true, "");
    cr_assert_eq(run_model(context, changed, (qn_compile_options){.dims = &one, .dim_count = 1}),
                 QN_OK);
    memcpy(expected, result, sizeof expected);
    cr_assert_eq(qn_context_add_pack(context, qn_str(pack_path)), QN_OK);
    cr_assert_eq(run_model(context, copy, from_packs), QN_OK);
    cr_assert_eq(session_info_.packed, 1);
    cr_assert_neq(memcmp(result, expected, sizeof result), 0);
    cr_assert_str_eq(warned, "");
    cr_assert_eq(run_model(context, changed, from_packs), QN_OK);
    cr_assert_eq(info.cached, 2);
    cr_assert_eq(session_info_.packed, 0);
    cr_assert_eq(memcmp(result, expected, sizeof result), 0);
    cr_assert_not_null(strstr(warned, "packed again"));
    qn_context_release(context);
    make_pack(changed, 0, pack_path); /* both */
    context = context_of(false, "");
    cr_assert_eq(qn_context_add_pack(context, qn_str(pack_path)), QN_OK);
    cr_assert_eq(run_model(context, changed, from_packs), QN_OK);
    cr_assert_eq(session_info_.packed, 1);
    cr_assert_eq(memcmp(result, expected, sizeof result), 0);
    cr_assert_eq(run_model(context, copy, from_packs), QN_OK);
    cr_assert_eq(session_info_.packed, 1);
    qn_context_release(context);
}

Test(prewarm, without_weights)
{
    make_pack(MODEL, QN_PACK_NO_WEIGHTS, NULL);
    qn_context *context = context_of(false, "");
    cr_assert_eq(qn_context_add_pack(context, qn_str(pack_path)), QN_OK);
    cr_assert_eq(run_model(context, MODEL, from_packs), QN_OK);
    cr_assert_eq(session_info_.packed, 0);
    cr_assert_str_eq(warned, "");
    qn_context_release(context);
}

/* Whatever byte of the file is wrong: refused, or the same result. */
Test(prewarm, damaged, .timeout = 120)
{
    Cx cx;
    char *data;
    size_t size;
    float expected[10];
    int refused = 0;
    make_pack(MODEL, 0, NULL);
    cx_init(&cx, NULL, 0);
    cr_assert_eq(os_read_file(cx.arena, pack_path, 1 << 24, &data, &size), 0);
    for (size_t at = 0; at < size; at += at < 4096 ? 37 : 4099) {
        OsPart part = {data, size};
        data[at] ^= at ? 4 : 0; /* the first time as it is */
        cr_assert_eq(os_write_file(pack_path, &part, 1), 0);
        data[at] ^= at ? 4 : 0;
        qn_context *context = context_of(false, "");
        qn_status status = qn_context_add_pack(context, qn_str(pack_path));
        snprintf(message, sizeof message, "%s", qn_context_message(context));
        if (status == QN_OK)
            status = run_model(context, MODEL, from_packs);
        cr_assert(status == QN_OK || status == QN_BAD_FILE, "byte %zu: %s", at, message);
        if (status != QN_OK)
            cr_assert_not_null(strstr(message, pack_path), "%s", message);
        if (at == 0)
            memcpy(expected, result, sizeof expected);
        else if (status == QN_OK)
            cr_assert_eq(memcmp(result, expected, sizeof result), 0);
        refused += status != QN_OK;
        qn_context_release(context);
    }
    cr_assert_gt(refused, 100);
    cx_finish(&cx);
}

/* A program for another machine can be asked and packed, not run. */
Test(prewarm, elsewhere)
{
    qn_context *context = context_of(true, "");
    qn_model *model = open_model(context, MODEL);
    qn_pack *pack;
    qn_pack_info packed;
    cr_assert_eq(qn_pack_create(context, &pack), QN_OK);
    const char *targets[] = {"x86-64-v3", "x86-64-v4"};
    for (int i = 0; i < 2; i++) {
        qn_program *program;
        qn_compile_options options = {.device = qn_str(targets[i]), .elsewhere = 1};
        cr_assert_eq(qn_program_compile(model, &options, &program), QN_OK, "%s",
                     qn_program_message(program));
        cr_assert_eq(qn_program_describe(program, &info), QN_OK);
        cr_assert_str_eq(info.target.data, targets[i]);
        cr_assert_gt(info.object_bytes, 0);
        cr_assert_eq(run_program(program), QN_BAD_ARGUMENT);
        cr_assert_not_null(strstr(message, "another machine"));
        cr_assert_eq(qn_pack_add(pack, program, 0), QN_OK);
        qn_program_release(program);
    }
    cr_assert_eq(qn_pack_describe(pack, &packed), QN_OK);
    cr_assert_eq(packed.programs, 2);
    cr_assert_eq(packed.weights, 0);
    qn_pack_release(pack);
    qn_model_release(model);
    qn_context_release(context);
}

/* --- identity of weights --- */

typedef struct Identity {
    const char *model;
    Storage *memo;
    Hash128 found;
} Identity;

static void find_identity(Cx *cx, void *user)
{
    Identity *i = user;
    qn_context *context = context_of(true, "");
    qn_model *model = open_model(context, i->model);
    qn_program *program;
    cr_assert_eq(qn_program_compile(model, NULL, &program), QN_OK);
    WeightSource source = {program->plan, program->file_count, program->files, i->memo,
                           &executor_inline};
    cr_assert(weights_identity(cx, &source, &i->found));
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
}

static Hash128 identity(Cx *cx, const char *model, Cache *memo)
{
    Identity i = {.model = model, .memo = memo ? &memo->storage : NULL};
    cx_run(cx, find_identity, &i);
    return i.found;
}

/* Changes a remembered hash. */
static bool poison(void *user, const StorageItem *item)
{
    Cx *cx = user;
    Cache cache = cache_in(cache_path, 1 << 20);
    Entry entry;
    cr_assert_eq(item->entry.kind, ENTRY_hashes);
    cr_assert(
        storage_get(&cache.storage, cx, &executor_inline, entry_key(item->entry.parts), &entry));
    char *data = arena_copy(cx->arena, entry.data, entry.size);
    data[16] ^= 1;
    entry.data = data;
    cr_assert_null(cache.storage.class->put(&cache.storage, cx, &executor_inline, &entry));
    return false;
}

Test(prewarm, weights_are_read_once)
{
    Cx cx;
    char copy[80];
    Cache memo = cache_in(cache_path, 1 << 20);
    cx_init(&cx, NULL, 0);
    snprintf(copy, sizeof copy, "%s/copy.onnx", scratch_dir);
    copy_model(copy, 0);
    Hash128 expected = identity(&cx, MODEL, NULL);
    struct timespec times[2];
    cr_assert_eq(timespec_get(&times[0], TIME_UTC), TIME_UTC);
    times[0].tv_sec += 3600;
    times[1] = times[0];
    cr_assert_eq(utimensat(AT_FDCWD, copy, times, 0), 0);
    cr_assert(hash_equal(identity(&cx, copy, &memo), expected)); /* not to be remembered yet */
    cr_assert_not_null(memo.storage.class->list(&memo.storage, &cx, poison, &cx));
    copy_model(copy, 0);
    usleep(300000);
    cr_assert(hash_equal(identity(&cx, copy, &memo), expected));
    cr_assert(hash_equal(identity(&cx, copy, &memo), expected));
    cr_assert_null(memo.storage.class->list(&memo.storage, &cx, poison, &cx));
    cr_assert_not(hash_equal(identity(&cx, copy, &memo), expected)); /* it was not read */
    copy_model(copy, 0);
    cr_assert(hash_equal(identity(&cx, copy, &memo), expected)); /* another file */
    cx_finish(&cx);
}

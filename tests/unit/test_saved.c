/* Saved programs: written, loaded from a file and from memory at any alignment, run without the
 * model; and refused when anything in the file is wrong. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/quern.h"
#include "runtime/pack.h"

#define MODEL QUERN_SOURCE_DIR "/examples/digits/digits.onnx"

enum { MOST = 1 << 20 };

static float x[64], y[10], expected[10];
static unsigned char bytes[MOST + 16];
static size_t size;
static qn_context *context;

static void run_on_ones(qn_program *program, float *result)
{
    qn_session *session;
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = result, .bytes = sizeof y};
    for (int i = 0; i < 64; i++)
        x[i] = 1;
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK, "%s",
                 qn_session_message(session));
    cr_assert_eq(qn_run(session, &in, 1, &out, 1), QN_OK, "%s", qn_session_message(session));
    qn_session_release(session);
}

static qn_program *compiled(const char *target, int32_t elsewhere)
{
    qn_model *model;
    qn_program *program;
    qn_dim_value one = {.symbol = qn_str("N"), .value = 1};
    qn_compile_options compile = {
        .device = qn_str(target), .dims = &one, .dim_count = 1, .elsewhere = elsewhere};
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    cr_assert_eq(qn_program_compile(model, &compile, &program), QN_OK, "%s",
                 qn_program_message(program));
    qn_model_release(model);
    return program;
}

static void new_file(char *path)
{
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    close(file);
}

/* Saves the demo for one image; `bytes` then holds the file. */
static void save(char *path)
{
    qn_context_options options = {.threads = 1};
    new_file(path);
    cr_assert_eq(qn_context_create(&options, &context), QN_OK);
    qn_program *program = compiled("", 0);
    run_on_ones(program, expected);
    cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK, "%s", qn_program_message(program));
    qn_program_release(program); /* and the model with it: what was saved does not need it */
    FILE *in = fopen(path, "rb");
    cr_assert_not_null(in);
    size = fread(bytes, 1, MOST, in);
    fclose(in);
    cr_assert(size > 1000 && size < MOST);
}

static void check_same(qn_program *program)
{
    memset(y, 0, sizeof y);
    run_on_ones(program, y);
    cr_assert_arr_eq(y, expected, sizeof y);
}

Test(saved, file_and_memory)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_program *program, *again;
    qn_tensor_info input;
    qn_program_info info;
    save(path);
    cr_assert_eq(qn_program_load(context, qn_str(path), &program), QN_OK, "%s",
                 qn_program_message(program));
    cr_assert_eq(qn_program_input(program, 0, &input), QN_OK);
    cr_assert_eq(input.dims[0].value, 1);
    cr_assert_eq(qn_program_describe(program, &info), QN_OK);
    cr_assert_gt(info.weight_bytes, 100000);
    cr_assert_eq(info.init_kernels, 0); /* what they give was saved */
    check_same(program);
    /* What was loaded can be saved, to the same bytes. */
    cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK);
    qn_program_release(program);
    static unsigned char other[MOST];
    FILE *in = fopen(path, "rb");
    cr_assert_eq(fread(other, 1, MOST, in), size);
    fclose(in);
    cr_assert_arr_eq(other, bytes, size);
    unlink(path);
    for (size_t shift = 0; shift < 16; shift += 5) {
        memmove(bytes + shift, shift ? bytes + shift - 5 : bytes, size);
        cr_assert_eq(qn_program_from_memory(context, bytes + shift, size, &again), QN_OK, "%s",
                     qn_program_message(again));
        check_same(again);
        qn_program_release(again);
    }
    qn_context_release(context);
}

static void refused(const void *data, size_t length)
{
    qn_program *program;
    cr_assert_eq(qn_program_from_memory(context, data, length, &program), QN_BAD_FILE);
    cr_assert(*qn_program_message(program));
    qn_session *session;
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_BAD_ARGUMENT);
    qn_program_release(program);
}

Test(saved, damage, .timeout = 300)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_program *program;
    save(path);
    unlink(path);
    for (size_t length = 0; length < size; length += length < 200 ? 1 : 4999)
        refused(bytes, length);
    refused(bytes, size + 8);
    for (size_t at = 0; at < size; at += at < 400 ? 1 : 4999) {
        bytes[at] ^= 0x20;
        qn_status status = qn_program_from_memory(context, bytes, size, &program);
        if (status == QN_OK) { /* a zero between entries */
            cr_assert_eq(bytes[at], 0x20);
            check_same(program);
        }
        qn_program_release(program);
        if (status != QN_OK)
            refused(bytes, size);
        bytes[at] ^= 0x20;
    }
    cr_assert_eq(qn_program_load(context, qn_str("/nonexistent/file"), &program), QN_MISSING);
    cr_assert(strstr(qn_program_message(program), "/nonexistent/file"));
    qn_program_release(program);
    cr_assert_eq(qn_program_load(context, qn_str("/"), &program), QN_IO);
    qn_program_release(program);
    cr_assert_eq(qn_program_load(context, (qn_string){"a\0b", 3}, &program), QN_BAD_ARGUMENT);
    qn_program_release(program);
    cr_assert_eq(qn_program_from_memory(context, NULL, 0, &program), QN_BAD_FILE);
    qn_program_release(program);
    qn_context_release(context);
}

Test(saved, cannot_write)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_program *program;
    save(path);
    cr_assert_eq(qn_program_load(context, qn_str(path), &program), QN_OK);
    cr_assert_eq(qn_program_save(program, qn_str("/nonexistent/file")), QN_IO);
    cr_assert(strstr(qn_program_message(program), "/nonexistent/file"));
    check_same(program); /* it is as good as before */
    qn_program_release(program);
    unlink(path);
    qn_context_release(context);
}

/* For another machine nothing is computed when saving: it is when loading. */
Test(saved, elsewhere)
{
    const char level[] = "x86-64-v3";
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_device_info device;
    qn_program_info info;
    bool runs = false;
    new_file(path);
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    for (int32_t i = 0; qn_device_at(context, i, &device) == QN_OK; i++)
        runs |= strcmp(device.name.data, level) == 0 && device.usable;
    qn_program *program = compiled(level, 1), *loaded;
    cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK, "%s", qn_program_message(program));
    qn_program_release(program);
    if (runs) {
        program = compiled(level, 0);
        run_on_ones(program, expected);
        qn_program_release(program);
        cr_assert_eq(qn_program_load(context, qn_str(path), &loaded), QN_OK, "%s",
                     qn_program_message(loaded));
        cr_assert_eq(qn_program_describe(loaded, &info), QN_OK);
        cr_assert_gt(info.init_kernels, 0);
        check_same(loaded);
        qn_program_release(loaded);
    }
    unlink(path);
    qn_context_release(context);
}

/* --- packs that are none of a saved program --- */

typedef struct Change {
    EntryKind without; /* the first entry of this kind stays out */
    const char *path;
} Change;

static void change_job(Cx *cx, void *user)
{
    const Change *change = user;
    PackList list = {0};
    Pack pack;
    Entry entry;
    bool left_out = false;
    cr_assert(pack_open_memory(cx, bytes, size, &pack));
    for (uint32_t i = 0; i < pack.count; i++) {
        cr_assert(pack_entry(cx, &pack, &executor_inline, i, &entry));
        if (left_out || entry.kind != change->without)
            pack_list_add(cx, &list, &entry);
        else
            left_out = true;
    }
    cr_assert(left_out);
    cr_assert(pack_write(cx, &executor_inline, change->path, &list));
    pack_close(&pack);
}

static void load_fails(const char *path, const char *why)
{
    qn_program *program;
    cr_assert_eq(qn_program_load(context, qn_str(path), &program), QN_BAD_FILE);
    cr_assert(strstr(qn_program_message(program), why), "%s", qn_program_message(program));
    qn_program_release(program);
}

Test(saved, other_packs)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    Cx cx;
    qn_pack *pack;
    qn_program *program, *same;
    save(path);
    cx_init(&cx, NULL, 0);
    Change change = {ENTRY_weight, path};
    cr_assert_eq(cx_run(&cx, change_job, &change), ST_ok);
    load_fails(path, "a weight of the saved program is not there");
    change.without = ENTRY_saved;
    cr_assert_eq(cx_run(&cx, change_job, &change), ST_ok);
    load_fails(path, "holds 0 saved programs");
    cx_finish(&cx);
    /* one for another target beside it, then the same twice */
    program = compiled("x86-64-v3", 1);
    same = compiled("x86-64-v4", 1);
    for (int i = 0; i < 2; i++) {
        char other[] = "/tmp/quern-saved-XXXXXX";
        new_file(other);
        cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK);
        cr_assert_eq(qn_program_save(i ? program : same, qn_str(other)), QN_OK);
        cr_assert_eq(qn_pack_create(context, &pack), QN_OK);
        cr_assert_eq(qn_pack_add_file(pack, qn_str(path)), QN_OK);
        cr_assert_eq(qn_pack_add_file(pack, qn_str(other)), QN_OK);
        cr_assert_eq(qn_pack_write(pack, qn_str(path)), QN_OK);
        qn_pack_release(pack);
        if (i == 0)
            load_fails(path, "holds 2 saved programs");
        unlink(other);
    }
    qn_program_release(same);
    qn_status status = qn_program_load(context, qn_str(path), &same);
    cr_assert(status == QN_OK || status == QN_UNSUPPORTED, "%s", qn_program_message(same));
    qn_program_release(same);
    qn_program_release(program);
    unlink(path);
    qn_context_release(context);
}

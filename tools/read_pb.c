/* Reading of test data: the model reader's own code, run in a job of its own. */
#include <stdlib.h>

#include "base/cx.h"
#include "base/os_file.h"
#include "frontend/onnx_model.h"
#include "tools/bind.h"

typedef struct Reading {
    const char *path;
    const OsMap *map;
    OnnxKind kind;
    PbValue *to;
    Fail *fail;
} Reading;

static void read_strings(Cx *cx, Reading *r, const OnnxTensor *t, Tensor *to)
{
    qn_string *list = NEW_ARRAY(cx->arena, qn_string, t->count);
    for (int64_t i = 0; i < to->count; i++)
        list[i] = (qn_string){t->strings[i].data, t->strings[i].length};
    if (!tensor_set_strings(to, list, r->fail))
        cx_fail(cx, ST_out_of_memory, "%s", r->fail->text);
}

static void take_tensor(Cx *cx, Reading *r, const OnnxTensor *t, Tensor *to)
{
    if (!tensor_make(to, (qn_dtype)t->dtype, t->rank, t->dims, r->fail))
        cx_fail(cx, ST_unsupported, "%s", r->fail->text);
    else if (t->dtype == DT_string && t->count)
        read_strings(cx, r, t, to);
    else if (t->size != to->bytes)
        cx_fail(cx, ST_bad_file, "%zu bytes of data for %zu", t->size, to->bytes);
    else if (t->size)
        memcpy(to->data, t->data, t->size);
}

static bool same_keys(const OnnxValue *a, const OnnxValue *b)
{
    bool same = a->kind == OK_map && b->kind == OK_map && a->key == b->key && a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->key != DT_string ? a->key_ints[i] == b->key_ints[i]
                                   : a->key_strings[i].length == b->key_strings[i].length &&
                                         !memcmp(a->key_strings[i].data, b->key_strings[i].data,
                                                 a->key_strings[i].length);
    return same;
}

static void take_keys(Cx *cx, Reading *r, const OnnxValue *map, Tensor *to)
{
    OnnxTensor keys = {
        .dtype = map->key, .rank = 1, .dims = (const int64_t[]){map->count}, .count = map->count};
    keys.strings = map->key_strings;
    keys.size = map->key == DT_string ? 0 : (size_t)dtype_bytes(map->key, keys.count);
    char *data = NEW_ARRAY(cx->arena, char, keys.size);
    for (uint32_t i = 0; map->key != DT_string && i < map->count; i++)
        dtype_store(map->key, data, i, (Scalar){.i = map->key_ints[i]});
    keys.data = data;
    take_tensor(cx, r, &keys, to);
}

/* The single elements of `rows` maps with the same keys as one tensor: [keys], or [rows, keys] of a
 * sequence. */
static void take_maps(Cx *cx, Reading *r, const OnnxValue *maps, uint32_t rows, bool sequence,
                      Tensor *to)
{
    const OnnxValue *items = maps[0].items;
    const int64_t dims[] = {rows, maps[0].count}, count = rows * dims[1];
    OnnxTensor all = {.rank = 1 + sequence, .dims = dims + !sequence, .count = count};
    all.dtype = count && items[0].kind == OK_tensor ? items[0].tensor.dtype : DT_f32;
    size_t size = (size_t)dtype_bits(all.dtype) / 8;
    char *data = NEW_ARRAY(cx->arena, char, size *(size_t)count);
    OnnxString *strings = NEW_ARRAY(cx->arena, OnnxString, count);
    for (int64_t i = 0; i < count; i++) {
        const OnnxValue *value = &maps[i / dims[1]].items[i % dims[1]];
        const OnnxTensor *t = &value->tensor;
        if (!same_keys(&maps[0], &maps[i / dims[1]]) || value->kind != OK_tensor ||
            t->dtype != all.dtype || t->count != 1 || t->size != size) {
            cx_fail(cx, ST_unsupported,
                    "a map with several numbers to a key, or maps that differ "
                    "in their keys");
            return;
        }
        if (all.dtype == DT_string)
            strings[i] = t->strings[0];
        else
            memcpy(data + (size_t)i * size, t->data, size);
    }
    all.data = data;
    all.strings = strings;
    all.size = size * (size_t)count;
    take_tensor(cx, r, &all, to);
}

static void take_map(Cx *cx, Reading *r, const OnnxValue *maps, uint32_t rows, bool sequence,
                     PbValue *to)
{
    to->is_list = to->is_map = true;
    to->items = calloc(2, sizeof *to->items);
    if (!to->items) {
        cx_fail(cx, ST_out_of_memory, "no memory for a map");
        return;
    }
    to->count = 2;
    take_maps(cx, r, maps, rows, sequence, &to->items[0].tensor);
    if (!cx_failed(cx))
        take_keys(cx, r, maps, &to->items[1].tensor);
}

static void take_value(Cx *cx, Reading *r, const OnnxValue *value, PbValue *to)
{
    bool maps = value->kind == OK_sequence && value->count && value->items[0].kind == OK_map;
    if (maps || value->kind == OK_map) {
        take_map(cx, r, maps ? value->items : value, maps ? value->count : 1, maps, to);
        return;
    }
    to->is_list = value->kind == OK_sequence || value->kind == OK_optional;
    if (value->kind == OK_none)
        cx_fail(cx, ST_unsupported, "a value that is not there");
    else if (!to->is_list)
        take_tensor(cx, r, &value->tensor, &to->tensor);
    if (!to->is_list || !value->count)
        return;
    to->items = value->count < INT32_MAX ? calloc(value->count, sizeof *to->items) : NULL;
    if (!to->items) {
        cx_fail(cx, ST_out_of_memory, "no memory for %u values", value->count);
        return;
    }
    to->count = (int32_t)value->count;
    for (uint32_t i = 0; i < value->count && !cx_failed(cx); i++)
        take_value(cx, r, &value->items[i], &to->items[i]);
}

static void read_value(Cx *cx, void *user)
{
    Reading *r = user;
    const OnnxValue *value =
        onnx_value_from_memory(cx, r->path, r->map->data, r->map->size, r->kind);
    if (value)
        take_value(cx, r, value, r->to);
}

bool read_pb_value(const char *path, qn_kind kind, PbValue *to, Fail *fail)
{
    static const OnnxKind kinds[] = {[QN_OTHER] = OK_tensor,
                                     [QN_TENSOR] = OK_tensor,
                                     [QN_SEQUENCE] = OK_sequence,
                                     [QN_OPTIONAL] = OK_optional,
                                     [QN_MAP] = OK_map};
    OsMap map;
    Cx cx;
    *to = (PbValue){0};
    int error = os_map_file(path, &map);
    if (error)
        return fail_set(fail, "%s: %s", path, os_error_text(error));
    cx_init(&cx, NULL, 0);
    bool done = cx_run(&cx, read_value, &(Reading){path, &map, kinds[kind], to, fail}) == ST_ok;
    cx_finish(&cx);
    os_unmap(&map);
    if (done)
        return true;
    pb_value_free(to);
    fail_set(fail, "%s", cx.message ? cx.message : status_text(cx.status));
    return strstr(fail->text, path) ? false : fail_prefix(fail, "%s", path);
}

void pb_value_free(PbValue *value)
{
    for (int32_t i = 0; i < value->count; i++)
        pb_value_free(&value->items[i]);
    free(value->items);
    tensor_free(&value->tensor);
    *value = (PbValue){0};
}

bool read_pb(const char *path, Tensor *to, Fail *fail)
{
    PbValue value;
    bool done = read_pb_value(path, QN_TENSOR, &value, fail);
    *to = value.tensor;
    return done;
}

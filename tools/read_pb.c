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

static void take_value(Cx *cx, Reading *r, const OnnxValue *value, PbValue *to)
{
    to->is_list = value->kind == OK_sequence || value->kind == OK_optional;
    if (value->kind == OK_map || value->kind == OK_none)
        cx_fail(cx, ST_unsupported, "a map, or a value that is not there");
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
                                     [QN_OPTIONAL] = OK_optional};
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

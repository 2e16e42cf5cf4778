/* Reading of test data: the model reader's own code, run in a job of its own. */
#include "base/cx.h"
#include "base/os_file.h"
#include "frontend/onnx_model.h"
#include "tools/bind.h"

typedef struct Reading {
    const char *path;
    const OsMap *map;
    Tensor *to;
    Fail *fail;
} Reading;

static void read_value(Cx *cx, void *user)
{
    Reading *r = user;
    const OnnxValue *value =
        onnx_value_from_memory(cx, r->path, r->map->data, r->map->size, OK_tensor);
    if (!value)
        return;
    const OnnxTensor *t = &value->tensor;
    if (!tensor_make(r->to, (qn_dtype)t->dtype, t->rank, t->dims, r->fail))
        cx_fail(cx, ST_unsupported, "%s", r->fail->text);
    else if (t->size != r->to->bytes)
        cx_fail(cx, ST_bad_file, "%zu bytes of data for %zu", t->size, r->to->bytes);
    else if (t->size)
        memcpy(r->to->data, t->data, t->size);
}

bool read_pb(const char *path, Tensor *to, Fail *fail)
{
    OsMap map;
    Cx cx;
    *to = (Tensor){0};
    int error = os_map_file(path, &map);
    if (error)
        return fail_set(fail, "%s: %s", path, os_error_text(error));
    cx_init(&cx, NULL, 0);
    bool done = cx_run(&cx, read_value, &(Reading){path, &map, to, fail}) == ST_ok;
    cx_finish(&cx);
    os_unmap(&map);
    if (done)
        return true;
    tensor_free(to);
    fail_set(fail, "%s", cx.message ? cx.message : status_text(cx.status));
    return strstr(fail->text, path) ? false : fail_prefix(fail, "%s", path);
}

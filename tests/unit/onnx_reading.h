/* For the tests of the model reader: reads what onnx_wire.h writes. */
#ifndef QUERN_TESTS_ONNX_READING_H
#define QUERN_TESTS_ONNX_READING_H

#include "onnx_wire.h"

/* One reading in a job of its own. `from` is copied to exactly sized memory, so that sanitizers see
 * overruns. */
typedef struct Reading {
    Cx cx;
    uint8_t *data;
    size_t size;
    const char *base_dir;
    const OnnxModel *model;
} Reading;

static inline void reading_body(Cx *cx, void *user)
{
    Reading *reading = user;
    reading->model = onnx_model_from_memory(cx, reading->data, reading->size, reading->base_dir);
}

static inline Status read_wire(Reading *reading, Wire from, const char *base_dir)
{
    memset(reading, 0, sizeof *reading);
    reading->data = malloc(from.size ? from.size : 1);
    cr_assert_not_null(reading->data);
    if (from.size)
        memcpy(reading->data, from.data, from.size);
    reading->size = from.size;
    reading->base_dir = base_dir;
    cx_init(&reading->cx, NULL, 256 << 20);
    Status status = cx_run(&reading->cx, reading_body, reading);
    cr_assert_eq(status == ST_ok, reading->model != NULL);
    return status;
}

static inline void reading_finish(Reading *reading)
{
    cx_finish(&reading->cx);
    free(reading->data);
}

static inline const OnnxModel *read_good(Reading *reading, Wire from)
{
    Status status = read_wire(reading, from, NULL);
    cr_assert_eq(status, ST_ok, "%s", reading->cx.message);
    return reading->model;
}

/* Reading fails with this status and a message that holds every one of the texts, separated by '|'.
 */
static inline void expect_fail_in(Wire from, const char *base_dir, Status status, const char *texts)
{
    static Reading reading;
    Status got = read_wire(&reading, from, base_dir);
    cr_assert_eq(got, status, "wanted '%s', got: %s", texts,
                 reading.cx.message ? reading.cx.message : "ok");
    char one[256];
    for (const char *at = texts; *at;) {
        size_t length = strcspn(at, "|");
        cr_assert_lt(length, sizeof one);
        memcpy(one, at, length);
        one[length] = 0;
        cr_expect(strstr(reading.cx.message, one), "'%s' is not in: %s", one, reading.cx.message);
        at += at[length] ? length + 1 : length;
    }
    reading_finish(&reading);
}

static inline void expect_fail(Wire from, Status status, const char *texts)
{
    expect_fail_in(from, NULL, status, texts);
}

#endif

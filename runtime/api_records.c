/* The public interface: tuning records of a context. They are only kept here; what they mean is the
 * compiler's (jit/records.c). */
#include "runtime/api.h"

#include <errno.h>
#include <string.h>

typedef struct Reading {
    const char *path;
    char *text;
    size_t size;
} Reading;

static void read_job(Cx *cx, void *user)
{
    enum { LIMIT = 64 << 20 };
    Reading *r = user;
    int error = os_read_file(cx->arena, r->path, LIMIT, &r->text, &r->size);
    if (error)
        cx_fail(cx, error == ENOENT ? ST_missing : ST_io, "%s: %s", r->path, os_error_text(error));
    else if (memchr(r->text, 0, r->size))
        cx_fail(cx, ST_bad_file, "%s: not a text", r->path);
}

static void free_records(qn_context *context, RecordsNode *node)
{
    if (node->path)
        api_free(context, node->path, strlen(node->path) + 1);
    api_free(context, node->text, node->text_size);
    api_free(context, node, sizeof *node);
}

/* Fills a node; false with the report set. */
static bool read_records(qn_context *context, RecordsNode *node, Report *report)
{
    Cx cx;
    Reading reading = {.path = node->path};
    cx_init(&cx, &context->from, 0);
    cx_run(&cx, read_job, &reading);
    bool done = api_status(report, &cx) == QN_OK;
    if (done && !(node->text = api_alloc(context, reading.size + 1))) {
        report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
        done = false;
    }
    if (done) {
        memcpy(node->text, reading.text, reading.size);
        node->text_size = reading.size + 1;
    }
    cx_finish(&cx);
    return done;
}

qn_status qn_context_add_records(qn_context *context, qn_string path)
{
    if (!context || !path.length || memchr(path.data, 0, path.length))
        return QN_BAD_ARGUMENT;
    Report report = {0};
    RecordsNode *node = api_alloc(context, sizeof *node);
    if (node)
        node->path = api_alloc(context, path.length + 1);
    bool done = node && node->path;
    if (done) {
        memcpy(node->path, path.data, path.length);
        done = read_records(context, node, &report);
    } else {
        report_fail(&report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    }
    if (!done && node)
        free_records(context, node);
    pthread_mutex_lock(&context->lock);
    RecordsNode **end = &context->records;
    while (*end)
        end = &(*end)->next;
    if (done)
        *end = node;
    else
        context->report = report;
    pthread_mutex_unlock(&context->lock);
    return done ? QN_OK : (qn_status)report.status;
}

uint32_t api_records(qn_context *context, Cx *cx, const RecordsNode ***nodes)
{
    uint32_t count = 0, used = 0;
    pthread_mutex_lock(&context->lock);
    for (const RecordsNode *node = context->records; node; node = node->next)
        count++;
    pthread_mutex_unlock(&context->lock);
    *nodes = NEW_ARRAY(cx->arena, const RecordsNode *, count);
    pthread_mutex_lock(&context->lock);
    for (const RecordsNode *node = context->records; used < count; node = node->next)
        (*nodes)[used++] = node;
    pthread_mutex_unlock(&context->lock);
    return count;
}

void api_close_records(qn_context *context)
{
    for (RecordsNode *node = context->records, *next; node; node = next) {
        next = node->next;
        free_records(context, node);
    }
}

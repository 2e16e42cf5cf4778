/* Job contexts: entering a job, the first error, clean-ups. */
#include "base/expr_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct CxCleanup {
    CxCleanup *next;
    void (*run)(void *resource);
    void *resource;
};

const char *status_text(Status status)
{
    static const char *const texts[] = {
#define STATUS(name, text) text,
#include "base/status.def"
#undef STATUS
    };
    return (unsigned)status < ST_count ? texts[status] : "unknown status";
}

void cx_init(Cx *cx, const Allocator *from, size_t limit)
{
    memset(cx, 0, sizeof *cx);
    arena_init(&cx->own, from, limit, &cx->oom);
    cx->arena = &cx->own;
}

void cx_finish(Cx *cx)
{
    for (CxCleanup *c = cx->cleanups; c; c = c->next)
        c->run(c->resource);
    cx->cleanups = NULL;
    expr_pool_release(cx);
    arena_finish(&cx->own);
}

Status cx_run(Cx *cx, void (*body)(Cx *cx, void *user), void *user)
{
    if (setjmp(cx->oom) == 0)
        body(cx, user);
    else
        cx_fail(cx, ST_out_of_memory, "out of memory after %zu bytes%s", cx->own.used,
                cx->own.limit ? " (the caller's limit)" : "");
    return cx->status;
}

void cx_fail(Cx *cx, Status status, const char *fmt, ...)
{
    if (cx->status != ST_ok)
        return;
    cx->status = status;
    size_t at = 0;
    if (cx->where)
        at = (size_t)snprintf(cx->text, sizeof cx->text, "%s: ", cx->where);
    if (at < sizeof cx->text) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(cx->text + at, sizeof cx->text - at, fmt, args);
        va_end(args);
    }
    utf8_make_plain(cx->text, true);
    cx->message = cx->text;
}

void cx_merge(Cx *into, const Cx *from)
{
    if (into->status != ST_ok || from->status == ST_ok)
        return;
    into->status = from->status;
    memcpy(into->text, from->text, sizeof into->text);
    into->message = into->text;
}

void cx_recover(Cx *cx)
{
    cx->status = ST_ok;
    cx->message = NULL;
}

void cx_cleanup(Cx *cx, void (*run)(void *resource), void *resource)
{
    CxCleanup *c = NEW(&cx->own, CxCleanup);
    *c = (CxCleanup){cx->cleanups, run, resource};
    cx->cleanups = c;
}

void bug_at(const char *file, int line, const char *fmt, ...)
{
    fprintf(stderr, "quern: bug at %s:%d: ", file, line);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

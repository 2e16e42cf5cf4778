/* The context of one compile job: an arena, the interned expressions, the first error, clean-ups.
 *
 * A job is entered with cx_run, which installs the out-of-memory jump. Code inside the job allocates without
 * checks, reports problems with cx_fail (only the first one is kept) and goes on with poison values; drivers
 * look at cx_failed at stage boundaries. A Cx belongs to one thread at a time; parallel jobs have their own and
 * merge errors with cx_merge. */
#ifndef QUERN_BASE_CX_H
#define QUERN_BASE_CX_H

#include <stdbool.h>

#include "base/arena.h"

typedef enum Status {
#define STATUS(name, text) ST_##name,
#include "base/status.def"
#undef STATUS
    ST_count
} Status;

const char *status_text(Status status);

typedef struct Cx Cx;
typedef struct CxCleanup CxCleanup;
struct ExprPool;

struct Cx {
    Arena *arena;
    struct ExprPool *exprs; /* made on first use by expr_pool(cx) */
    Status status;
    const char *message; /* lives in `text`; NULL while ok */
    const char *where;   /* prefix for messages: "node 'fc1' (MatMul)"; may be NULL */
    CxCleanup *cleanups;
    Arena own;
    jmp_buf oom;
    char text[1024];
};

/* Prepares a job. `from` NULL = the system's allocator; `limit` 0 = no limit on arena bytes. */
void cx_init(Cx *cx, const Allocator *from, size_t limit);
/* Runs clean-ups (newest first) and releases the arena. The message stays readable (it is inside Cx). */
void cx_finish(Cx *cx);
/* Calls body(cx, user) with the out-of-memory jump installed; returns cx->status. May be nested only via
 * separate Cx objects. */
Status cx_run(Cx *cx, void (*body)(Cx *cx, void *user), void *user);

/* Records the first error; later calls do nothing. The text is prefixed with cx->where, and made fit
 * to be shown, whatever names are in it; newlines stay. */
void cx_fail(Cx *cx, Status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static inline bool cx_failed(const Cx *cx)
{
    return cx->status != ST_ok;
}
void cx_merge(Cx *into, const Cx *from);
/* Takes the error back: the driver has noted it, or has another way to do what failed. */
void cx_recover(Cx *cx);
/* Registers before acquiring: `run(resource)` is called by cx_finish. The entry lives in
 * cx->own: do not register between a mark and a reset of that arena. */
void cx_cleanup(Cx *cx, void (*run)(void *resource), void *resource);

/* A bug in Quern, not in its input: prints the text with file and line, then aborts. */
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            BUG("check failed: %s", #cond);                                                        \
    } while (0)

#endif

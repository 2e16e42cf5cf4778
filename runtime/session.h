/* A session: memory for one set of input shapes, and running. One thread at a time; sessions of one
 * program share nothing that changes. */
#ifndef QUERN_RUNTIME_SESSION_H
#define QUERN_RUNTIME_SESSION_H

#include "runtime/program.h"

typedef struct Session Session;

/* Prepares the program when it is not, and sets the shapes when no input has a dim. `cancel` is
 * looked at here and in every run, and stays as long as the session; NULL = nobody sets it. */
Status session_create(Program *program, CancelFlag *cancel, Session **session, Report *report);
void session_destroy(Session *session); /* NULL is allowed; before its program */

/* By input; dims NULL: the shape without dims, which must be one. */
typedef struct SessionShape {
    int rank;
    const int64_t *dims;
} SessionShape;

/* Checks the shapes against the plan, computes the sizes that follow from them, takes the memory.
 * On failure what was set before stays. */
Status session_set_shapes(Session *session, const SessionShape *shapes, Report *report);
bool session_ready(const Session *session);

/* Of a plan's tensor with the shapes in force: extents (returns the rank), bytes; -1 for what only
 * a run tells, until there was one. */
int session_tensor(const Session *session, uint32_t tensor, int64_t dims[PLAN_RANK],
                   int64_t *bytes);

typedef struct SessionInfo {
    int64_t memory_bytes; /* slab, scratch of workers */
    double flops, bytes;  /* of a run */
} SessionInfo;
SessionInfo session_info(const Session *session);

/* Whether an output's size is known only after a run (or it holds strings): the session has its
 * memory, and session_run's pointer for it is not looked at. */
bool session_owns_output(const Session *session, uint32_t output);
/* That memory, on the host; valid until the next call of this session. */
Status session_output(Session *session, uint32_t output, const void **data, Report *report);

/* Prints nothing, and allocates nothing unless the plan binds dims: then it may, when they are not
 * those of the run before. Pointers by input and by output, aligned to the element type,
 * not NULL unless the tensor is empty. ST_cancelled when the flag was set before it returned, which
 * is then reset: the next run is like any other. */
Status session_run(Session *session, const void *const *inputs, void *const *outputs,
                   Report *report);

#endif

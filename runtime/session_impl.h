/* Inside of sessions.
 *
 *   session.c         creation, runs: the caller's memory around the steps
 *   session_blocks.c  what is known of blocks and tensors before any shape
 *   session_shapes.c  sizes and memory of blocks: at set_shapes, and in a run when dims are bound
 *   session_steps.c   regions, loops and branches
 *   session_host.c    host steps
 *
 * Every tensor has an address. Slab tensors get theirs when their block is laid out; own and alias
 * tensors when a step tells; the caller's at the beginning of a run. A block takes the addresses
 * over when it begins, and again after a step of its own that may have changed some. A plan of one
 * block without such steps (most are) takes them over in set_shapes, but for the caller's. */
#ifndef QUERN_RUNTIME_SESSION_IMPL_H
#define QUERN_RUNTIME_SESSION_IMPL_H

#include "runtime/host.h"
#include "runtime/memory.h"
#include "runtime/session.h"

typedef struct Memory {
    void *data;
    int64_t size;
} Memory;

/* Memory that grows by pieces and becomes one piece when it is emptied. */
typedef struct Piece {
    struct Piece *next;
    size_t size, used;
} Piece;
typedef struct Pieces {
    Piece *first;
} Pieces;

typedef struct Block {
    uint32_t region, step, step_count, check, check_count;
    Launches launches;
    uint32_t dim_count, *dims;       /* those it uses that are bound during the run */
    int64_t *values;                 /* of these, when it was laid out */
    uint32_t tensor_count, *tensors; /* slab tensors, and own ones that kernels write: those whose
                                        first block this is */
    bool ready;                      /* laid out */
    Memory slab;
} Block;

typedef struct Patch {
    uint32_t at;   /* in Launches.buffers */
    uint32_t port; /* input number, or input count + output number */
} Patch;

struct Session {
    Cx cx; /* of the lists below */
    Program *program;
    const Plan *plan;
    const Allocator *from;
    Device *device;
    Stream *stream;
    CancelFlag *cancel, never; /* never: for a session that nobody cancels */
    bool shaped;               /* shapes are in force */
    bool ran;                  /* dims that are bound have values of a run */
    bool plain;                /* one block, all of whose steps are the device's */
    bool running;
    int64_t *dims, *before; /* by the plan's dims; the values in force before set_shapes */
    int64_t *bytes;         /* by tensor */
    void **address;         /* by tensor */
    Memory *own, *spare;    /* by tensor; of carried values the one not written now */
    uint32_t *home;         /* by tensor: first block it is in, or UINT32_MAX */
    uint32_t *last;         /* by tensor: last step of that block that uses it, bodies included;
                               UINT32_MAX: it is used after the block */
    uint32_t *bound;        /* by tensor: 1 + first dim whose source it is, if not an input */
    uint32_t *next_bound;   /* by dim: 1 + next dim of the same tensor */
    uint32_t *first_block;  /* by region */
    uint32_t block_count;
    Block *blocks;
    MemoryItem *items;
    uint32_t *item_tensor, *work;
    bool *used; /* by input: some step reads it */
    Patch *patches;
    uint32_t patch_count;
    /* of one host step at a time */
    HostTensor *host_inputs;
    int64_t *host_dims;
    Dtype *host_dtypes;
    struct HostOut *host_outputs;
    Pieces scratch, texts; /* until the step ends; until the next run */
    /* by loop: number of its first carried and stacked value; extents of those */
    uint32_t *first_carried, *first_stacked;
    bool *steady; /* by loop: all its iterations are of the same sizes */
    int64_t (*carried_dims)[PLAN_RANK], (*stacked_dims)[PLAN_RANK];
    Memory *outputs; /* by output, on devices with memory of their own: what session_output gives */
};

/* ---- session.c */

/* Until the device is done, and what came of it: `status`, that of the calls before, unless it is
 * ST_ok. A wait that fails is made once more: the caller's memory may still be written, and what a
 * launch has said is not for the next run. `list` may be NULL. */
Status session_finish(Session *s, Launches *list, Status status, Report *report);

/* ---- session_blocks.c */

/* Fills blocks, home, last, bound and plain, whose memory is there. */
void session_blocks(Session *s);
/* Whether no size of a loop's body depends on what a run binds, and all its steps are the device's:
 * then its iterations differ in addresses and the counter only. */
bool session_is_steady(const Session *s, const PlanLoop *loop);

/* ---- session_shapes.c */

/* Which steps no device runs. */
bool session_is_ours(const Session *s, const PlanStep *step);
/* The block as it stands: laid out again when its dims changed, addresses taken over. */
Status session_enter(Session *s, Block *block, Report *report);
/* Takes addresses over, for the device's steps from `begin` to the next one of the session's. */
Status session_addresses(Session *s, Block *block, uint32_t begin, Report *report);
/* At least `bytes`; the first `keep` stay. `host`: of the host's, whatever the device. */
Status session_grow(Session *s, Memory *memory, int64_t bytes, int64_t keep, bool host,
                    Report *report);
void session_release(Session *s, Memory *memory, bool host);
/* Tensors that lie on the host on every device. */
static inline bool session_on_host(const Session *s, uint32_t tensor)
{
    return s->device->limits.host_memory || s->plan->tensors[tensor].dtype == DT_string;
}
/* Extents of a tensor with the dims in force. */
Status session_extents(const Session *s, uint32_t tensor, int64_t *extents, Report *report);
/* Gives the dims that the tensor binds their values. */
void session_bind(Session *s, uint32_t tensor, const int64_t *extents);
/* A step says these are the extents of the tensor: the same, and compares the rest. `what` for
 * messages. */
Status session_tell(Session *s, uint32_t tensor, const int64_t *extents, const char *what,
                    Report *report);

void *pieces_take(Session *s, Pieces *pieces, size_t size);
void pieces_empty(Session *s, Pieces *pieces);
void pieces_finish(Session *s, Pieces *pieces);

/* Bytes of a tensor with these extents; -1 when they overflow or one is negative. */
int64_t session_bytes(Dtype dtype, int rank, const int64_t *extents);

/* ---- session_host.c */

/* A result of the host step that runs. */
typedef struct HostOut {
    uint32_t tensor; /* or PLAN_NONE */
    bool given;
    int64_t extents[PLAN_RANK];
    void *data; /* on the host */
    int64_t bytes;
} HostOut;

Status session_run_host(Session *s, const PlanStep *step, Report *report);

/* ---- session_steps.c */

/* False after a report: the run is cancelled. For places between work of the session's own; devices
 * look themselves. */
bool session_go_on(const Session *s, Report *report);
Status session_region(Session *s, uint32_t region, Report *report);
/* The name of a step for messages: its first ONNX node. */
const char *session_step_name(const PlanStep *step, char text[300]);

#endif

/* A program: a plan with its code on a device, its weights, and the constants that its init steps
 * compute. Shared by its sessions, of any threads. */
#ifndef QUERN_RUNTIME_PROGRAM_H
#define QUERN_RUNTIME_PROGRAM_H

#include "runtime/launch.h"
#include "runtime/report.h"

/* What is handed in stays the caller's and must outlive the program. */
typedef struct ProgramParts {
    const Plan *plan;
    const void *const *weights; /* by weight; those the plan carries may be NULL */
    Device *device;
    const DeviceCode *code; /* of the plan's kernels */
    const Allocator *from;  /* NULL = the system's */
    /* Constants that were computed before: gives `bytes` bytes of them as program_constants did for
     * the same plan and weights, aligned to MEMORY_ALIGN, to stay as long as the program; or leaves
     * *data alone. Called by the first program_prepare, for devices that share the process's
     * memory. NULL = there never are any. */
    Status (*constants)(void *user, int64_t bytes, const void **data, Report *report);
    void *constants_user;
    const struct Customs *customs; /* the application's operators; NULL = none */
} ProgramParts;

typedef struct Program Program;

Status program_create(const ProgramParts *parts, Program **program, Report *report);
void program_destroy(Program *program); /* NULL is allowed; no session may be left */
/* Runs the init steps unless it was done. Any thread may call it at any time; the others wait. Once
 * `cancel` is set (NULL = nobody does) it fails with ST_cancelled, and is done from the beginning
 * the next time. */
Status program_prepare(Program *program, const CancelFlag *cancel, Report *report);

typedef struct ProgramInfo {
    int64_t init_bytes; /* constants in memory */
    double init_ms;     /* what computing them took */
    bool given;         /* by ProgramParts.constants: nothing was computed */
} ProgramInfo;
ProgramInfo program_info(const Program *program); /* after program_prepare */

/* After program_prepare: all constants in one piece; NULL when there are none, or on a device with
 * memory of its own. */
const void *program_constants(const Program *program, int64_t *bytes);

/* ---- for sessions ---- */
const ProgramParts *program_parts(const Program *program);
/* Memory by tensor: of weights and prepared constants; NULL for the rest. */
void *const *program_tensors(const Program *program);
/* "node 'x' (Gather): an index is out of range ...", of a list for which `wait` gave ST_bad_index;
 * resets its error cell. */
Status program_bad_index(Launches *list, Report *report);

#endif

/* A program: a plan with its machine code and weights, and the constants that its init steps
 * compute. Shared by its sessions, of any threads. */
#ifndef QUERN_RUNTIME_PROGRAM_H
#define QUERN_RUNTIME_PROGRAM_H

#include "runtime/launch.h"
#include "runtime/report.h"

/* What is handed in stays the caller's and must outlive the program. */
typedef struct ProgramParts {
    const Plan *plan;
    const void *const *weights; /* by weight; those the plan carries may be NULL */
    KernelEntry *(*find)(void *user, const char *name); /* the machine code */
    void *find_user;
    const Allocator *from; /* NULL = the system's */
    Executor executor;
} ProgramParts;

typedef struct Program Program;

/* Finds the code of every kernel (ST_bad_file when some is missing). */
Status program_create(const ProgramParts *parts, Program **program, Report *report);
void program_destroy(Program *program); /* NULL is allowed; no session may be left */
/* Runs the init steps unless it was done. Any thread may call it at any time; the others wait. */
Status program_prepare(Program *program, Report *report);

typedef struct ProgramInfo {
    int64_t init_bytes; /* constants in memory */
    double init_ms;     /* what computing them took */
} ProgramInfo;
ProgramInfo program_info(const Program *program); /* after program_prepare */

/* ---- for sessions ---- */
const ProgramParts *program_parts(const Program *program);
Code program_code(const Program *program);
const void *program_zeros(const Program *program);
/* Memory by tensor: of weights and prepared constants; NULL for the rest. */
void *const *program_tensors(const Program *program);
/* Workers with scratch from the allocator; false when it refuses. */
bool program_workers(const Program *program, Workers *workers);
void program_workers_finish(const Program *program, Workers *workers);
/* "node 'x' (Gather): an index is out of range ..." */
Status program_bad_index(const Launches *list, int64_t launch, Report *report);

#endif

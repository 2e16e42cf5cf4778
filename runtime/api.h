/* Inside of the public interface: the handles that need no compiler, and what its files share. The
 * library that compiles adds models and compiling (jit/api.h). */
#ifndef QUERN_RUNTIME_API_H
#define QUERN_RUNTIME_API_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "include/quern.h"
#include "runtime/host/custom.h"
#include "runtime/cache.h"
#include "runtime/image.h"
#include "runtime/pack.h"
#include "runtime/session.h"

/* The message of no handle. */
#define API_NO_HANDLE "there is no handle: memory ran out, or an argument was wrong"

enum { API_DEVICES = 8, API_DEVICE_TEXT = 200 };

typedef struct DeviceRow {
    const char *name, *what; /* for people */
    CodeKind kind;
    /* NULL with a report. */
    Device *(*open)(qn_context *context, Report *report);
    const char *(*target)(const Device *device);   /* what it runs code of; NULL = nothing */
    const char *(*describe)(const Device *device); /* for people, instead of `what`; may be NULL */
} DeviceRow;

/* A pack of a context. */
typedef struct PackNode PackNode;
struct PackNode {
    Pack pack;
    char *path;
    PackNode *next; /* added after this one */
};

/* Tuning records of a context: what a file held. */
typedef struct RecordsNode RecordsNode;
struct RecordsNode {
    char *path, *text;
    size_t text_size;  /* allocated */
    RecordsNode *next; /* added after this one */
};
#define RECORDS_FILE "tuning.qnr" /* in the cache directory */

struct qn_context {
    atomic_int refs;
    Allocator from;
    Executor executor;
    Pool *pool; /* NULL when the executor is the caller's */
    qn_log *log;
    void *log_user;
    Customs customs;
    Report report;                   /* of calls that give a context a status */
    char *cache_dir, *compiler_path; /* NULL = none given */
    int64_t cache_limit;
    atomic_bool warned;            /* that the cache cannot be written */
    atomic_bool misread;           /* that records are not used: said */
    atomic_bool repacked;          /* that a pack's weights are for another model: said */
    pthread_mutex_t lock;          /* of what follows */
    const DeviceRow *more_devices; /* behind the own; ends with a row without a name */
    const void *compiler;          /* NULL until something had to be compiled; stays loaded */
    Device *devices[API_DEVICES];  /* by row; NULL = not opened yet */
    char device_texts[API_DEVICES][API_DEVICE_TEXT]; /* given out by qn_device_at */
    PackNode *packs;                                 /* only ever added to */
    RecordsNode *records;                            /* likewise */
};

/* An input or output, as it is given out; dims in the arena of its handle. */
typedef struct Port {
    qn_tensor_info info;
    qn_dim *dims;
} Port;

enum { API_TEXTS = 7 }; /* QN_TEXT_* */

struct qn_program {
    atomic_int refs;
    qn_context *context;
    void *owner; /* of what image and weights lie in; NULL = none */
    void (*release_owner)(void *owner);
    Report report;
    Cx cx; /* of what follows */
    Plan *plan;
    Device *device;   /* of the context; NULL until loading: the plan's target says which */
    DeviceCode *code; /* NULL: none loaded */
    Program *program; /* NULL: making it failed, or it is for another machine */
    Port *inputs, *outputs;
    int64_t plan_bytes, object_bytes;
    double compile_ms;
    int32_t cached;    /* as in qn_program_info */
    const char *parts; /* of its key (storage.h); NULL = not known */
    PlanBytes image;
    uint32_t file_count; /* of its weights */
    const FileRange *files;
    bool remembers; /* may use the cache directory */
    bool loaded;    /* all of the above is there */
    const char *texts[API_TEXTS];
    uint32_t wanted_count; /* of a failed compile: inputs whose contents it asked for */
    const qn_string *wanted;
};

/* qn_context_create, with devices that the runtime does not have. */
qn_status api_context_create(const qn_context_options *options, const DeviceRow *more_devices,
                             qn_context **context);

/* --- programs --- */

typedef struct ProgramSource {
    PlanBytes image; /* aligned to 8 bytes */
    bool stays;      /* as long as the program's owner; else it is copied */
    uint32_t file_count;
    const FileRange *files; /* in which weights lie; they stay */
    const char *parts;      /* of its key; NULL = not known */
    bool elsewhere;         /* it is not to be run here: only looked at, and put into packs */
} ProgramSource;

/* A handle without a program, with one reference; NULL when memory runs out. */
qn_program *api_program_new(qn_context *context);
/* Fills it from an image, once. */
qn_status api_program_load(qn_program *program, const ProgramSource *source);

/* --- devices --- */

/* What the name of a device or target means: where code runs, what it is compiled for, as what. */
typedef struct Target {
    Device *device;
    const char *name;
    CodeKind kind;
} Target;
/* "" is the CPU. The device is opened on first use and kept with the context. False after cx_fail.
 */
bool api_find_target(Cx *cx, qn_context *context, const char *name, Target *target);
void api_close_devices(qn_context *context);

/* --- storages --- */

/* The context's packs, in order. */
uint32_t api_packs(qn_context *context, Cx *cx, Storage ***storages);
void api_close_packs(qn_context *context);
/* The context's records, in order. */
uint32_t api_records(qn_context *context, Cx *cx, const RecordsNode ***nodes);
void api_close_records(qn_context *context);
/* The cache directory, if the program may use it; NULL = it must not, or there is none. */
Storage *api_directory(const qn_program *program, Cache *cache);
/* ProgramParts.constants: those that the context's packs hold. */
Status api_constants(void *program, int64_t bytes, const void **data, Report *report);
/* What names the constants of a program. */
const char *api_constants_parts(Cx *cx, const char *program_parts, Hash128 weights);

/* --- shared --- */

/* Zeroed memory of the context's allocator. */
void *api_alloc(const qn_context *context, size_t size);
void api_free(const qn_context *context, void *memory, size_t size);
/* The job's failure as the handle's. */
qn_status api_status(Report *report, const Cx *cx);
qn_string api_string(const char *text);
/* Warns the context's log, of each kind once: `said` is one of the context's flags. */
void api_warn_once(qn_context *context, atomic_bool *said, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A terminated copy in the arena. Fails on NUL inside. */
const char *api_text(Cx *cx, qn_string string);
double api_now_ms(void);

/* Whether options of `size` have the field at `offset`, `bytes` long; 0 stands for all of this
 * header. */
static inline bool api_has(size_t size, size_t offset, size_t bytes)
{
    return size == 0 || size >= offset + bytes;
}

#endif

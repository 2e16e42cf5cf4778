/* Quern: compiles ONNX models for the machine at hand and runs them. The whole public interface.
 *
 *   qn_context    allocator, threads, log, cache            one per application
 *     qn_model    an ONNX file, read and checked
 *       qn_program   compiled for one device               shared between threads
 *         qn_session   memory for given input shapes        one thread each
 *           qn_run
 *
 *   qn_context *context;
 *   qn_session *session;
 *   qn_context_create(NULL, &context);
 *   if (qn_session_open(context, qn_str("model.onnx"), NULL, &session) != QN_OK)
 *       puts(qn_session_message(session));
 *   qn_shape shape = {.name = qn_str("x"), .rank = 2, .dims = (int64_t[]){1, 784}};
 *   qn_session_set_shapes(session, &shape, 1);
 *   qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = y, .bytes = sizeof y};
 *   if (qn_run(session, &in, 1, &out, 1) != QN_OK)
 *       puts(qn_session_message(session));
 *
 * Rules that hold everywhere:
 *   - Structs that are passed in start with `size` where a later version may add fields: set it to
 * sizeof, or leave it 0 for "as in this header". All other fields: zero means the default. A NULL
 * struct means all defaults.
 *   - Strings are {pointer, length} and need no NUL; what Quern gives out is NUL-terminated as
 * well.
 *   - Every function that can fail returns a qn_status. The message, in words, hangs on the handle
 * that failed: the create functions give out a handle even when they fail, so that its message can
 * be read; NULL only where memory ran out, what it would be made from is NULL, or a context's
 * options contradict themselves. It has to be released like any other, and every other
 * call on it fails with QN_BAD_ARGUMENT.
 *   - Handles are reference-counted: they start with one reference, and hold references on what
 * they were made from, so they may be released in any order. Releasing NULL does nothing.
 *   - Nothing is printed, no environment variable is read, no signal handler is installed, the
 * process is not aborted by bad input. Nothing is global.
 *   - Functions on different handles may be called at the same time. On one handle: context, model
 * and program from any thread; a session from one thread at a time, but for qn_cancel. */
#ifndef QUERN_H
#define QUERN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define QN_API
#else
#define QN_API __attribute__((visibility("default")))
#endif

/* ---- versions, status, types ---- */

#define QN_VERSION_MAJOR 0
#define QN_VERSION_MINOR 1
#define QN_VERSION_PATCH 0
/* Version of the library that is loaded, as "0.1.0". */
QN_API const char *qn_version(void);

typedef enum qn_status {
    QN_OK = 0,
    QN_BAD_ARGUMENT, /* the call was wrong: shapes, names, sizes, NULL */
    QN_BAD_MODEL,    /* the model contradicts the ONNX specification */
    QN_UNSUPPORTED,  /* a correct model or request that this version cannot do */
    QN_OUT_OF_MEMORY,
    QN_IO,        /* the system refused to read or write */
    QN_BAD_FILE,  /* a file is damaged or of another kind */
    QN_DEVICE,    /* the device or its driver failed */
    QN_BAD_INDEX, /* run: an index in the input data is out of range */
    QN_CANCELLED, /* the progress function said so, or qn_cancel */
    QN_LIMIT,     /* a size is beyond what Quern accepts */
    QN_INTERNAL,  /* a bug in Quern */
    QN_MISSING    /* something was not found: a file, a compiler, a device, a name */
} qn_status;
/* "out of memory"; for unknown numbers "unknown status". */
QN_API const char *qn_status_text(qn_status status);

typedef struct qn_string {
    const char *data;
    size_t length;
} qn_string;

/* A qn_string of a terminated string; NULL gives the empty one. */
static inline qn_string qn_str(const char *text)
{
    qn_string s;
    s.data = text;
    s.length = text ? strlen(text) : 0;
    return s;
}

/* Element types. The numbers are ONNX's (TensorProto.DataType). Types below 8 bits are packed, low
 * bits first. */
typedef enum qn_dtype {
    QN_NONE = 0,
    QN_F32 = 1,
    QN_U8 = 2,
    QN_I8 = 3,
    QN_U16 = 4,
    QN_I16 = 5,
    QN_I32 = 6,
    QN_I64 = 7,
    QN_STRING = 8,
    QN_BOOL = 9,
    QN_F16 = 10,
    QN_F64 = 11,
    QN_U32 = 12,
    QN_U64 = 13,
    QN_C64 = 14,
    QN_C128 = 15,
    QN_BF16 = 16,
    QN_F8E4M3 = 17,
    QN_F8E4M3FNUZ = 18,
    QN_F8E5M2 = 19,
    QN_F8E5M2FNUZ = 20,
    QN_U4 = 21,
    QN_I4 = 22,
    QN_F4E2M1 = 23,
    QN_E8M0 = 24,
    QN_U2 = 25,
    QN_I2 = 26
} qn_dtype;
/* Short name ("f32"); "none" for unknown numbers. */
QN_API const char *qn_dtype_name(qn_dtype dtype);
/* Bits of one element; 0 when it has no fixed size. */
QN_API int32_t qn_dtype_bits(qn_dtype dtype);

enum { QN_MAX_RANK = 12 };

/* ---- what the application hands in ---- */

/* Memory. `alloc` returns NULL on failure and is asked for an alignment of 64 or more, a power of
 * two; both may be called from any thread. */
typedef struct qn_allocator {
    void *user;
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*release)(void *user, void *memory, size_t size);
} qn_allocator;

/* Work on the tasks [begin, end); `worker` is in [0, worker_count), and no two calls that run at
 * the same time for one parallel_for have the same. */
typedef void qn_tasks(void *arg, int64_t begin, int64_t end, int worker);

/* Threads. parallel_for calls `body` until each of [0, tasks) was done exactly once, then returns,
 * with what the bodies wrote visible to the caller. Tasks never wait for each other, so any order
 * and any concurrency will do. It is called from qn_run, during session creation, by qn_pack_add,
 * qn_pack_write, qn_program_save and qn_program_load, and from no other place. worker_count must
 * not change. */
typedef struct qn_executor {
    void *user;
    int (*worker_count)(void *user);
    void (*parallel_for)(void *user, int64_t tasks, qn_tasks *body, void *arg);
} qn_executor;

typedef enum qn_log_level { QN_LOG_WARNING, QN_LOG_INFO } qn_log_level;
/* `text` is terminated and has no newline. May be called from any thread. */
typedef void qn_log(void *user, qn_log_level level, const char *text);

/* ---- context ---- */

typedef struct qn_context qn_context;

typedef struct qn_context_options {
    size_t size;
    const qn_allocator *allocator; /* copied; NULL = the system's */
    const qn_executor *executor;   /* copied; NULL = a pool of `threads` threads of our own */
    int32_t threads; /* the calling one counts; 0 = one per processor this process may use */
    qn_log *log;     /* NULL = silent */
    void *log_user;
    qn_string cache_dir;     /* compiled kernels are kept here; empty = no disk cache */
    int64_t cache_limit;     /* bytes; least recently used entries go first; 0 = 1 GiB */
    qn_string compiler_path; /* the file libquern_llvm.so; empty = looked for beside the library */
} qn_context_options;

QN_API qn_status qn_context_create(const qn_context_options *options, qn_context **context);
QN_API qn_context *qn_context_retain(qn_context *context);
QN_API void qn_context_release(qn_context *context);
/* Why the last call that gave this context a qn_status failed; "" when none did. */
QN_API const char *qn_context_message(const qn_context *context);
/* Opens a pack (see qn_pack) for the programs compiled in this context from now on. Programs are
 * looked for in the packs, in the order they were added, then in the cache directory, then
 * compiled. The file stays mapped as long as the context lives and must not be changed in place. */
QN_API qn_status qn_context_add_pack(qn_context *context, qn_string path);
/* Reads tuning records (see qn_program_tune) for the programs compiled in this context from now on.
 * Lines that are no records, and records that a kernel does not take, are passed over with one
 * warning in the log. The cache directory's own records are used without being asked for. */
QN_API qn_status qn_context_add_records(qn_context *context, qn_string path);
/* Threads that take part in a run. */
QN_API int32_t qn_context_threads(const qn_context *context);
/* The usual cache directory of this user, from XDG_CACHE_HOME or HOME, written to `path` with a
 * NUL. This function is the only one that reads the environment. QN_MISSING when neither is an
 * absolute path, QN_LIMIT when it does not fit. */
QN_API qn_status qn_cache_default_dir(char *path, size_t capacity);

/* An entry of a cache directory or a pack. The strings are valid during the call only. */
typedef struct qn_entry_info {
    qn_string name; /* of its file; its key in a pack */
    /* "program", "constants" (packed weights), "hashes" (of weights), "saved" (a program that needs
     * no model), "weight" (of one), "binary" (of an OpenCL driver), "" = damaged */
    qn_string kind;
    qn_string parts; /* what its key is made of: lines "name value" */
    int64_t bytes;
    int64_t used; /* seconds since 1970; 0 = not known */
} qn_entry_info;
typedef void qn_entry(void *user, const qn_entry_info *info);
/* Calls `entry` for everything a directory or a pack file holds, without checking more than the
 * form of what is there. Failures as qn_context_message. */
QN_API qn_status qn_cache_list(qn_context *context, qn_string path, qn_entry *entry, void *user);

/* Device or processor level number `index`: this processor first, drivers (opened when asked for)
 * last; QN_MISSING past the last. */
typedef struct qn_device_info {
    qn_string name; /* for qn_compile_options.device: "cpu", or a target such as "x86-64-v3" */
    qn_string description; /* why it is not usable, or what it is */
    int32_t usable;        /* on this machine, now */
} qn_device_info;
QN_API qn_status qn_device_at(qn_context *context, int32_t index, qn_device_info *info);

/* ---- operators of your own ---- */

/* An input or attribute of an operator, as its shape function sees it. */
typedef struct qn_operand {
    qn_dtype dtype;
    int32_t rank;
    const int64_t *dims; /* -1 = not known yet: only while a model is compiled */
    const void *data;    /* NULL = not known yet: only while a model is compiled */
} qn_operand;

/* Gives rank (up to QN_MAX_RANK) and dims of output number `output`. The operands are the inputs,
 * then the attributes, each in the order of the signature; attributes are always known. Asked when
 * a model is compiled, where a dim may be -1 in and out (a rank may not), and again in every run,
 * with everything known. Anything but QN_OK fails the compile or the run. */
typedef qn_status qn_operator_shape(void *user, const qn_operand *operands, int32_t operand_count,
                                    int32_t output, int32_t *rank, int64_t *dims);

/* An operator that is a C function. The signature says what the function is called with:
 *
 *   f32*         a pointer to the elements of the next input (row-major, packed; only read)
 *   f32          the next input, which has one element, by value
 *   f32:alpha    an attribute of the node, by value (f32 or i64); f32:alpha=0.5 with a default
 *   i64*:axes    a pointer to the elements of an attribute that is a list (f32 or i64)
 *   count:0      int64_t: number of elements of input 0; count:axes: of the attribute before
 *   rank:0       int64_t: number of its dims
 *   dim:0.1      int64_t: its dim 1
 *   dims:0       const int64_t *: all its dims
 *   user         void *: `user` below
 *   ->           from here on results
 *   f32*         a pointer to the memory of the next output, as further arguments
 *   f32          (first only) what the function returns: an output of one element
 *   status       (first only) the function returns an int32_t: 0, or the qn_status of a failed run
 *
 * Types are the short names of qn_dtype_name; types below a byte are not possible, by value only
 * f32 f64 i8..i64 u8..u64 bool, and elements of string inputs are qn_strings. An input that a node
 * leaves out is NULL. For instance:
 *
 *   "f32* count:0 f32:alpha=1 -> f32*"    void scale(const float *, int64_t, float, float *)
 *   "f64 f64 -> f64"                      double pow(double, double)
 *
 * Domain, name, version and signature are what compiled programs are kept by, not what the shape
 * function does: another one needs another version. The function runs on the thread that calls
 * qn_run, in several sessions at once if there are. */
typedef struct qn_operator {
    size_t size;
    qn_string domain; /* as in the model; empty = ONNX's own */
    qn_string name;
    int64_t since; /* first version of the domain with this meaning; 0 = 1 */
    qn_string signature;
    void (*function)(void);   /* cast to this type */
    qn_operator_shape *shape; /* NULL = all outputs have the shape of the first input */
    void *user;
} qn_operator;

/* Makes the operator known to the context: before models that use it are compiled, and, since
 * compiled programs hold its name and not its address, before they are run elsewhere. It comes
 * before an operator of Quern's with the same name. Not while another thread uses the context. Why
 * it failed is in qn_context_message. */
QN_API qn_status qn_custom_operator(qn_context *context, const qn_operator *op);

/* ---- model ---- */

typedef struct qn_model qn_model;

typedef struct qn_model_options {
    size_t size;
    qn_string base_dir; /* qn_model_from_memory: where external data lies; empty = refused */
} qn_model_options;

/* Reads and checks an ONNX file; QN_MISSING when there is none. Weights are not copied: the file
 * stays mapped as long as the model or a program of it lives, and must not be changed in place. */
QN_API qn_status qn_model_open(qn_context *context, qn_string path, const qn_model_options *options,
                               qn_model **model);
/* The same for a file in memory, which must stay unchanged as long as the model or a program of it
 * lives. */
QN_API qn_status qn_model_from_memory(qn_context *context, const void *data, size_t bytes,
                                      const qn_model_options *options, qn_model **model);
QN_API qn_model *qn_model_retain(qn_model *model);
QN_API void qn_model_release(qn_model *model);
/* Why the last call on this handle failed; "" when none did. NULL gives "out of memory". Valid
 * until the next failing call. */
QN_API const char *qn_model_message(const qn_model *model);

/* A dimension: a number, or -1 and the name of a symbol ("" when it has none). Dims with equal
 * names are equal at run time. */
typedef struct qn_dim {
    int64_t value;
    qn_string symbol;
} qn_dim;

/* Strings and dims belong to the handle that was asked. */
typedef struct qn_tensor_info {
    qn_string name;
    qn_dtype dtype;
    int32_t rank; /* -1 = not known */
    const qn_dim *dims;
    int64_t bytes; /* -1 while a dim is not known */
} qn_tensor_info;

/* What a value of a model is. A sequence is known by its length, an optional by whether it is
 * there, when a model is compiled: give a qn_shape of one dim, the length, or 1 or 0. A program has
 * their elements as inputs and outputs of its own: those of `x` are `x[0]`, `x[1]` ..., of
 * sequences `x[0][0]` ...
 *
 * A map `x` is two tensors of a program: its values `x` and their keys `x[keys]`, both of one dim
 * (of an input the symbol `x_0`, like that of a tensor). Keys are told apart by their values, in
 * any order, each once. A sequence of maps, which classifiers end in (ZipMap), is two as well,
 * since all have the same keys: values `x` with a row for each map, and one `x[keys]`. */
typedef enum qn_kind { QN_OTHER, QN_TENSOR, QN_SEQUENCE, QN_OPTIONAL, QN_MAP } qn_kind;

/* What the model takes and gives, as declared in the file; initializers that are listed as inputs
 * too are not counted. The index runs from 0; QN_MISSING past the last. */
QN_API qn_status qn_model_input(const qn_model *model, int32_t index, qn_tensor_info *info);
QN_API qn_status qn_model_output(const qn_model *model, int32_t index, qn_tensor_info *info);
/* The kind of the same; what is no tensor has dtype QN_NONE there, a map one dim. */
QN_API qn_status qn_model_input_kind(const qn_model *model, int32_t index, qn_kind *kind);
QN_API qn_status qn_model_output_kind(const qn_model *model, int32_t index, qn_kind *kind);

typedef struct qn_model_info {
    int64_t ir_version;
    qn_string producer, producer_version, graph_name;
    int32_t inputs, outputs;
    int64_t nodes; /* of the main graph */
    int64_t functions;
    int64_t parameters; /* elements of all initializers */
    int64_t weight_bytes;
} qn_model_info;
QN_API qn_status qn_model_describe(const qn_model *model, qn_model_info *info);

/* Operators the model uses (also in functions and subgraphs), each (domain, name, opset) once.
 * QN_MISSING past the last. */
typedef struct qn_operator_info {
    qn_string domain, name; /* domain "" is ONNX's own */
    int64_t opset;          /* version imported for the domain */
    int64_t uses;
    int32_t supported; /* there is an importer for it at that version */
} qn_operator_info;
QN_API qn_status qn_model_operator(const qn_model *model, int32_t index, qn_operator_info *info);

/* ---- program ---- */

typedef struct qn_program qn_program;

/* What is known of a symbol of the model's input dims (of a dim without one: the name
 * "<input>_<position>"; the empty name: of all symbols that no other entry of the list names): its
 * value, when that is above 0, and the program is then compiled for it; or its bounds, where 0
 * means the default. Symbols that are not mentioned are in 1..max, max being 2^20 for models with
 * one symbol, 2^16 with two or three, 2^12 with more, and less where products of bounds would not
 * fit in 63 bits. A size of 0 is possible only in a program that is compiled for it, by a qn_shape.
 * What is said about one symbol, here, in shapes and in contents, has to agree; an entry or shape
 * that is there twice and negative numbers are refused. */
typedef struct qn_dim_value {
    qn_string symbol;
    int64_t value;
    int64_t min, max;
} qn_dim_value;

/* Fixed shape of an input; a negative dim stays as the model declares it. */
typedef struct qn_shape {
    qn_string name; /* empty = the input at this position of the list */
    int32_t rank;
    const int64_t *dims;
} qn_shape;

/* Contents of an input, known when compiling: the axes, shapes or flags that some models take as
 * inputs. The program is for these contents only: the input stays, and qn_run refuses another value
 * of it. The shape counts as given. At most 65,536 elements. */
typedef struct qn_contents {
    qn_string name; /* empty = the input at this position of the list */
    qn_dtype dtype;
    int32_t rank;
    const int64_t *dims;
    const void *data; /* row-major, packed; copied */
    size_t bytes;
} qn_contents;

/* Called between steps of a compile, with `done` of `total`; returning 0 cancels. Not called while
 * the model is taken over and while code is generated, which are bounded by the model's size. */
typedef int32_t qn_progress(void *user, int64_t done, int64_t total, const char *what);

/* Texts a program can keep, for people. */
enum {
    QN_TEXT_GRAPH = 1,
    QN_TEXT_NEST = 2,
    QN_TEXT_TILE = 4,
    QN_TEXT_LLVM = 8,
    QN_TEXT_ASM = 16,
    QN_TEXT_PLACED = 32, /* tile programs with layouts, copies and barriers, of GPUs */
    QN_TEXT_SOURCE = 64  /* in the target's language: C, OpenCL C, CUDA C */
};

typedef struct qn_compile_options {
    size_t size;
    qn_string device; /* "cpu" or a target name; empty = "cpu" */
    const qn_dim_value *dims;
    size_t dim_count;
    const qn_shape *shapes;
    size_t shape_count;
    qn_progress *progress;
    void *progress_user;
    uint32_t keep_text; /* QN_TEXT_* : what qn_program_text shall know */
    int32_t no_cache;   /* neither read nor write the disk cache */
    const qn_contents *contents;
    size_t content_count;
    /* What no pack of the context holds is QN_MISSING: neither the disk cache nor a compiler is
     * used, and the message says what the packs hold instead. */
    int32_t packs_only;
    /* For another machine: the program can be asked, and put into a pack, but no session can be
     * made of it. */
    int32_t elsewhere;
} qn_compile_options;

/* Compiles, or loads from the cache what was compiled before. */
QN_API qn_status qn_program_compile(qn_model *model, const qn_compile_options *options,
                                    qn_program **program);
/* Writes the program with all it needs to one file, a pack (below): its code, its weights, the
 * contents of inputs it was compiled for. Not the model, not the operators of the application.
 * Where this machine can run the program its constants are computed (if no session has) and written
 * instead of the weights they are made of, so that a start from the file computes nothing. The file
 * is put there like qn_pack_write's. */
QN_API qn_status qn_program_save(qn_program *program, qn_string path);
/* A saved program, for a context of any kind, also of libquern_runtime: no model and no compiler
 * are needed. QN_MISSING when there is no such file; QN_UNSUPPORTED or QN_MISSING when this machine
 * is not what it was compiled for. The file stays mapped as long as the program lives, and must not
 * be changed in place. A pack may hold other things besides, but no second saved program. */
QN_API qn_status qn_program_load(qn_context *context, qn_string path, qn_program **program);
/* The same from memory, which must stay unchanged as long as the program lives. Aligned to 64 bytes
 * it is used where it lies, else copied. */
QN_API qn_status qn_program_from_memory(qn_context *context, const void *data, size_t bytes,
                                        qn_program **program);
QN_API qn_program *qn_program_retain(qn_program *program);
QN_API void qn_program_release(qn_program *program);
/* As qn_model_message. */
QN_API const char *qn_program_message(const qn_program *program);

/* Inputs whose contents had to be known, of a compile that failed with QN_UNSUPPORTED: with them as
 * qn_compile_options.contents it may succeed, or ask for more. QN_MISSING past the last. */
QN_API qn_status qn_program_wants(const qn_program *program, int32_t index, qn_string *input);

/* What a run takes and gives; dims that were fixed are numbers here. QN_MISSING past the last. */
QN_API qn_status qn_program_input(const qn_program *program, int32_t index, qn_tensor_info *info);
QN_API qn_status qn_program_output(const qn_program *program, int32_t index, qn_tensor_info *info);

typedef struct qn_program_info {
    qn_string target; /* "x86-64-v4" */
    int32_t inputs, outputs;
    int32_t kernels;          /* steps of a run */
    int32_t distinct_kernels; /* compiled ones, those of loading included */
    int32_t init_kernels;     /* steps at load: packing and what depends on weights only */
    int32_t cached;           /* nothing was compiled: 1 = from the disk cache, 2 = from a pack */
    int32_t grows;            /* 1: some sizes are known only in a run, which may allocate then */
    int64_t plan_bytes;       /* serialised plan */
    int64_t object_bytes;     /* machine code */
    int64_t weight_bytes;     /* read from the model file */
    int64_t init_bytes;       /* packed and folded constants in memory, made by the first session */
    double compile_ms;        /* everything in qn_program_compile */
    double flops; /* scalar operations of a run, one iteration of a loop whose number of iterations
                     only a run tells; 0 when a dim is not known (see qn_session_info) */
} qn_program_info;
QN_API qn_status qn_program_describe(const qn_program *program, qn_program_info *info);

/* Says, line by line, what the key of a program is made of, whether the packs or the disk cache
 * hold it, and if not, what is different in the entry that is nearest. QN_OK when it is there,
 * QN_MISSING when not; for other errors qn_model_message. Compiles nothing. */
typedef void qn_line(void *user, const char *line);
QN_API qn_status qn_program_explain(qn_model *model, const qn_compile_options *options,
                                    qn_line *line, void *user);

/* Step `index` of a run (or, from 0 again, of loading when `init` is not 0). QN_MISSING past the
 * last. */
typedef struct qn_kernel_info {
    qn_string name;     /* equal names: the same code; steps that are no kernels: "copy", "loop",
                           "branch", or a host operation */
    qn_string nodes;    /* ONNX nodes fused into it, one per line */
    qn_string why;      /* why fusion stopped there; "" for packing */
    qn_string schedule; /* "contraction mr=8 nv=3 .." */
    int32_t phases;
    double flops;  /* scalar operations, each time; 0 when a dim is not known */
    int64_t bytes; /* read and written each time, each buffer once; -1 when a dim is not known */
    double times;  /* how often a run does it: once for each iteration of the loops around it; -1
                      when a dim is not known, or only a run tells */
} qn_kernel_info;
QN_API qn_status qn_program_kernel(const qn_program *program, int32_t init, int32_t index,
                                   qn_kernel_info *info);
/* One of the texts asked for in keep_text; QN_MISSING when it was not. A program from the cache has
 * none, so compiling with keep_text does not look there. */
QN_API qn_status qn_program_text(const qn_program *program, uint32_t which, qn_string *text);

/* ---- tuning ---- */

/* A distinct kernel of a model, after tuning. The strings are valid during the call only. */
typedef struct qn_tuned_kernel {
    qn_string nodes;            /* ONNX nodes fused into it (in one of its uses), one per line */
    int32_t uses;               /* steps of a run */
    int32_t tried;              /* schedules that were measured */
    int32_t better;             /* 1: one was better, beyond noise */
    double before_us, after_us; /* medians; 0 = it cannot be run on its own */
    qn_string schedule;         /* the best */
    qn_string record;           /* the line to keep when it was better, without its end; else "" */
} qn_tuned_kernel;

typedef struct qn_tune_options {
    size_t size;
    double seconds; /* 0 = 20 */
    /* Called for every kernel, heaviest first, when tuning is done. */
    void (*kernel)(void *user, const qn_tuned_kernel *kernel);
    void *user;
    qn_progress *progress; /* of the time, in 1000 parts */
    void *progress_user;
} qn_tune_options;

/* Tries other schedules for the kernels of a model, by running them on made-up data on the threads
 * of the context, and hands out records of those that are faster. Records are lines of text; a file
 * of them, however put together, is for qn_context_add_records, and named "tuning.qnr" in the cache
 * directory. For the CPU only. Failures as qn_model_message. */
QN_API qn_status qn_program_tune(qn_model *model, const qn_compile_options *options,
                                 const qn_tune_options *tune);

/* ---- packs ---- */

/* A pack is one file with compiled programs of any number of models, targets and shapes, and the
 * packed weights of those that can run where the pack is made: what an application ships so that
 * its first start compiles and packs nothing. Made by `quern prewarm` or by these functions; used
 * through qn_context_add_pack. A program in a pack is found by its model (without large weights),
 * target, options and version of Quern; packed weights by the contents of the model's weights. What
 * qn_program_save writes is a pack too, with a program that needs no model. */
typedef struct qn_pack qn_pack;

/* A pack to be filled, by one thread at a time. */
QN_API qn_status qn_pack_create(qn_context *context, qn_pack **pack);
QN_API qn_pack *qn_pack_retain(qn_pack *pack);
QN_API void qn_pack_release(qn_pack *pack);
/* As qn_model_message. */
QN_API const char *qn_pack_message(const qn_pack *pack);
/* Adds a program. Its constants are computed (if no session has) and added too, unless `flags` has
 * QN_PACK_NO_WEIGHTS or this machine cannot run the program. What was added before under the same
 * key is replaced. */
enum { QN_PACK_NO_WEIGHTS = 1 };
QN_API qn_status qn_pack_add(qn_pack *pack, qn_program *program, uint32_t flags);
/* Adds what another pack holds. */
QN_API qn_status qn_pack_add_file(qn_pack *pack, qn_string path);
typedef struct qn_pack_info {
    int64_t programs;
    int64_t weights;      /* programs whose packed weights are there too */
    int64_t bytes;        /* of both, about the size of the file */
    int64_t weight_bytes; /* of packed weights */
} qn_pack_info;
QN_API qn_status qn_pack_describe(const qn_pack *pack, qn_pack_info *info);
/* Writes the file: beside `path` first, then by renaming, so nobody sees a half of it. Replaces
 * only a regular file, never a device or pipe; of a link what it points at. */
QN_API qn_status qn_pack_write(qn_pack *pack, qn_string path);

/* ---- session ---- */

typedef struct qn_session qn_session;

typedef struct qn_session_options {
    size_t size;
} qn_session_options;

/* The first session of a program also computes its constants (packing), on all threads. When every
 * input dim is a number, the session is ready to run; else qn_session_set_shapes has to come first.
 */
QN_API qn_status qn_session_create(qn_program *program, const qn_session_options *options,
                                   qn_session **session);
/* Model, program and first session in one call, for applications that need none of the handles
 * between: the session holds what it needs of them. Of a model that cannot be read or compiled,
 * qn_session_message says why. */
QN_API qn_status qn_session_open(qn_context *context, qn_string path,
                                 const qn_compile_options *options, qn_session **session);
QN_API qn_session *qn_session_retain(qn_session *session);
QN_API void qn_session_release(qn_session *session);
/* As qn_model_message. */
QN_API const char *qn_session_message(const qn_session *session);

/* Gives the shapes of the inputs of the runs that follow, by name or by position; inputs whose dims
 * are all numbers may be left out. Computes the memory layout and allocates it; nothing is
 * compiled. On failure the shapes before stay in force. */
QN_API qn_status qn_session_set_shapes(qn_session *session, const qn_shape *shapes, size_t count);
/* Inputs and outputs with the shapes in force: all dims are numbers and `bytes` is what qn_run
 * needs. Of an output whose size only a run tells, these dims and `bytes` are -1 until there was
 * one; then they are those of the last run. */
QN_API qn_status qn_session_input(const qn_session *session, int32_t index, qn_tensor_info *info);
QN_API qn_status qn_session_output(const qn_session *session, int32_t index, qn_tensor_info *info);

/* The elements of an output after a run: of one whose size only a run tells, and of one of strings
 * (an array of qn_string). The memory is the session's and valid until the next call that changes
 * the session. QN_BAD_ARGUMENT for other outputs, which are where qn_run was told. */
QN_API qn_status qn_session_output_data(qn_session *session, int32_t index, const void **data);

typedef struct qn_session_info {
    int64_t memory_bytes; /* of this session: intermediate results and workers' scratch */
    int64_t shared_bytes; /* constants shared by the sessions of the program */
    double init_ms; /* what computing the constants took; 0 when another session had done it */
    int32_t packed; /* 1: the constants lie in a pack; nothing was computed */
    double flops;   /* scalar operations of a run with the shapes in force, one iteration of a loop
                       whose number of iterations only a run tells */
    double bytes;   /* read and written by the kernels of a run */
} qn_session_info;
QN_API qn_status qn_session_describe(const qn_session *session, qn_session_info *info);

/* Memory for one input or output: row-major, packed, aligned to the element type. */
typedef struct qn_buffer {
    qn_string name; /* empty = by position in the list */
    void *data;     /* inputs are only read */
    size_t bytes;   /* at least what qn_session_input or _output says */
} qn_buffer;

/* Runs the program: takes all inputs, fills all outputs but those that are the session's
 * (qn_session_output_data), which are left out of the list or have data NULL. Elements of a tensor
 * of strings are qn_string. Compiles nothing, takes no lock shared between sessions; allocates
 * nothing, unless the program `grows` and sizes differ from those of the run before. Outputs must
 * overlap neither each other nor inputs. When it fails, the outputs' contents are undefined and the
 * session is as before: on QN_DEVICE the same call works again as soon as the device does. */
QN_API qn_status qn_run(qn_session *session, const qn_buffer *inputs, size_t input_count,
                        const qn_buffer *outputs, size_t output_count);

/* Asks the session to stop: the qn_run in progress returns QN_CANCELLED; when there is none, or it
 * is past its last look, the next one does. So no request is lost, whichever comes first, and a run
 * that met one after its last step is cancelled too. May be called from any thread that holds a
 * reference, and from a signal handler: it stores one word and waits for nothing.
 *
 * The request ends with the run that it cancels, and the run after is like any other. A qn_run that
 * fails before it begins (QN_BAD_ARGUMENT) leaves it as it is. With `on` 0 a request that no run
 * has met is taken back: by a watchdog, say, that asked when the run was just over.
 *
 * The session is as it was before the run, with its shapes in force: runs keep nothing for one
 * another. Outputs in its own memory (qn_session_output_data) are gone.
 *
 * qn_session_create and qn_session_open are ended likewise. They store the handle in *session
 * before they begin what takes long, from where a signal handler, or another thread by an atomic
 * load, has it; once they returned QN_CANCELLED it is good for its message only.
 *
 * How soon: every step is preceded by a look, and every iteration of a Loop, a Scan or a
 * recurrence. On the CPU kernels that may last look too: mostly within milliseconds, but seconds
 * can pass where every operation is as slow as one can be, as reads all over a large memory.
 * Without a look go on: one host operation (sorting, text, images; NonMaxSuppression and TopK look
 * in between), one operator of the application, generating code. What was handed to an OpenCL or
 * CUDA driver runs to its end: that is everything up to the next host operation, loop or branch,
 * the whole run of most models. The simulator looks between kernels. */
QN_API void qn_cancel(qn_session *session, int32_t on);

#ifdef __cplusplus
}
#endif

#endif

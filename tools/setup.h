/* The road from a model's file to a session, with the options that verbs share. */
#ifndef QUERN_TOOLS_SETUP_H
#define QUERN_TOOLS_SETUP_H

#include "tools/options.h"
#include "tools/tensor.h"

enum {
    SETUP_PACKS = 16,
    SETUP_ITEMS = 256, /* --dim, and --shape and inputs with given shapes, at most each */
    SETUP_THREADS = 4096
};

/* Ids of the shared options; a verb's own are below 1000. */
enum {
    OPT_DEVICE = 1000,
    OPT_THREADS,
    OPT_DIM,
    OPT_SHAPE,
    OPT_GENERIC,
    OPT_CACHE_DIR,
    OPT_NO_CACHE,
    OPT_PACK,
    OPT_RECORDS,
};
#define SETUP_THREADS_OPTION                                                                       \
    {                                                                                              \
        OPT_THREADS, "threads", "N", "threads of a run; default: one per processor"                \
    }
#define SETUP_DEVICE_OPTIONS                                                                       \
    {OPT_DEVICE, "device", "NAME", "cpu (default), or another one of `quern devices`"},            \
        SETUP_THREADS_OPTION
#define SETUP_DIM_OPTIONS                                                                          \
    {OPT_DIM, "dim", "SYMBOL=N", "size of an open dim; may be repeated"},                          \
    {                                                                                              \
        OPT_SHAPE, "shape", "INPUT=1x3x8x8",                                                       \
            "shape of an input; of a sequence its length; may be repeated"                         \
    }
#define SETUP_CACHE_OPTIONS                                                                        \
    {OPT_CACHE_DIR, "cache-dir", "DIR", "where compiled kernels are kept; default: the user's"},   \
    {                                                                                              \
        OPT_NO_CACHE, "no-cache", NULL, "neither read nor write the cache"                         \
    }
#define SETUP_PACK_OPTION                                                                          \
    {                                                                                              \
        OPT_PACK, "pack", "FILE", "take the program from this pack, and from nowhere else"         \
    }
#define SETUP_RECORDS_OPTION                                                                       \
    {                                                                                              \
        OPT_RECORDS, "records", "FILE", "use the schedules of these tuning records"                \
    }
#define SETUP_GENERIC_OPTION                                                                       \
    {                                                                                              \
        OPT_GENERIC, "generic", NULL, "compile for any size; sizes given are for the run only"     \
    }

typedef struct Setup {
    const char *device; /* NULL = the default */
    const char *cache_dir;
    const char *packs[SETUP_PACKS], *records[SETUP_PACKS];
    bool no_cache, generic, quiet; /* quiet: no progress, no warnings */
    bool elsewhere;                /* compile for a machine that need not be this one */
    bool variants; /* a size that is given again is one of another program, and no contradiction */
    int32_t threads;
    uint32_t keep_text;
    qn_dim_value dims[SETUP_ITEMS];
    qn_shape shapes[SETUP_ITEMS];
    int64_t shape_dims[SETUP_ITEMS][QN_MAX_RANK];
    qn_contents contents[SETUP_ITEMS]; /* known when compiling; data by reference */
    size_t dim_count, shape_count, content_count, pack_count, record_count;

    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
    qn_status status; /* of the call that failed */
} Setup;

/* Takes one of the shared options; false with a message when its value is wrong. Not thread-safe;
 * option texts are kept by reference. */
bool setup_option(Setup *setup, int id, const char *value, Fail *fail);
/* Where compiled programs are kept: --cache-dir, or the user's. False with the reason when there is
 * no such place. */
bool setup_cache_dir(const Setup *setup, char *path, size_t room, Fail *fail);
/* Adds (or, when the name is there already, checks) the shape of an input. */
bool setup_shape(Setup *setup, const char *name, const Tensor *tensor, Fail *fail);

/* The steps, in order; each false with a message and `status`. setup_open also checks that the
 * names given with --dim and --shape are the model's. */
bool setup_open(Setup *setup, const char *path, Fail *fail);
/* Gives every size of an input that is still open the value 1. */
bool setup_default_sizes(Setup *setup, Fail *fail);
bool setup_compile(Setup *setup, Fail *fail);
/* What setup_compile would compile, in the form of the public interface. Valid while `setup` is not
 * changed. */
bool setup_compile_options(Setup *setup, qn_compile_options *to, Fail *fail);
/* Also gives the session its shapes, so that it is ready to run. */
bool setup_session(Setup *setup, Fail *fail);
void setup_close(Setup *setup);

/* setup_sizes.c, for setup.c: --dim and --shape, as setup_option. */
bool setup_add_dim(Setup *setup, const char *text, Fail *fail);
bool setup_add_shape(Setup *setup, const char *text, Fail *fail);
/* Whether the names are the model's, and --shape and --dim agree. */
bool setup_check_sizes(Setup *setup, Fail *fail);
/* A size of 0 is for programs made for it alone: what --dim says so becomes shapes. */
bool setup_shape_empty(Setup *setup, Fail *fail);
/* Gives the session its shapes. */
bool setup_set_shapes(Setup *setup, Fail *fail);

#endif

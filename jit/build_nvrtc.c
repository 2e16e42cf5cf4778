/* NVRTC through its C interface, with prototypes of our own: the library is opened on first use and
 * kept (it is 100 MB, and a warm start does not need it).
 *
 * Its builtins library is a separate file that it opens by bare name, which fails when the toolkit
 * is not on the loader's path; it is opened here first, by the full path of the directory NVRTC
 * itself came from. */
#include "jit/build_nvrtc.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_lib.h"

typedef struct NvrtcProgram *Program;

typedef struct Nvrtc {
    int (*version)(int *major, int *minor);
    int (*create)(Program *program, const char *source, const char *name, int headers,
                  const char *const *texts, const char *const *names);
    int (*destroy)(Program *program);
    int (*compile)(Program program, int count, const char *const *options);
    int (*cubin_size)(Program program, size_t *size);
    int (*cubin)(Program program, char *code);
    int (*log_size)(Program program, size_t *size);
    int (*log)(Program program, char *text);
    const char *(*error_text)(int code);
} Nvrtc;

static const char *const places[] = {
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "/usr/local/cuda/lib64/libnvrtc.so.13",
    "/usr/local/cuda/lib64/libnvrtc.so.12",
    "/usr/local/cuda/lib/libnvrtc.so.13",
    "/usr/local/cuda/lib/libnvrtc.so.12",
    "/opt/cuda/lib64/libnvrtc.so.13",
    "/opt/cuda/lib64/libnvrtc.so.12",
};

static Nvrtc nvrtc;
static bool ready;
static char problem[200];

static bool find_all(OsLib *lib)
{
    const struct {
        const char *name;
        void *at;
    } wanted[] = {
        {"nvrtcVersion", &nvrtc.version},
        {"nvrtcCreateProgram", &nvrtc.create},
        {"nvrtcDestroyProgram", &nvrtc.destroy},
        {"nvrtcCompileProgram", &nvrtc.compile},
        {"nvrtcGetCUBINSize", &nvrtc.cubin_size},
        {"nvrtcGetCUBIN", &nvrtc.cubin},
        {"nvrtcGetProgramLogSize", &nvrtc.log_size},
        {"nvrtcGetProgramLog", &nvrtc.log},
        {"nvrtcGetErrorString", &nvrtc.error_text},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *symbol = os_lib_find(lib, wanted[i].name);
        if (!symbol) {
            snprintf(problem, sizeof problem, "this NVRTC lacks %s", wanted[i].name);
            return false;
        }
        memcpy(wanted[i].at, &symbol, sizeof symbol);
    }
    return true;
}

static void open_builtins(OsLib *lib)
{
    Dl_info info;
    int major = 0, minor = 0;
    char path[600];
    if (!dladdr(os_lib_find(lib, "nvrtcVersion"), &info) || !info.dli_fname ||
        nvrtc.version(&major, &minor) != 0)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    int length = slash ? (int)(slash - info.dli_fname) : 0;
    snprintf(path, sizeof path, "%.*s/libnvrtc-builtins.so.%d.%d", length, info.dli_fname, major,
             minor);
    os_lib_open(path, true); /* when it is not there, NVRTC finds its own or says so */
}

static void open_once(void)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        OsLib *lib = os_lib_open(places[i], false);
        if (!lib)
            continue;
        if (!find_all(lib))
            return;
        open_builtins(lib);
        ready = true;
        return;
    }
    snprintf(problem, sizeof problem, "NVRTC (libnvrtc.so.13 or .12) is not installed");
}

static bool open_nvrtc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_once);
    return ready;
}

bool build_nvrtc_version(int *major, int *minor, const char **why)
{
    if (open_nvrtc())
        return nvrtc.version(major, minor) == 0;
    if (why)
        *why = problem;
    return false;
}

/* The number before `word`, at every place it occurs: "Used 32 registers", "8 bytes spill stores".
 */
static void scan_numbers(const char *log, const char *word, int *most, int *sum)
{
    for (const char *at = log; (at = strstr(at, word)) != NULL; at++) {
        const char *begin = at;
        while (begin > log && begin[-1] >= '0' && begin[-1] <= '9')
            begin--;
        int number = atoi(begin);
        *most = number > *most ? number : *most;
        *sum += number;
    }
}

static const char *read_log(Cx *cx, Program program)
{
    size_t size = 0;
    nvrtc.log_size(program, &size);
    char *log = arena_alloc(cx->arena, size + 1);
    if (size && nvrtc.log(program, log) != 0)
        log[0] = 0;
    return log;
}

static bool read_cubin(Cx *cx, Program program, NvrtcBuild *out)
{
    int code = nvrtc.cubin_size(program, &out->size);
    if (code == 0 && out->size > 0) {
        char *cubin = arena_alloc(cx->arena, out->size);
        code = nvrtc.cubin(program, cubin);
        out->cubin = cubin;
    }
    if (code != 0 || out->size == 0)
        cx_fail(cx, ST_internal, "NVRTC gave no CUBIN: %s", nvrtc.error_text(code));
    return code == 0 && out->size > 0;
}

bool build_nvrtc(Cx *cx, const char *source, const Caps *caps, NvrtcBuild *out)
{
    *out = (NvrtcBuild){.log = ""};
    if (!open_nvrtc())
        return cx_fail(cx, ST_missing, "%s", problem), false;
    Program program = NULL;
    int code = nvrtc.create(&program, source, "kernel.cu", 0, NULL, NULL);
    if (code != 0)
        return cx_fail(cx, ST_internal, "NVRTC: %s", nvrtc.error_text(code)), false;
    char arch[64];
    snprintf(arch, sizeof arch, "--gpu-architecture=%s", caps->name);
    const char *options[] = {arch, "--fmad=false", "--ptxas-options=-v", "-diag-suppress=177"};
    code = nvrtc.compile(program, (int)(sizeof options / sizeof *options), options);
    out->log = read_log(cx, program);
    bool ok = code == 0;
    if (!ok)
        cx_fail(cx, ST_internal, "NVRTC failed for %s: %.800s", caps->name, out->log);
    ok = ok && read_cubin(cx, program, out);
    nvrtc.destroy(&program);
    int unused = 0;
    scan_numbers(out->log, " registers", &out->registers, &unused);
    scan_numbers(out->log, " bytes spill", &unused, &out->spill_bytes);
    return ok;
}

/* Opens libcuda.so.1, the driver's library, and looks up every function of the list. It is never
 * closed: the driver keeps threads of its own. */
#include "runtime/cuda_api.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/os_lib.h"

static CudaApi api;
static const CudaApi *ready;
static char problem[200];

static void open_once(void)
{
    OsLib *lib = os_lib_open("libcuda.so.1", false);
    if (!lib) {
        snprintf(problem, sizeof problem, "no NVIDIA driver on this machine (%s)", os_lib_error());
        return;
    }
#define F(field, symbol, parameters)                                                               \
    {                                                                                              \
        void *found = os_lib_find(lib, #symbol);                                                   \
        memcpy(&api.field, &found, sizeof found);                                                  \
        if (!found)                                                                                \
            snprintf(problem, sizeof problem, "the NVIDIA driver lacks %s", #symbol);              \
    }
    CUDA_FUNCTIONS(F)
#undef F
    if (problem[0])
        return;
    int code = api.init(0);
    const char *text = NULL;
    if (code == 0) {
        ready = &api;
        return;
    }
    api.error_text(code, &text);
    snprintf(problem, sizeof problem, "the NVIDIA driver does not start: %s (%d)",
             text ? text : "unknown error", code);
}

const CudaApi *cuda_api(const char **why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_once);
    if (!ready && why)
        *why = problem;
    return ready;
}

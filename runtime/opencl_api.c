/* Opens libOpenCL.so.1 and looks up every function of the list. It is never closed: drivers keep
 * threads of their own. */
#include "runtime/opencl_api.h"

#include <pthread.h>
#include <stdio.h>

#include "base/os_lib.h"

static OpenclApi api;
static const OpenclApi *ready;
static char problem[160];

static void open_once(void)
{
    OsLib *lib = os_lib_open("libOpenCL.so.1", false);
    if (!lib) {
        snprintf(problem, sizeof problem, "no OpenCL on this machine (%s)", os_lib_error());
        return;
    }
#define F(name)                                                                                    \
    *(void **)(void *)&api.name = os_lib_find(lib, #name);                                         \
    if (!api.name)                                                                                 \
        snprintf(problem, sizeof problem, "the OpenCL loader lacks %s", #name);
    OPENCL_FUNCTIONS(F)
#undef F
    if (!problem[0])
        ready = &api;
}

const OpenclApi *opencl_api(const char **why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_once);
    if (!ready && why)
        *why = problem;
    return ready;
}

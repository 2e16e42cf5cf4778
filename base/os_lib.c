/* Dynamic libraries through dlopen. */
#include "base/os_lib.h"

#include <dlfcn.h>
#include <stddef.h>

OsLib *os_lib_open(const char *path, bool global)
{
    return (OsLib *)dlopen(path, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
}

const char *os_lib_error(void)
{
    const char *text = dlerror();
    return text ? text : "not found";
}

void *os_lib_find(OsLib *lib, const char *name)
{
    return dlsym((void *)lib, name);
}

void os_lib_close(OsLib *lib)
{
    if (lib)
        dlclose((void *)lib);
}

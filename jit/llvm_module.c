/* Finding and opening libquern_llvm.so. */
#include "jit/llvm_module.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef QUERN_MODULE_DIR
#define QUERN_MODULE_DIR "../lib/quern"
#endif
#define FILE_NAME "libquern_llvm.so"

static bool open_file(LlvmModule *m, const char *path)
{
    m->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return m->handle != NULL;
}

/* Folder of the library or program this function is in. */
static bool own_folder(char *folder, size_t size)
{
    Dl_info info;
    char path[4096];
    if (!dladdr((void *)(uintptr_t)llvm_module_open, &info) || !info.dli_fname)
        return false;
    ssize_t n =
        strchr(info.dli_fname, '/') ? -1 : readlink("/proc/self/exe", path, sizeof path - 1);
    snprintf(folder, size, "%s", info.dli_fname);
    if (n > 0) {
        path[n] = 0;
        snprintf(folder, size, "%s", path);
    }
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    return slash != NULL;
}

static bool search(LlvmModule *m)
{
    /* Installed: beside libquern, and as the tool sees it. Last: in a build folder. */
    static const char *const below[] = {"", "/quern", ("/" QUERN_MODULE_DIR), "/../codegen",
                                        "/../../codegen"};
    char folder[4096], path[8192];
    for (size_t i = 0; own_folder(folder, sizeof folder) && i < sizeof below / sizeof *below; i++) {
        snprintf(path, sizeof path, "%s%s/" FILE_NAME, folder, below[i]);
        if (access(path, R_OK) == 0 && open_file(m, path))
            return true;
    }
    return open_file(m, FILE_NAME);
}

bool llvm_module_open(Cx *cx, LlvmModule *module, const char *path)
{
    *module = (LlvmModule){0};
    if (!(path ? open_file(module, path) : search(module))) {
        const char *why = dlerror();
        cx_fail(cx, ST_missing, "the LLVM code generator %s cannot be opened: %s",
                path ? path : FILE_NAME, why ? why : "not found");
        return false;
    }
    LlvmApiGet *get;
    void *symbol = dlsym(module->handle, LLVM_API_SYMBOL);
    memcpy(&get, &symbol, sizeof get);
    module->api = symbol ? get() : NULL;
    if (!module->api || module->api->version != LLVM_API) {
        dlclose(module->handle);
        *module = (LlvmModule){0};
        cx_fail(cx, ST_missing, "%s is from another version of Quern", path ? path : FILE_NAME);
        return false;
    }
    return true;
}

void llvm_module_close(LlvmModule *module)
{
    if (!module->handle)
        return;
    module->api->shutdown();
    dlclose(module->handle);
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    *module = (LlvmModule){0};
}

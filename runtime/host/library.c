/* Opening libraries. The functions are looked up at every call: a handful of lookups in a loaded
 * library is nothing beside what they do, and needs no memory shared between threads but the
 * handle. */
#include "runtime/host/library.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/os_lib.h"

typedef struct Row {
    const char *name, *package, *files;
} Row;

static const Row rows[] = {
#define LIBRARY(name, package, files) {#name, package, files},
#include "runtime/host/library.def"
#undef LIBRARY
};

static OsLib *open_any(const char *files)
{
    OsLib *lib = NULL;
    while (*files && !lib) {
        size_t length = strcspn(files, " ");
        char file[80];
        snprintf(file, sizeof file, "%.*s", (int)length, files);
        lib = os_lib_open(file, false);
        files += length + (files[length] == ' ');
    }
    return lib;
}

static OsLib *opened(HostLibrary library)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static OsLib *libs[HL_count];
    pthread_mutex_lock(&lock);
    if (!libs[library])
        libs[library] = open_any(rows[library].files);
    OsLib *lib = libs[library];
    pthread_mutex_unlock(&lock);
    return lib;
}

bool library_find(Report *report, HostLibrary library, int count, const char *const *names,
                  void **symbols)
{
    const Row *row = &rows[library];
    OsLib *lib = opened(library);
    if (!lib) {
        report_fail(report, ST_missing, "library %s cannot be opened; install package %s (%s)",
                    row->name, row->package, os_lib_error());
        return false;
    }
    for (int i = 0; i < count; i++) {
        symbols[i] = os_lib_find(lib, names[i]);
        if (!symbols[i]) {
            report_fail(report, ST_missing,
                        "library %s lacks %s; install another version of package %s", row->name,
                        names[i], row->package);
            return false;
        }
    }
    return true;
}

bool library_functions(HostCall *call, HostLibrary library, int count, const char *const *names,
                       void **functions)
{
    return library_find(call->report, library, count, names, functions);
}

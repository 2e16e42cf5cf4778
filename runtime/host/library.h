/* Libraries that host operations open when first needed: what is missing is named with its package
 * when an operation wants it, and is no matter before. */
#ifndef QUERN_RUNTIME_HOST_LIBRARY_H
#define QUERN_RUNTIME_HOST_LIBRARY_H

#include "runtime/host/args.h"

typedef enum HostLibrary {
#define LIBRARY(name, package, files) HL_##name,
#include "runtime/host/library.def"
#undef LIBRARY
    HL_count
} HostLibrary;

/* Opened once per process and kept, as is usual for libraries with state of their own. Fills
 * functions[i] with symbol names[i]. False after report_fail, which says what to install. */
bool library_functions(HostCall *call, HostLibrary library, int count, const char *const *names,
                       void **functions);

/* The same for what is no call; symbols may be data. */
bool library_find(Report *report, HostLibrary library, int count, const char *const *names,
                  void **symbols);

#endif

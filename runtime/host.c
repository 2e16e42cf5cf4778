/* Finding host operations by name. */
#include "runtime/host.h"

#include <string.h>

#define HOST(name) HostFn host_##name;
#include "runtime/host.def"
#undef HOST

typedef struct HostRow {
    const char *name;
    HostFn *fn;
} HostRow;

static const HostRow rows[] = {
#define HOST(name) {#name, host_##name},
#include "runtime/host.def"
#undef HOST
    {NULL, NULL},
};

HostFn *host_find(const char *name)
{
    for (const HostRow *row = rows; row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row->fn;
    return NULL;
}

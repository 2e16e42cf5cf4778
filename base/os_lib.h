/* Dynamic libraries, opened at run time: what is not there is an answer, not an error. */
#ifndef QUERN_BASE_OS_LIB_H
#define QUERN_BASE_OS_LIB_H

#include <stdbool.h>

typedef struct OsLib OsLib;

/* NULL when the file is not found or cannot be loaded. `global`: its symbols are seen by libraries
 * opened later. */
OsLib *os_lib_open(const char *path, bool global);
/* Why the last open of this thread failed; never NULL. */
const char *os_lib_error(void);
/* NULL when there is no such symbol. */
void *os_lib_find(OsLib *lib, const char *name);
void os_lib_close(OsLib *lib); /* NULL does nothing */

#endif

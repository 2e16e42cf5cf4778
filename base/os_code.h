/* Memory for machine code: written first, then sealed. Part of the operating-system layer. */
#ifndef QUERN_BASE_OS_CODE_H
#define QUERN_BASE_OS_CODE_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed, writable, page-aligned; NULL when refused. */
void *os_code_alloc(size_t size);
/* From now on readable and executable, no longer writable. False when the system refuses. */
bool os_code_seal(void *code, size_t size);
void os_code_free(void *code, size_t size);

#endif

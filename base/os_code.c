/* Memory for machine code on POSIX systems. Never writable and executable at once. */
#include "base/os_code.h"

#include <sys/mman.h>

void *os_code_alloc(size_t size)
{
    void *code = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code == MAP_FAILED ? NULL : code;
}

bool os_code_seal(void *code, size_t size)
{
    if (mprotect(code, size, PROT_READ | PROT_EXEC) != 0)
        return false;
    __builtin___clear_cache((char *)code, (char *)code + size);
    return true;
}

void os_code_free(void *code, size_t size)
{
    if (code)
        munmap(code, size);
}

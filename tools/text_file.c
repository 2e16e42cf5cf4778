/* Reading text files with the checks that a parser relies on. */
#include "tools/text_file.h"

#include <string.h>

#include "base/os_file.h"

enum { LIMIT = 16 << 20 };

char *text_file_read(Cx *cx, const char *path)
{
    char *data;
    size_t size;
    int error = os_read_file(cx->arena, path, LIMIT, &data, &size);
    if (error) {
        cx_fail(cx, ST_io, "%s: %s", path, os_error_text(error));
        return NULL;
    }
    if (memchr(data, 0, size)) {
        cx_fail(cx, ST_bad_file, "%s: not a text file", path);
        return NULL;
    }
    return data;
}

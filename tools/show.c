/* Text of others', one character after another. */
#include "tools/show.h"

#include <string.h>

#include "base/utf8.h"

void show(const char *text, size_t length)
{
    uint32_t code;
    for (size_t at = 0; at < length;) {
        size_t bytes = utf8_read(text + at, length - at, &code);
        if (bytes && utf8_is_plain(code))
            fwrite(text + at, 1, bytes, stdout);
        else
            putchar('?');
        at += bytes ? bytes : 1;
    }
}

void show_all(const char *text)
{
    if (text)
        show(text, strlen(text));
}

void show_message(FILE *file, const char *message)
{
    for (const char *at = message; *at; at++) {
        putc(*at, file);
        if (*at == '\n')
            fputs("  ", file);
    }
}

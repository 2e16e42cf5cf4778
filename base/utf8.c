/* Characters of UTF-8 (RFC 3629) and what is plain among them. */
#include "base/utf8.h"

#include <string.h>

size_t utf8_read(const char *at, size_t left, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)*at;
    if (first < 0x80) {
        *code = first;
        return 1;
    }
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC0 || first >= 0xF8 || length > left)
        return 0;
    uint32_t all = first & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char byte = (unsigned char)at[i];
        if ((byte & 0xC0) != 0x80)
            return 0;
        all = all << 6 | (byte & 0x3FU);
    }
    *code = all;
    bool surrogate = all >= 0xD800 && all < 0xE000;
    return all < least[length] || all > 0x10FFFF || surrogate ? 0 : length;
}

bool utf8_is_plain(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } others[] = {{0, 0x1F}, {0x7F, 0x9F}, {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2066, 0x2069}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (code >= others[i].first && code <= others[i].last)
            return false;
    return true;
}

void utf8_make_plain(char *text, bool lines)
{
    const char *from = text, *end = text + strlen(text);
    uint32_t code;
    for (char *to = text; from < end || (*to = 0);) {
        size_t length = utf8_read(from, (size_t)(end - from), &code);
        if (length && (utf8_is_plain(code) || (lines && code == '\n'))) {
            memmove(to, from, length);
            to += length;
        } else {
            *to++ = '?';
        }
        from += length ? length : 1;
    }
}

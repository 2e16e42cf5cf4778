#include "tools/npy_text.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/utf8.h"

enum { LAST_CODE = 0x10FFFF };

static bool is_surrogate(uint32_t code)
{
    return code >= 0xD800 && code < 0xE000;
}

/* UTF-8 of a character; its number of bytes, 0 when there is no such character. */
static size_t put_character(uint32_t code, char to[4])
{
    if (code > LAST_CODE || is_surrogate(code))
        return 0;
    size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
    to[0] = (char)(first[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        to[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3F));
    return more + 1;
}

/* The character at *at, which moves behind it; -1 when there is none. */
static int64_t get_character(const char **at, const char *end)
{
    uint32_t code;
    size_t length = utf8_read(*at, (size_t)(end - *at), &code);
    *at += length;
    return length ? (int64_t)code : -1;
}

static uint32_t unit_at(const NpyTexts *texts, int64_t element, int64_t character)
{
    const unsigned char *p = texts->data + 4 * (element * texts->characters + character);
    uint32_t code = 0;
    for (int b = 0; b < 4; b++)
        code |= (uint32_t)p[b] << 8 * (texts->swap ? 3 - b : b);
    return code;
}

bool npy_texts_read(const NpyTexts *texts, int64_t (*index)(const void *user, int64_t i),
                    const void *user, Tensor *to, Fail *fail)
{
    int64_t room;
    char *all = NULL;
    qn_string *list = to->data;
    if (!__builtin_mul_overflow(to->count, 4 * texts->characters, &room))
        all = malloc((size_t)room + 1);
    if (!all)
        return fail_set(fail, "no memory for its strings");
    size_t at = 0;
    bool done = true;
    for (int64_t i = 0; i < to->count && done; i++) {
        int64_t element = index(user, i), count = texts->characters;
        size_t start = at;
        while (count && !unit_at(texts, element, count - 1))
            count--;
        for (int64_t c = 0; c < count && done; c++) {
            size_t bytes = put_character(unit_at(texts, element, c), all + at);
            at += bytes;
            if (!bytes)
                done = fail_set(fail, "string %" PRId64 " holds what is no character", i);
        }
        list[i] = (qn_string){all + start, at - start};
    }
    done = done && tensor_set_strings(to, list, fail);
    free(all);
    return done;
}

int64_t npy_texts_width(const Tensor *tensor, Fail *fail)
{
    const qn_string *list = tensor->data;
    int64_t most = 1;
    for (int64_t i = 0; i < tensor->count; i++) {
        const char *at = list[i].data, *end = at + list[i].length;
        int64_t count = 0, code = 1;
        for (; at < end && code >= 0; count++)
            code = get_character(&at, end);
        if (code <= 0) {
            fail_set(fail, "string %" PRId64 " %s, which NumPy does not keep", i,
                     code ? "is not UTF-8" : "ends in a NUL");
            return -1;
        }
        most = count > most ? count : most;
    }
    return most;
}

bool npy_texts_write(FILE *file, const Tensor *tensor, int64_t characters)
{
    const qn_string *list = tensor->data;
    for (int64_t i = 0; i < tensor->count; i++) {
        const char *at = list[i].data, *end = at + list[i].length;
        for (int64_t c = 0; c < characters; c++) {
            uint32_t code = at < end ? (uint32_t)get_character(&at, end) : 0;
            const unsigned char unit[] = {(unsigned char)code, (unsigned char)(code >> 8),
                                          (unsigned char)(code >> 16), (unsigned char)(code >> 24)};
            if (fwrite(unit, 1, 4, file) != 4)
                return false;
        }
    }
    return true;
}

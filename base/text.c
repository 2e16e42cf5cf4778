/* Growing strings and the scanner of the text forms. */
#include "base/text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 200 };

void text_init(Text *text, Arena *arena)
{
    *text = (Text){.arena = arena, .data = arena_alloc(arena, 64), .capacity = 64};
}

static void reserve(Text *text, size_t more)
{
    if (text->length + more + 1 <= text->capacity)
        return;
    size_t capacity = (text->length + more + 1) * 2;
    char *data = arena_alloc(text->arena, capacity);
    memcpy(data, text->data, text->length + 1);
    text->data = data;
    text->capacity = capacity;
}

void text_put(Text *text, const char *data, size_t length)
{
    reserve(text, length);
    if (length)
        memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = 0;
}

/* Whatever C can format. */
static void add_formatted(Text *text, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    if (length > 0) {
        reserve(text, (size_t)length);
        vsnprintf(text->data + text->length, (size_t)length + 1, fmt, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

static void add_number(Text *text, uint64_t size, bool negative)
{
    char digits[24], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + size % 10);
    while (size /= 10);
    if (negative)
        *--at = '-';
    text_put(text, at, (size_t)(digits + sizeof digits - at));
}

static void add_signed(Text *text, int64_t value)
{
    add_number(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

/* Programs are printed to see whether they are equal, before any of their code is made: plain
 * strings and integers are done here, since vsnprintf was a tenth of a compile. */
void text_addv(Text *text, const char *fmt, va_list args)
{
    va_list rest;
    va_copy(rest, args);
    for (;;) {
        size_t plain = strcspn(fmt, "%");
        text_put(text, fmt, plain);
        fmt += plain;
        if (!*fmt)
            break;
        if (fmt[1] == 's') {
            const char *string = va_arg(rest, const char *);
            text_put(text, string ? string : "(null)", string ? strlen(string) : 6);
            fmt += 2;
        } else if (fmt[1] == 'd') {
            add_signed(text, va_arg(rest, int));
            fmt += 2;
        } else if (fmt[1] == 'u') {
            add_number(text, va_arg(rest, unsigned), false);
            fmt += 2;
        } else if (strncmp(fmt, "%lld", 4) == 0) {
            add_signed(text, va_arg(rest, long long));
            fmt += 4;
        } else {
            add_formatted(text, fmt, rest);
            break;
        }
    }
    va_end(rest);
}

void text_add(Text *text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    text_addv(text, fmt, args);
    va_end(args);
}

void text_indent(Text *text, int depth)
{
    for (int i = 0; i < depth; i++)
        text_put(text, "  ", 2);
}

/* Numbers have a point in every text form, whatever language the program speaks. Returns what
 * uselocale restores. The "C" locale is a constant of the library: it is neither allocated nor
 * freed. */
static locale_t c_locale(void)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return c ? uselocale(c) : uselocale((locale_t)0);
}

void text_add_float(Text *text, double value)
{
    if (isnan(value)) {
        text_add(text, "nan");
    } else if (isinf(value)) {
        text_add(text, value < 0 ? "-inf" : "inf");
    } else {
        locale_t before = c_locale();
        char short_form[40];
        snprintf(short_form, sizeof short_form, "%.9g", value);
        if (strtod(short_form, NULL) == value)
            text_add(text, "%s", short_form);
        else
            text_add(text, "%.17g", value);
        uselocale(before);
    }
}

void scan_init(Scan *scan, Cx *cx, const char *file, const char *text)
{
    *scan = (Scan){.cx = cx, .file = file, .begin = text, .at = text};
    scan_next(scan);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex_digit(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool name_char(char c)
{
    return is_letter(c) || is_digit(c) || c == '_';
}

static void skip_space(Scan *scan)
{
    for (;;) {
        while (is_space(*scan->at))
            scan->at++;
        if (*scan->at != '#' && *scan->at != ';')
            return;
        while (*scan->at && *scan->at != '\n')
            scan->at++;
    }
}

static const char *number_end(const char *p)
{
    bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    if (hex)
        p += 2;
    while (is_hex_digit(*p) || *p == '.' || *p == 'p' || *p == 'P' ||
           ((*p == '+' || *p == '-') && strchr(hex ? "pP" : "eE", p[-1]))) {
        if (*p == '.' && p[1] == '.') /* a range, 0..8 */
            break;
        if (!hex && !is_digit(*p) && !strchr(".eE+-", *p))
            break;
        p++;
    }
    return p;
}

void scan_next(Scan *scan)
{
    skip_space(scan);
    const char *p = scan->start = scan->at;
    if (!*p) {
        scan->kind = TOK_end;
    } else if (is_letter(*p) || *p == '_' || ((*p == '%' || *p == '@') && name_char(p[1]))) {
        scan->kind = TOK_name;
        for (p++; name_char(*p) || (*p == '.' && name_char(p[1])); p++)
            ;
    } else if (is_digit(*p)) {
        scan->kind = TOK_number;
        p = number_end(p);
    } else if (*p == '"') {
        scan->kind = TOK_string;
        for (p++; *p && *p != '"' && *p != '\n'; p++)
            ;
        if (*p != '"') {
            scan_fail(scan, "the string does not end on its line");
            return;
        }
        p++;
    } else {
        static const char *const pairs[] = {"..", "->", "<=", ">=", "==", "!="};
        scan->kind = TOK_punct;
        p++;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            if (strncmp(scan->start, pairs[i], 2) == 0)
                p = scan->start + 2;
    }
    scan->at = p;
    scan->length = (size_t)(p - scan->start);
}

bool scan_is(const Scan *scan, const char *token)
{
    return scan->kind != TOK_end && scan->kind != TOK_string && strlen(token) == scan->length &&
           memcmp(scan->start, token, scan->length) == 0;
}

bool scan_accept(Scan *scan, const char *token)
{
    if (!scan_is(scan, token))
        return false;
    scan_next(scan);
    return true;
}

void scan_fail(Scan *scan, const char *fmt, ...)
{
    int line = 1, column = 1;
    for (const char *p = scan->begin; p < scan->start; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    char message[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    cx_fail(scan->cx, ST_bad_file, "%s:%d:%d: %s", scan->file ? scan->file : "text", line, column,
            message);
    scan->at = scan->begin + strlen(scan->begin); /* stop every loop that waits for a token */
    scan->kind = TOK_end;
    scan->start = scan->at;
    scan->length = 0;
}

bool scan_expect(Scan *scan, const char *token)
{
    if (scan_accept(scan, token))
        return true;
    if (scan->kind == TOK_end)
        scan_fail(scan, "expected '%s', found the end", token);
    else
        scan_fail(scan, "expected '%s', found '%.*s'", token,
                  (int)(scan->length > 60 ? 60 : scan->length), scan->start);
    return false;
}

const char *scan_name(Scan *scan)
{
    if (scan->kind != TOK_name) {
        scan_fail(scan, "expected a name");
        return NULL;
    }
    char *name = arena_copy(scan->cx->arena, scan->start, scan->length + 1);
    name[scan->length] = 0;
    scan_next(scan);
    return name;
}

/* Tokens are not terminated: numbers are read from a bounded copy. */
static bool number_text(Scan *scan, char text[64])
{
    bool minus = scan_accept(scan, "-");
    bool word = scan_is(scan, "inf") || scan_is(scan, "nan");
    if ((scan->kind != TOK_number && !word) || scan->length > 60) {
        scan_fail(scan, "expected a number");
        return false;
    }
    snprintf(text, 64, "%s%.*s", minus ? "-" : "", (int)scan->length, scan->start);
    return true;
}

int64_t scan_int(Scan *scan)
{
    char text[64], *end;
    if (!number_text(scan, text))
        return 0;
    errno = 0;
    bool hex = text[text[0] == '-'] == '0' && (text[1 + (text[0] == '-')] | 32) == 'x';
    int64_t value = strtoll(text, &end, hex ? 16 : 10); /* 010 is ten */
    if (*end || errno) {
        scan_fail(scan, "'%s' is not a 64-bit integer", text);
        return 0;
    }
    scan_next(scan);
    return value;
}

double scan_float(Scan *scan)
{
    char text[64], *end;
    if (!number_text(scan, text))
        return 0;
    locale_t before = c_locale();
    double value = strtod(text, &end);
    uselocale(before);
    if (*end) {
        scan_fail(scan, "'%s' is not a number", text);
        return 0;
    }
    scan_next(scan);
    return value;
}

bool scan_enter(Scan *scan)
{
    if (++scan->depth <= MAX_DEPTH)
        return true;
    scan_fail(scan, "nested too deep (limit %d)", MAX_DEPTH);
    return false;
}

void scan_leave(Scan *scan)
{
    scan->depth--;
}

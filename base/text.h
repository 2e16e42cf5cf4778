/* Text being built, and a small scanner shared by every text form (nest, tile, graph, records). */
#ifndef QUERN_BASE_TEXT_H
#define QUERN_BASE_TEXT_H

#include <stdarg.h>

#include "base/cx.h"

/* A growing, always terminated string in an arena. */
typedef struct Text {
    Arena *arena;
    char *data;
    size_t length, capacity;
} Text;

void text_init(Text *text, Arena *arena);
void text_add(Text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_addv(Text *text, const char *fmt, va_list args);
void text_put(Text *text, const char *data, size_t length);
void text_indent(Text *text, int depth); /* 2 spaces each */

/* Scanner over a terminated string. Tokens: identifiers [A-Za-z_][A-Za-z0-9_.]*, %names and @names (sigil kept),
 * numbers (integers, floats, hex floats, inf, nan with sign handled by the caller), "strings", punctuation of
 * one or two characters (.. -> <= >= ==). '#' and ';' start comments up to the end of the line. Newlines are
 * space. Errors go to cx_fail with line and column. */
typedef enum TokenKind { TOK_end, TOK_name, TOK_number, TOK_string, TOK_punct } TokenKind;

typedef struct Scan {
    Cx *cx;
    const char *file;           /* for messages */
    const char *begin, *at;     /* whole text, next character */
    TokenKind kind;             /* current token */
    const char *start;          /* its text (not terminated) and length */
    size_t length;
    int depth;                  /* nesting guard for recursive parsers: see scan_enter */
} Scan;

void scan_init(Scan *scan, Cx *cx, const char *file, const char *text);
void scan_next(Scan *scan);
bool scan_is(const Scan *scan, const char *token);
bool scan_accept(Scan *scan, const char *token);
/* Consumes `token` or fails with "expected X, found Y". Returns whether it was there. */
bool scan_expect(Scan *scan, const char *token);
/* Consumes a name / an integer with optional '-' / a float with optional '-' (also inf, nan, hex). On failure: NULL / 0. */
const char *scan_name(Scan *scan);
int64_t scan_int(Scan *scan);
double scan_float(Scan *scan);
void scan_fail(Scan *scan, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Recursion guard: fails at depth 200 and returns false. Pair with scan_leave. */
bool scan_enter(Scan *scan);
void scan_leave(Scan *scan);

/* Round-trip printing of a float: shortest of %.9g/%.17g, with inf, -inf and nan spelled so. */
void text_add_float(Text *text, double value);

#endif

/* Which bytes are characters of UTF-8, which of these are shown, and that messages hold no others.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "base/cx.h"
#include "base/utf8.h"
#include "runtime/report.h"

Test(utf8, reads)
{
    static const struct {
        const char *bytes;
        size_t left, length;
        uint32_t code;
    } cases[] = {
        {"a", 1, 1, 'a'},
        {"", 1, 1, 0},
        {"\xC3\xA9z", 3, 2, 0xE9},
        {"\xE2\x82\xAC", 3, 3, 0x20AC},
        {"\xF4\x8F\xBF\xBF", 4, 4, 0x10FFFF},
        {"\xE2\x82\xAC", 2, 0, 0}, /* cut */
        {"\xE2\x28\xAC", 3, 0, 0}, /* no continuation */
        {"\x80", 1, 0, 0},         /* a continuation alone */
        {"\xC1\xBF", 2, 0, 0},     /* longer forms than needed */
        {"\xE0\x9F\xBF", 3, 0, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0, 0},
        {"\xED\xA0\x80", 3, 0, 0},         /* a surrogate */
        {"\xF4\x90\x80\x80", 4, 0, 0},     /* past the last */
        {"\xF8\x88\x80\x80\x80", 5, 0, 0}, /* no form at all */
        {"\xFF", 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t code = 0;
        cr_expect_eq(utf8_read(cases[i].bytes, cases[i].left, &code), cases[i].length, "%zu", i);
        cr_expect(!cases[i].length || code == cases[i].code, "%zu", i);
    }
}

Test(utf8, makes_plain)
{
    char text[] = "d\xC3\xA9j\xC3\xA0 \x1b[31m\tx\r\n\x7f \xC2\x9b"
                  "2J \xE2\x80\xAE\xE2\x80\xA8 \xff\xC3";
    char lines[] = "a\nb\x1b\n";
    utf8_make_plain(text, false);
    cr_expect_str_eq(text, "d\xC3\xA9j\xC3\xA0 ?[31m?x??? ?2J ?? ??");
    utf8_make_plain(lines, true);
    cr_expect_str_eq(lines, "a\nb?\n");
}

/* Also where a long message ends within a character. */
Test(utf8, messages_are_plain)
{
    static char name[2000];
    for (size_t i = 0; i + 2 < sizeof name; i += 2)
        memcpy(name + i, i ? "\xC3\xA9" : "\x1b]", 2);
    Cx cx;
    Report report;
    cx_init(&cx, NULL, 0);
    cx.where = "node '\x1b[2J'";
    for (int shift = 0; shift < 2; shift++) {
        cx.status = ST_ok;
        cx_fail(&cx, ST_bad_model, "%s'%s'\x9b", shift ? "" : "-", name);
        report_fail(&report, ST_bad_model, "%s'%s'\x9b", shift ? "" : "-", name);
        cr_expect_eq(strncmp(cx.message, "node '?[2J'", 11), 0);
        const char *const texts[] = {cx.message, report.text};
        for (int k = 0; k < 2; k++) {
            uint32_t code;
            for (const char *at = texts[k], *end = at + strlen(at); at < end;) {
                size_t length = utf8_read(at, (size_t)(end - at), &code);
                cr_assert(length && utf8_is_plain(code));
                at += length;
            }
        }
    }
    cx_finish(&cx);
}

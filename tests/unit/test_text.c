/* Strings, the scanner, arenas and job contexts. */
#include <criterion/criterion.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static Cx cx;

static void open_job(void)
{
    cx_init(&cx, NULL, 0);
}

static void close_job(void)
{
    cx_finish(&cx);
}

TestSuite(text, .init = open_job, .fini = close_job);
TestSuite(arena, .init = open_job, .fini = close_job);

static Scan scan_of(const char *text)
{
    Scan scan;
    cx.status = ST_ok;
    scan_init(&scan, &cx, "file", text);
    return scan;
}

Test(text, grows)
{
    Text text;
    text_init(&text, cx.arena);
    for (int i = 0; i < 1000; i++)
        text_add(&text, "%d,", i);
    text_put(&text, NULL, 0);
    text_indent(&text, 2);
    cr_expect_eq(text.length, strlen(text.data));
    cr_expect_eq(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 4);
    cr_expect_str_eq(text.data + text.length - 8, "999,    ");
}

Test(text, adds_what_c_formats)
{
    Text text;
    char expect[400];
    text_init(&text, cx.arena);
#define EVERY                                                                                      \
    "%d %d %u %lld %lld|%s|%s|%c%5d %-4s%zu %% %.3s %08x %s", INT32_MIN, 0, UINT32_MAX,            \
        (long long)INT64_MIN, (long long)INT64_MAX, "", "two words", 'c', 42, "ab", (size_t)7,     \
        "cut off", 0xbeefu, "end"
    text_add(&text, EVERY);
    snprintf(expect, sizeof expect, EVERY);
#undef EVERY
    cr_expect_str_eq(text.data, expect);
    cr_expect_eq(text.length, strlen(expect));
    text_add(&text, "%s", "");
    text_add(&text, "100%%");
    cr_expect_str_eq(text.data + text.length - 7, "end100%");
}

Test(text, floats_read_back)
{
    static const double values[] = {0,        -0.0,         1,   0.1, 1.0 / 3,   1e300,
                                    5e-324,   (double)0.1f, -25, 1e9, 123456789, HUGE_VAL,
                                    -HUGE_VAL};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        Text text;
        text_init(&text, cx.arena);
        text_add_float(&text, values[i]);
        Scan scan = scan_of(text.data);
        double back = scan_float(&scan);
        cr_expect(!cx_failed(&cx) && scan.kind == TOK_end, "%s", text.data);
        cr_expect(back == values[i] && !signbit(back) == !signbit(values[i]), "%s", text.data);
    }
    Text text;
    text_init(&text, cx.arena);
    text_add_float(&text, (double)NAN);
    Scan scan = scan_of(text.data);
    cr_expect(isnan(scan_float(&scan)));
    text_init(&text, cx.arena);
    text_add_float(&text, 0.1);
    cr_expect_str_eq(text.data, "0.1", "short where that is exact");
}

/* Languages with a decimal comma, where one is installed, must change nothing. */
Test(text, floats_know_no_language)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "pl_PL.UTF-8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_ALL, names[i]))
            break;
    Text text;
    text_init(&text, cx.arena);
    text_add_float(&text, 1.5);
    cr_expect_str_eq(text.data, "1.5");
    Scan scan = scan_of("1.5");
    cr_expect_eq(scan_float(&scan), 1.5);
}

Test(text, tokens)
{
    static const struct {
        TokenKind kind;
        const char *text;
    } want[] = {{TOK_name, "a.b"},    {TOK_punct, ".."},      {TOK_name, "%x1"},
                {TOK_name, "@y"},     {TOK_punct, "->"},      {TOK_number, "12"},
                {TOK_punct, ".."},    {TOK_number, "0x1p-3"}, {TOK_punct, "-"},
                {TOK_number, "1e-5"}, {TOK_punct, "-"},       {TOK_number, "3"},
                {TOK_punct, "<="},    {TOK_punct, "<"},       {TOK_string, "\"s #\""},
                {TOK_punct, "%"},     {TOK_name, "_z"}};
    Scan scan = scan_of("a.b..%x1@y -> 12..0x1p-3-1e-5 # gone ->\n-3 <= < ; gone\n\"s #\" % _z");
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        cr_expect(scan.kind == want[i].kind && strlen(want[i].text) == scan.length &&
                      !memcmp(want[i].text, scan.start, scan.length),
                  "token %zu is %.*s", i, (int)scan.length, scan.start);
        scan_next(&scan);
    }
    cr_expect_eq(scan.kind, TOK_end);
    scan_next(&scan);
    cr_expect_eq(scan.kind, TOK_end);
}

Test(text, integers)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-7", -7},
                {"010", 10},
                {"0x10", 16},
                {"-0xff", -255},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Scan scan = scan_of(good[i].text);
        cr_expect_eq(scan_int(&scan), good[i].value, "%s", good[i].text);
        cr_expect(!cx_failed(&cx) && scan.kind == TOK_end);
    }
    static const char *const bad[] = {
        "9223372036854775808",
        "1.5",
        "x",
        "inf",
        "",
        "- -1",
        "0x",
        "1e3",
        "1111111111111111111111111111111111111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Scan scan = scan_of(bad[i]);
        cr_expect_eq(scan_int(&scan), 0);
        cr_expect_eq(cx.status, ST_bad_file, "%s", bad[i]);
    }
}

Test(text, messages_have_a_place)
{
    Scan scan = scan_of("one\n  two three");
    cr_expect_str_eq(scan_name(&scan), "one");
    cr_expect(!scan_expect(&scan, "("));
    cr_expect_str_eq(cx.message, "file:2:3: expected '(', found 'two'");
    cr_expect_eq(scan.kind, TOK_end, "loops that wait for a token stop");
    scan = scan_of("\"open\n\"");
    cr_expect(cx_failed(&cx), "a string ends on its line");
    cr_expect_eq(scan.kind, TOK_end);
    scan = scan_of("\"");
    cr_expect(cx_failed(&cx));
    scan = scan_of("");
    cr_expect(!scan_accept(&scan, "x"));
    cr_expect_null(scan_name(&scan));
}

Test(text, nesting_is_limited)
{
    Scan scan = scan_of("x");
    int depth = 0;
    while (scan_enter(&scan) && depth < 1000)
        depth++;
    cr_expect_eq(depth, 200);
    cr_expect(cx_failed(&cx));
}

Test(arena, memory_is_aligned_and_zero)
{
    ArenaMark mark = arena_mark(cx.arena);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 300000; size = size * 3 + 1) {
            unsigned char *p = arena_alloc(cx.arena, size);
            cr_assert_eq((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < size; i++)
                cr_assert_eq(p[i], 0);
            memset(p, 0xFF, size);
        }
        arena_reset(cx.arena, mark);
        cr_expect_eq(cx.arena->used, 0);
    }
    cr_expect_str_eq(arena_printf(cx.arena, "%d-%s", 5, "x"), "5-x");
    cr_expect_str_eq(arena_strdup(cx.arena, "abc"), "abc");
    cr_expect_not_null(arena_copy(cx.arena, NULL, 0));
}

Test(arena, mark_keeps_what_is_older)
{
    int *older = NEW_ARRAY(cx.arena, int, 100);
    for (int i = 0; i < 100; i++)
        older[i] = i;
    ArenaMark mark = arena_mark(cx.arena);
    size_t used = cx.arena->used;
    char *first = arena_alloc(cx.arena, 10);
    arena_alloc(cx.arena, 10 << 20);
    arena_reset(cx.arena, mark);
    cr_expect_eq(cx.arena->used, used);
    cr_expect_eq((char *)arena_alloc(cx.arena, 10), first);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(older[i], i);
}

Test(arena, vectors_grow)
{
    int64_t *items = NULL;
    uint32_t count = 0, capacity = 0;
    for (int i = 0; i < 10000; i++)
        VEC_PUSH(cx.arena, items, count, capacity, i);
    cr_expect_eq(count, 10000);
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(items[i], i);
}

static int cleaned[3], cleanups;

static void clean(void *resource)
{
    cleaned[cleanups++] = *(int *)resource;
}

static void greedy(Cx *job, void *user)
{
    static int ids[] = {1, 2, 3};
    Arena scratch, *before = job->arena;
    cx_cleanup(job, clean, &ids[0]);
    arena_init(&scratch, NULL, 0, &job->oom);
    job->arena = &scratch; /* a pass's scratch arena must not own clean-ups */
    cx_cleanup(job, clean, &ids[1]);
    job->arena = before;
    arena_finish(&scratch);
    cx_cleanup(job, clean, &ids[2]);
    for (;;)
        ++*(int *)user, arena_alloc(job->arena, 1000);
}

Test(cx, limit_ends_the_job)
{
    Cx job;
    int taken = 0;
    cx_init(&job, NULL, 200000);
    cr_expect_eq(cx_run(&job, greedy, &taken), ST_out_of_memory);
    cr_expect(taken > 180, "only %d of 200 fitted", taken);
    cr_expect(strstr(job.message, "limit"));
    cx_finish(&job);
    cr_expect(cleanups == 3 && cleaned[0] == 3 && cleaned[1] == 2 && cleaned[2] == 1,
              "newest first");
}

static void absurd(Cx *job, void *user)
{
    uint32_t capacity = UINT32_MAX;
    switch (*(int *)user) {
    case 0: arena_array(job->arena, SIZE_MAX / 2, 3); break;
    case 1: arena_alloc(job->arena, SIZE_MAX); break;
    case 2: arena_alloc(job->arena, SIZE_MAX - 5); break;
    case 3: arena_alloc(job->arena, SIZE_MAX / 2); break;
    default: arena_grow(job->arena, NULL, &capacity, 1, 0); break;
    }
}

Test(cx, absurd_sizes_are_out_of_memory)
{
    for (int which = 0; which < 5; which++) {
        Cx job;
        cx_init(&job, NULL, 0);
        cr_expect_eq(cx_run(&job, absurd, &which), ST_out_of_memory, "case %d", which);
        cx_finish(&job);
    }
}

Test(cx, first_error_stays)
{
    Cx a, b;
    cx_init(&a, NULL, 0);
    cx_init(&b, NULL, 0);
    a.where = "node 'x'";
    cx_fail(&a, ST_bad_model, "first %d", 1);
    cx_fail(&a, ST_io, "second");
    cr_expect(a.status == ST_bad_model && !strcmp(a.message, "node 'x': first 1"));
    cx_merge(&b, &a);
    cx_finish(&a);
    cr_expect(b.status == ST_bad_model && !strcmp(b.message, "node 'x': first 1"));
    cr_expect_str_eq(status_text(ST_bad_index), "index out of range");
    cr_expect_str_eq(status_text((Status)1000), "unknown status");
    char where[3000];
    memset(where, 'w', sizeof where - 1);
    where[sizeof where - 1] = 0;
    cx_init(&a, NULL, 0);
    a.where = where;
    cx_fail(&a, ST_io, "long");
    cr_expect_eq(strlen(a.message), sizeof a.text - 1);
    cx_finish(&a);
    cx_finish(&b);
}

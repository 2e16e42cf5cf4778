/* Host operations on strings. */
#include "host_case.h"

#define PLAIN DT_string
TestSuite(host_text);

static HostCase *run_again(HostCase *c, const char *name)
{
    memset(c->outputs, 0, sizeof c->outputs);
    memset(&c->report, 0, sizeof c->report);
    c->status = host_find(name)(&c->call);
    return c;
}

Test(host_text, constants)
{
    HostCase *c = host_case();
    host_case_text(c, "onetwothree");
    IN(c, i64, "2,2", 3, 0, 3, 5);
    RUN(c, "texts", PLAIN);
    OUT_TEXTS(c, 0, "2,2", "one", "", "two", "three");
    c = host_case();
    host_case_text(c, "one");
    IN(c, i64, "1", 4);
    RUN(c, "texts", PLAIN);
    host_case_refused(c, "texts: string 0 is of length 4, there are 3 bytes");
    c = host_case();
    host_case_text(c, "one");
    IN(c, i64, "1", -1);
    RUN(c, "texts", PLAIN);
    host_case_refused(c, "length -1");
}

Test(host_text, take)
{
    HostCase *c = host_case();
    IN(c, i64, "2,2", 3, 0, 2, 2);
    IN_TEXTS(c, "2", "a", "b");
    IN_TEXTS(c, "0", "");
    IN_TEXTS(c, "1,2", "c", "");
    RUN(c, "take", PLAIN);
    OUT_TEXTS(c, 0, "2,2", "", "a", "c", "c");
    *(int64_t *)(uintptr_t)c->inputs[0].data = 4;
    host_case_refused(run_again(c, "take"), "take: there is no element 4");
    *(int64_t *)(uintptr_t)c->inputs[0].data = -1;
    host_case_refused(run_again(c, "take"), "no element -1");
}

Test(host_text, pairs_broadcast)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2,1", "a", "b");
    IN_TEXTS(c, "3", "a", "b", "ab");
    RUN(c, "text_equal", DT_bool);
    OUT(c, 0, "2,3", 1, 0, 0, 0, 1, 0);
    memset(c->outputs, 0, sizeof c->outputs);
    RUN(c, "text_concat", PLAIN);
    OUT_TEXTS(c, 0, "2,3", "aa", "ab", "aab", "ba", "bb", "bab");
    c = host_case();
    IN_TEXTS(c, "", "");
    IN_TEXTS(c, "0,2", "");
    RUN(c, "text_concat", PLAIN);
    OUT_TEXTS(c, 0, "0,2", "");
    c = host_case();
    IN_TEXTS(c, "2", "a", "b");
    IN_TEXTS(c, "3", "a", "b", "c");
    RUN(c, "text_equal", DT_bool);
    host_case_refused(c, "text_equal: extents 2 and 3 do not broadcast");
}

static HostCase *split(const char *text, const char *delimiter, int most)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2", text, "x");
    host_case_text(c, delimiter);
    IN_INT(c, most);
    RUN(c, "text_split", DT_string, DT_i64);
    return c;
}

Test(host_text, split_at_delimiters)
{
    HostCase *c = split("a--b----c", "--", -1);
    OUT_TEXTS(c, 0, "2,4", "a", "b", "", "c", "x", "", "", "");
    OUT(c, 1, "2", 4, 1);
    OUT_TEXTS(split("a,b,c", ",", 1), 0, "2,2", "a", "b,c", "x", "");
    OUT_TEXTS(split("a,b,c", ",", 0), 0, "2,1", "a,b,c", "x");
    OUT_TEXTS(split("a,", ",", -1), 0, "2,2", "a", "", "x", "");
    c = split("", ",", -1); /* a delimited empty string is one empty part */
    OUT(c, 1, "2", 1, 1);
}

Test(host_text, split_at_white_space)
{
    HostCase *c = split(" a\t b \n", "", -1);
    OUT_TEXTS(c, 0, "2,2", "a", "b", "x", "");
    OUT_TEXTS(split("a\u00A0b\u2003c\u3000", "", -1), 0, "2,3", "a", "b", "c", "x", "", "");
    OUT_TEXTS(split(" a  b  c", "", 1), 0, "2,2", "a", "b  c", "x", "");
    c = split("   ", "", -1);
    OUT(c, 1, "2", 0, 1);
    OUT_TEXTS(c, 0, "2,1", "", "x");
    OUT_TEXTS(split("\xE2\x80", "", -1), 0, "2,1", "\xE2\x80", "x"); /* cut short */
}

Test(host_text, split_nothing)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2,0", "");
    host_case_text(c, ",");
    IN_INT(c, -1);
    RUN(c, "text_split", DT_string, DT_i64);
    OUT_TEXTS(c, 0, "2,0,0", "");
    OUT(c, 1, "2,0", 0);
}

static HostCase *normalize(const char *locale, int change, int sensitive)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "1,5", "Monday", "The", "Stra\u00DFe", "ISTANBUL \u00C9", "the");
    IN_TEXTS(c, "2", "monday", "the");
    host_case_text(c, locale);
    IN_INT(c, change);
    IN_INT(c, sensitive);
    RUN(c, "text_normalize", PLAIN);
    return c;
}

Test(host_text, normalize)
{
    OUT_TEXTS(normalize("en_US", 1, 0), 0, "1,2", "stra\u00DFe", "istanbul \u00E9");
    OUT_TEXTS(normalize("", 2, 1), 0, "1,4", "MONDAY", "THE", "STRASSE", "ISTANBUL \u00C9");
    OUT_TEXTS(normalize("C.UTF-8", 0, 1), 0, "1,4", "Monday", "The", "Stra\u00DFe",
              "ISTANBUL \u00C9");
    OUT_TEXTS(normalize("tr_TR.UTF-8", 1, 1), 0, "1,4", "monday", "the", "stra\u00DFe",
              "\u0131stanbul \u00E9");
}

Test(host_text, normalize_nothing_left)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2", "A", "a");
    IN_TEXTS(c, "1", "a");
    IN_NONE(c);
    IN_INT(c, 0);
    IN_INT(c, 0);
    RUN(c, "text_normalize", PLAIN);
    OUT_TEXTS(c, 0, "1", "");
}

Test(host_text, normalize_refuses)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2,1", "a", "\xC3");
    IN_TEXTS(c, "0", "");
    IN_NONE(c);
    IN_INT(c, 1);
    IN_INT(c, 0);
    RUN(c, "text_normalize", PLAIN);
    host_case_refused(c, "texts are [2, 1]");
    c->dims[0][0] = 1;
    c->dims[0][1] = 2;
    host_case_refused(run_again(c, "text_normalize"), "not UTF-8");
    *(int64_t *)(uintptr_t)c->inputs[3].data = 3;
    host_case_refused(run_again(c, "text_normalize"), "change is 3");
}

static HostCase *match(const char *pattern)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "5", "", "aab", "Aab", "\u00E9t\u00E9", "aab\n");
    host_case_text(c, pattern);
    RUN(c, "text_match", DT_bool);
    return c;
}

Test(host_text, match_whole_strings)
{
    OUT(match("a+b"), 0, "5", 0, 1, 0, 0, 0);
    OUT(match("a*?b?"), 0, "5", 1, 1, 0, 0, 0);
    OUT(match("(?i)(?P<name>a{2})(?:b|c)"), 0, "5", 0, 1, 1, 0, 0);
    OUT(match("...\n?"), 0, "5", 0, 1, 1, 1, 1);
    OUT(match("^\\w+$"), 0, "5", 0, 1, 1, 0, 0);
    OUT(match("\\p{Ll}+"), 0, "5", 0, 1, 0, 1, 0);
    OUT(match("\\Qaab\\E"), 0, "5", 0, 1, 0, 0, 0);
    OUT(match("[]a\\]b[:upper:]]+"), 0, "5", 0, 1, 1, 0, 0);
    OUT(match("a|aa|aab|(?s).*"), 0, "5", 1, 1, 1, 1, 1);
    OUT(match(""), 0, "5", 1, 0, 0, 0, 0);
}

Test(host_text, match_refuses_what_is_not_re2)
{
    static const char *const patterns[] = {
        "(a)\\1", "(?=a)", "(?!a)",     "(?<=a)",         "(?<!a)",  "(?>a)",
        "a++",    "a**",   "(?R)",      "(?1)",           "(*UTF)a", "\\K",
        "\\h",    "\\C",   "(?(1)a|b)", "(?|a)",          "a{1001}", "(?P=name)",
        "\\",     "[a",    "(a",        "(?P<n>a)\\k<n>", "a)",      "*",
        "[b-a]",  "(?x)a", "a{2}{2}+",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        HostCase *c = match(patterns[i]);
        cr_expect_eq(c->status, ST_bad_argument, "'%s' gives %d: %s", patterns[i], (int)c->status,
                     c->report.text);
        cr_expect(strstr(c->report.text, "text_match: the pattern"), "%s", c->report.text);
    }
}

/* What makes a backtracking matcher run for ever. */
Test(host_text, match_takes_linear_time, .timeout = 20)
{
    static const char *const patterns[] = {"(a*)*b", "(a|aa)+b", "(a|a?)+b", "(.*a){12}b"};
    enum { LONG = 5000 };
    char *text = host_case_block(LONG + 1);
    memset(text, 'a', LONG);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        HostCase *c = host_case();
        IN_TEXTS(c, "1", text);
        host_case_text(c, patterns[i]);
        RUN(c, "text_match", DT_bool);
        OUT(c, 0, "1", 0);
    }
}

Test(host_text, match_not_utf8)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2", "a\xFF", "a");
    host_case_text(c, "a.*");
    RUN(c, "text_match", DT_bool);
    OUT(c, 0, "2", 0, 1);
}

Test(host_text, format_floats)
{
    HostCase *c = host_case();
    IN(c, f32, "12", 1, -0.0, 0.47892547, 314.15926, 1e-4, 1e-5, 1e15, 1e16, 1.17549435e-38, NAN,
       INFINITY, -INFINITY);
    RUN(c, "text_format", PLAIN);
    OUT_TEXTS(c, 0, "12", "1.0", "-0.0", "0.47892547", "314.15927", "0.0001", "1e-05",
              "1000000000000000.0", "1e+16", "1.1754944e-38", "NaN", "INF", "-INF");
    c = host_case();
    IN(c, f64, "4", 0.1, 1.0 / 3, 1e300, 5e-324);
    RUN(c, "text_format", PLAIN);
    OUT_TEXTS(c, 0, "4", "0.1", "0.3333333333333333", "1e+300", "5e-324");
    c = host_case();
    IN(c, f16, "3", 0.1, 65504, 0.333251953125);
    RUN(c, "text_format", PLAIN);
    OUT_TEXTS(c, 0, "3", "0.1", "65500.0", "0.3333");
}

Test(host_text, format_integers)
{
    HostCase *c = host_case();
    IN(c, i8, "2", -128, 7);
    RUN(c, "text_format", PLAIN);
    OUT_TEXTS(c, 0, "2", "-128", "7");
    c = host_case();
    IN(c, u64, "1", 18446744073709549568.0);
    RUN(c, "text_format", PLAIN);
    OUT_TEXTS(c, 0, "1", "18446744073709549568");
    c = host_case();
    IN(c, bool, "2", 0, 1);
    RUN(c, "text_format", PLAIN);
    OUT_TEXTS(c, 0, "2", "False", "True");
}

Test(host_text, parse_numbers)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "8", "3.14", " 1e-5\n", "-INF", "+inf", "nAn", ".5", "100", "-0");
    RUN(c, "text_parse", DT_f32);
    OUT(c, 0, "8", (double)3.14f, (double)1e-5f, -INFINITY, INFINITY, NAN, 0.5, 100, -0.0);
    c = host_case();
    IN_TEXTS(c, "3", "100.5", "-9223372036854775808", "9007199254740993");
    RUN(c, "text_parse", DT_i64);
    cr_assert_eq(((const int64_t *)c->outputs[0].data)[1], INT64_MIN);
    cr_assert_eq(((const int64_t *)c->outputs[0].data)[2], INT64_C(9007199254740993));
    c = host_case();
    IN_TEXTS(c, "3", "200", "-1", "300");
    RUN(c, "text_parse", DT_u8);
    OUT(c, 0, "3", 200, 255, 44);
    c = host_case();
    IN_TEXTS(c, "3", "True", "0", "0.5");
    RUN(c, "text_parse", DT_bool);
    OUT(c, 0, "3", 1, 0, 1);
}

Test(host_text, parse_refuses)
{
    static const char *const texts[] = {"",    " ",   "0x10", "1e", "1.2.3",
                                        "one", "--1", "1 2",  ".",  "nan(1)"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        HostCase *c = host_case();
        IN_TEXTS(c, "1", texts[i]);
        RUN(c, "text_parse", DT_f32);
        host_case_refused(c, "text_parse: string 0 is not a number");
    }
}

/* What is written reads back as the same value. */
Test(host_text, round_trip)
{
    uint32_t seed = 7;
    HostCase *c = host_case();
    size_t count;
    float *values = host_case_add(c, DT_f32, "2000", &count);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        memcpy(&values[i], &seed, sizeof seed);
    }
    RUN(c, "text_format", PLAIN);
    HostCase *back = host_case();
    back->call.input_count = 1;
    back->inputs[0] = c->outputs[0];
    RUN(back, "text_parse", DT_f32);
    const float *got = back->outputs[0].data;
    for (size_t i = 0; i < count; i++)
        cr_assert((isnan(values[i]) && isnan(got[i])) || got[i] == values[i], "%.9g is %.9g",
                  (double)values[i], (double)got[i]);
}

Test(host_text, look_up)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2,2", "Amy", "Dori", "", "Amelia Earhart");
    IN_TEXTS(c, "4", "Amelia Earhart", "Amy", "Sally", "Amy");
    RUN(c, "look_up", DT_i64);
    OUT(c, 0, "2,2", 3, 4, 4, 0);
    c = host_case();
    IN(c, f32, "5", NAN, 0.0, 2, 3, -INFINITY);
    IN(c, f32, "3", 2, NAN, -0.0);
    RUN(c, "look_up", DT_i64);
    OUT(c, 0, "5", 1, 2, 0, 3, 3);
    c = host_case();
    IN(c, i64, "1", 1);
    IN(c, i32, "1", 1);
    RUN(c, "look_up", DT_i64);
    host_case_refused(c, "look_up: x is of type i64, its keys of type i32");
}

/* The pool of the specification's examples: 1-grams 2 3 5 4, 2-grams 5 6, 7 8, 6 7. */
static HostCase *tfidf(const char *dims, double least, double most, double skip, double mode)
{
    HostCase *c = host_case();
    IN(c, i32, dims, 1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8);
    IN(c, i64, "10", 2, 3, 5, 4, 5, 6, 7, 8, 6, 7);
    IN(c, i64, "2", 0, 4);
    IN(c, i64, "7", 0, 1, 2, 3, 4, 5, 6);
    IN(c, f32, "7", 1, 2, 3, 4, 5, 6, 7);
    IN(c, i64, "4", least, most, skip, mode);
    RUN(c, "tfidf", DT_f32);
    return c;
}

Test(host_text, tfidf)
{
    OUT(tfidf("12", 2, 2, 0, 0), 0, "7", 0, 0, 0, 0, 1, 1, 1);
    OUT(tfidf("12", 2, 2, 5, 0), 0, "7", 0, 0, 0, 0, 1, 3, 1);
    OUT(tfidf("12", 1, 2, 5, 0), 0, "7", 0, 3, 1, 0, 1, 3, 1);
    OUT(tfidf("2,6", 1, 2, 5, 0), 0, "2,7", 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1);
    OUT(tfidf("12", 1, 2, 5, 1), 0, "7", 0, 2, 3, 0, 5, 6, 7);
    OUT(tfidf("12", 1, 2, 5, 2), 0, "7", 0, 6, 3, 0, 5, 18, 7);
    OUT(tfidf("0", 1, 2, 1e18, 0), 0, "7", 0, 0, 0, 0, 0, 0, 0);
}

Test(host_text, tfidf_of_strings)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "2,3", "a", "b", "unknown", "unknown", "a", "b");
    IN_TEXTS(c, "4", "b", "a", "a", "b");
    IN(c, i64, "2", 0, 2);
    IN(c, i64, "3", 2, 0, 1);
    IN_NONE(c);
    IN(c, i64, "4", 1, 2, 0, 0);
    RUN(c, "tfidf", DT_f32);
    OUT(c, 0, "2,3", 1, 1, 1, 1, 1, 1);
}

Test(host_text, tfidf_refuses)
{
    HostCase *c = tfidf("12", 2, 1, 0, 0);
    host_case_refused(c, "tfidf: limits are wrong");
    c = tfidf("12", 1, 2, 0, 0);
    ((int64_t *)(uintptr_t)c->inputs[2].data)[1] = 11;
    host_case_refused(run_again(c, "tfidf"), "1-grams from 0 to 11 of a pool of 10 tokens");
    ((int64_t *)(uintptr_t)c->inputs[2].data)[1] = 5;
    host_case_refused(run_again(c, "tfidf"), "2-grams from 5 to 10");
    ((int64_t *)(uintptr_t)c->inputs[2].data)[1] = 4;
    c->dims[3][0] = 6;
    host_case_refused(run_again(c, "tfidf"), "more n-grams than columns (6)");
    ((int64_t *)(uintptr_t)c->inputs[3].data)[0] = -1;
    host_case_refused(run_again(c, "tfidf"), "column -1");
}

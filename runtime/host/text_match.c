/* Whether strings match a regular expression as a whole.
 *
 * The operator's syntax is RE2's. PCRE2 reads nearly all of it with the same meaning, so what RE2
 * does not have (look-around, back references, atomic and possessive parts, recursion, verbs,
 * further escapes) is refused here first, with counts above RE2's largest. What is left is matched
 * by PCRE2's breadth-first matcher, which never backtracks into the text: time grows with the
 * length of the text and of the expression, whatever a model writes. Two differences stay: \v (in
 * RE2 one character, in PCRE2 any vertical space) is refused, and \s takes the vertical tab too. */
#include <string.h>

#include "runtime/host/library.h"

/* host_text_match: texts, pattern (bytes) -> bool. Strings that are not UTF-8 match nothing. */
static const HostParam match_in[] = {
    {"texts", TYPE(string), 0, ARGS_RANK, false},
    {"pattern", TYPE(u8), 1, 1, false},
};
static const HostParam match_out[] = {{"matches", TYPE(bool), 0, ARGS_RANK, false}};
static const HostForm form = {"text_match", match_in, match_out, 2, 1, false};

enum {
    MOST_PATTERN = 1 << 16, /* bytes */
    MOST_COUNT = 1000,      /* RE2's largest {n} */
    LEAST_WORK = 1 << 10,   /* ints of the matcher's lists of states */
    MOST_WORK = 1 << 22,
};

/* Of the 8-bit library, whose interface is stable: options and results. */
enum {
    OPT_dollar_end_only = 0x10,
    OPT_never_bytes = 0x100000, /* no \C */
    OPT_utf = 0x80000,
    OPT_end_anchored = 0x20000000,
    RESULT_no_match = -1,
    RESULT_work_size = -43,
    RESULT_first_utf = -28, /* down to */
    RESULT_last_utf = -3,
};
static const uint32_t OPT_anchored = 0x80000000u;

typedef struct Pcre2 {
    void *(*compile)(const char *pattern, size_t length, uint32_t options, int *error, size_t *at,
                     void *context);
    int (*message)(int error, char *text, size_t size);
    void *(*match_data)(const void *code, void *context);
    int (*match)(const void *code, const char *text, size_t length, size_t start, uint32_t options,
                 void *data, void *context, int *work, size_t work_count);
    void (*free_data)(void *data);
    void (*free_code)(void *code);
} Pcre2;

static bool load(HostCall *call, Pcre2 *lib)
{
    static const char *const names[] = {
        "pcre2_compile_8",   "pcre2_get_error_message_8", "pcre2_match_data_create_from_pattern_8",
        "pcre2_dfa_match_8", "pcre2_match_data_free_8",   "pcre2_code_free_8",
    };
    void *functions[6];
    _Static_assert(sizeof functions == sizeof *lib, "one function each");
    if (!library_functions(call, HL_pcre2, 6, names, functions))
        return false;
    memcpy(lib, functions, sizeof functions);
    return true;
}

/* ---- RE2's syntax */

typedef struct Pattern {
    const char *text;
    size_t length, at;
} Pattern;

static bool has(const Pattern *p, size_t at, const char *word)
{
    size_t length = strlen(word);
    return at + length <= p->length && memcmp(p->text + at, word, length) == 0;
}

static bool one_of(const Pattern *p, size_t at, const char *set)
{
    return at < p->length && p->text[at] && strchr(set, p->text[at]);
}

/* Behind a backslash: letters and digits mean only what RE2 gives them. Steps over it. */
static const char *check_escape(Pattern *p, bool in_class)
{
    size_t at = p->at + 1;
    if (at >= p->length)
        return "ends with a backslash";
    if (p->text[at] == 'Q') { /* literal up to \E */
        while (at < p->length && !has(p, at, "\\E"))
            at++;
        p->at = at < p->length ? at + 2 : at;
        return NULL;
    }
    p->at = at + 1;
    bool letter = (p->text[at] | 0x20) >= 'a' && (p->text[at] | 0x20) <= 'z';
    bool digit = p->text[at] >= '1' && p->text[at] <= '9';
    if (digit)
        return "has a back reference";
    if (letter && !one_of(p, at, in_class ? "afnrtxdDsSwWpPE" : "afnrtxdDsSwWpPEAbBz"))
        return "has an escape that is not supported";
    return NULL;
}

/* Behind "(": a plain group, a name, flags. */
static const char *check_group(Pattern *p)
{
    p->at++;
    if (has(p, p->at, "*"))
        return "has a verb '(*'";
    if (!has(p, p->at, "?"))
        return NULL;
    p->at++;
    if (has(p, p->at, "P<") || (has(p, p->at, "<") && !one_of(p, p->at + 1, "=!"))) {
        p->at++;
        return NULL;
    }
    while (one_of(p, p->at, "imsU-"))
        p->at++;
    if (!one_of(p, p->at, ":)"))
        return "has a group '(?' that RE2 does not know";
    return NULL;
}

/* At "{": a count when it reads as one, else a literal. */
static const char *check_count(Pattern *p)
{
    int64_t value = 0;
    for (p->at++; p->at < p->length && p->text[p->at] != '}'; p->at++) {
        char c = p->text[p->at];
        if (c != ',' && (c < '0' || c > '9'))
            return NULL;
        value = c == ',' ? 0 : value * 10 + (c - '0');
        if (value > MOST_COUNT)
            return "has a count above 1000";
    }
    p->at += p->at < p->length;
    return NULL;
}

static const char *check_class(Pattern *p)
{
    p->at++;
    p->at += has(p, p->at, "^");
    p->at += has(p, p->at, "]"); /* in front it is literal */
    while (p->at < p->length && p->text[p->at] != ']') {
        const char *wrong = NULL;
        if (has(p, p->at, "[:")) {
            for (p->at += 2; p->at < p->length && !has(p, p->at, ":]");)
                p->at++;
            p->at += 2;
        } else if (one_of(p, p->at, "\\")) {
            wrong = check_escape(p, true);
        } else {
            p->at++;
        }
        if (wrong)
            return wrong;
    }
    p->at++;
    return p->at > p->length ? "has a class without an end" : NULL;
}

/* What is not RE2's in the pattern, or NULL. */
static const char *check_pattern(Pattern *p)
{
    const char *wrong = NULL;
    bool repeats = false; /* just behind a repetition */
    while (p->at < p->length && !wrong) {
        bool repeated = repeats;
        repeats = one_of(p, p->at, "*+?{");
        if (repeated && one_of(p, p->at, "*+"))
            return "has a repetition of a repetition";
        if (one_of(p, p->at, "\\")) {
            wrong = check_escape(p, false);
        } else if (one_of(p, p->at, "(")) {
            wrong = check_group(p);
        } else if (one_of(p, p->at, "[")) {
            wrong = check_class(p);
        } else if (one_of(p, p->at, "{")) {
            wrong = check_count(p);
            repeats = p->text[p->at - 1] == '}';
        } else {
            repeats = repeats && !(repeated && one_of(p, p->at, "?"));
            p->at++;
        }
    }
    return wrong;
}

/* ---- matching */

typedef struct Matcher {
    HostCall *call;
    Pcre2 lib;
    void *code, *data;
    int *work;
    size_t work_count;
} Matcher;

static bool grow(Matcher *m)
{
    size_t count = m->work_count ? m->work_count * 4 : LEAST_WORK;
    if (count > MOST_WORK) {
        report_fail(m->call->report, ST_limit, "%s: matching the pattern takes too much memory",
                    form.op);
        return false;
    }
    m->work = m->call->scratch(m->call, count * sizeof *m->work);
    m->work_count = m->work ? count : 0;
    return m->work;
}

static bool match(Matcher *m, HostString text, uint8_t *result)
{
    int got = RESULT_work_size;
    while (got == RESULT_work_size) {
        if (!m->work && !grow(m))
            return false;
        got = m->lib.match(m->code, text.length ? text.data : "", text.length, 0,
                           OPT_anchored | OPT_end_anchored, m->data, NULL, m->work, m->work_count);
        if (got == RESULT_work_size && !grow(m))
            return false;
    }
    bool not_utf = got <= RESULT_last_utf && got >= RESULT_first_utf;
    *result = got >= 0;
    if (got >= 0 || got == RESULT_no_match || not_utf)
        return true;
    char why[120] = "";
    m->lib.message(got, why, sizeof why);
    report_fail(m->call->report, ST_limit, "%s: the pattern cannot be matched: %s", form.op, why);
    return false;
}

static bool compile(Matcher *m, Pattern *p)
{
    const char *wrong = p->length > MOST_PATTERN ? "is too long" : check_pattern(p);
    if (wrong) {
        args_fail(m->call, &form, "the pattern is not of RE2's syntax: it %s, before byte %zu",
                  wrong, p->at);
        return false;
    }
    int error = 0;
    size_t at = 0;
    m->code = m->lib.compile(p->length ? p->text : "", p->length,
                             OPT_utf | OPT_dollar_end_only | OPT_never_bytes, &error, &at, NULL);
    m->data = m->code ? m->lib.match_data(m->code, NULL) : NULL;
    char why[120] = "";
    if (!m->code) {
        m->lib.message(error, why, sizeof why);
        args_fail(m->call, &form, "the pattern is wrong at byte %zu: %s", at, why);
    } else if (!m->data) {
        report_fail(m->call->report, ST_out_of_memory, "%s: no memory to match", form.op);
    }
    return m->data;
}

Status host_text_match(HostCall *call)
{
    const HostTensor *texts = &call->inputs[0], *pattern = &call->inputs[1];
    Matcher m = {.call = call};
    if (!args_check(call, &form) || !load(call, &m.lib))
        return args_status(call);
    Pattern p = {pattern->data, (size_t)pattern->dims[0], 0};
    uint8_t *out = call->output(call, 0, texts->rank, texts->dims);
    bool good = out && compile(&m, &p);
    for (int64_t i = 0; good && i < args_count(texts); i++)
        good = match(&m, args_text(texts)[i], &out[i]);
    if (m.data)
        m.lib.free_data(m.data);
    if (m.code)
        m.lib.free_code(m.code);
    return good ? ST_ok : args_status(call);
}

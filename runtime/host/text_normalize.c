/* Removing stop words and changing case.
 *
 * An element is dropped when it equals a stop word, as a whole; without regard to case, both are
 * compared case-folded. Unicode's case mappings, which may change the length and depend on the
 * language (Turkish, Azeri, Lithuanian), are libunistring's; text in ASCII needs no library unless
 * the language is one of these. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/host/library.h"
#include "runtime/host/order.h"

/* host_text_normalize: texts [c] or [1, c], stop words [s], locale (bytes such as "en_US"; none: no
 * language in particular), change (0 none, 1 lower, 2 upper), sensitive (1: stop words are compared
 * as they are) -> texts [d] or [1, d]; one empty string when none is left. */
static const HostParam normalize_in[] = {
    {"texts", TYPE(string), 1, 2, false},  {"stop words", TYPE(string), 1, 1, false},
    {"locale", TYPE(u8), 1, 1, false},     {"change", TYPE(i64), 0, 1, false},
    {"sensitive", TYPE(i64), 0, 1, false},
};
static const HostParam normalize_out[] = {{"texts", TYPE(string), 1, 2, false}};
static const HostForm form = {"text_normalize", normalize_in, normalize_out, 5, 1, false};

enum Change { CHANGE_none, CHANGE_lower, CHANGE_upper, CHANGE_fold };

/* Of libunistring: text, language, normalisation (NULL: none), a buffer (NULL: malloc) and its
 * size, which becomes that of the result. */
typedef uint8_t *CaseFn(const uint8_t *text, size_t length, const char *language, const void *form,
                        uint8_t *result, size_t *size);
typedef const uint8_t *CheckFn(const uint8_t *text, size_t length);

typedef struct Cases {
    HostCall *call;
    char language[4]; /* ISO 639, "" = none in particular */
    bool special;     /* its mappings of ASCII letters are its own */
    bool loaded;
    CheckFn *check;
    CaseFn *map[CHANGE_fold + 1];
} Cases;

/* "tr_TR.UTF-8" is of the language "tr"; "C" and "POSIX" of none. */
static void set_language(Cases *cases, const HostTensor *locale)
{
    static const char *const special[] = {"tr", "az", "lt"};
    const char *text = locale->data;
    size_t length = 0;
    while (length < (size_t)locale->dims[0] && isalpha((unsigned char)text[length]))
        length++;
    if (length != 2 && length != 3)
        return;
    for (size_t i = 0; i < length; i++)
        cases->language[i] = (char)tolower((unsigned char)text[i]);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        cases->special |= strcmp(cases->language, special[i]) == 0;
}

static bool load(Cases *cases)
{
    static const char *const names[] = {"u8_check", "u8_tolower", "u8_toupper", "u8_casefold"};
    void *functions[4];
    if (cases->loaded)
        return true;
    if (!library_functions(cases->call, HL_unistring, 4, names, functions))
        return false;
    memcpy(&cases->check, &functions[0], sizeof cases->check);
    memcpy(&cases->map[CHANGE_lower], &functions[1], 3 * sizeof functions[1]);
    return cases->loaded = true;
}

static bool change_unicode(Cases *cases, enum Change change, HostString text, HostString *to)
{
    const uint8_t *bytes = (const uint8_t *)text.data;
    if (!load(cases))
        return false;
    if (cases->check(bytes, text.length)) {
        args_fail(cases->call, &form, "a string is not UTF-8");
        return false;
    }
    size_t size = 0;
    uint8_t *mapped = cases->map[change](bytes, text.length, cases->language, NULL, NULL, &size);
    char *copy = mapped ? cases->call->scratch(cases->call, size + 1) : NULL;
    if (!mapped)
        report_fail(cases->call->report, ST_out_of_memory, "%s: no memory to change case", form.op);
    if (copy) {
        memcpy(copy, mapped, size);
        *to = (HostString){copy, size};
    }
    free(mapped);
    return copy;
}

/* *to = the text in another case, in memory of the call's. */
static bool change_case(Cases *cases, enum Change change, HostString text, HostString *to)
{
    bool ascii = !cases->special;
    *to = text;
    if (change == CHANGE_none || !text.length)
        return true;
    for (size_t i = 0; i < text.length && ascii; i++)
        ascii = (unsigned char)text.data[i] < 0x80;
    if (!ascii)
        return change_unicode(cases, change, text, to);
    char *copy = cases->call->scratch(cases->call, text.length);
    for (size_t i = 0; copy && i < text.length; i++) {
        char c = text.data[i];
        bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
        bool flip = change == CHANGE_upper ? lower : upper;
        copy[i] = flip ? (char)(c ^ 0x20) : c;
    }
    *to = (HostString){copy, text.length};
    return copy;
}

/* Stop words in order, to be searched by halving. */
typedef struct Stops {
    enum Change change; /* before comparing */
    int64_t count;
    OrderItem *items;
    HostString *texts;
} Stops;

static int stop_tie(const void *user, int64_t a, int64_t b)
{
    const Stops *stops = user;
    return order_text(stops->texts[a], stops->texts[b]);
}

static bool sort_stops(Cases *cases, const HostTensor *words, Stops *stops)
{
    int64_t count = stops->count = words->dims[0];
    stops->items = args_scratch(cases->call, count, 2 * sizeof *stops->items);
    stops->texts = stops->items ? args_scratch(cases->call, count, sizeof *stops->texts) : NULL;
    if (!stops->texts)
        return false;
    for (int64_t i = 0; i < count; i++) {
        if (!change_case(cases, stops->change, args_text(words)[i], &stops->texts[i]))
            return false;
        stops->items[i] = (OrderItem){order_text_key(stops->texts[i]), i};
    }
    order_sort(stops->items, stops->items + count, count, stop_tie, stops);
    return true;
}

static bool is_stop(const Stops *stops, HostString text)
{
    int64_t lo = 0, hi = stops->count;
    while (lo < hi) {
        int64_t middle = lo + (hi - lo) / 2;
        int order = order_text(text, stops->texts[stops->items[middle].index]);
        if (order == 0)
            return true;
        if (order < 0)
            hi = middle;
        else
            lo = middle + 1;
    }
    return false;
}

/* The elements that stay, changed, in `kept`; their number, or -1 after report_fail. */
static int64_t filter(Cases *cases, const HostTensor *texts, const Stops *stops, enum Change change,
                      HostString *kept)
{
    int64_t count = 0;
    for (int64_t i = 0; i < args_count(texts); i++) {
        HostString text = args_text(texts)[i], compared = text;
        if (stops->count && !change_case(cases, stops->change, text, &compared))
            return -1;
        if (is_stop(stops, compared))
            continue;
        if (!change_case(cases, change, text, &kept[count++]))
            return -1;
    }
    return count;
}

Status host_text_normalize(HostCall *call)
{
    const HostTensor *texts = &call->inputs[0];
    int64_t change, sensitive;
    Cases cases = {.call = call};
    if (!args_check(call, &form) || !args_int(call, &form, 3, CHANGE_none, CHANGE_upper, &change) ||
        !args_int(call, &form, 4, 0, 1, &sensitive))
        return args_status(call);
    if (texts->rank == 2 && texts->dims[0] != 1)
        return args_fail(call, &form, "texts are [%lld, %lld]; only [c] and [1, c] are defined",
                         (long long)texts->dims[0], (long long)texts->dims[1]);
    set_language(&cases, &call->inputs[2]);
    Stops stops = {.change = sensitive ? CHANGE_none : CHANGE_fold};
    HostString *kept = args_scratch(call, args_count(texts), sizeof *kept);
    if (!kept || !sort_stops(&cases, &call->inputs[1], &stops))
        return args_status(call);
    int64_t count = filter(&cases, texts, &stops, (enum Change)change, kept);
    int64_t dims[] = {1, 1};
    dims[texts->rank - 1] = count ? count : 1;
    HostString *out = count >= 0 ? call->output(call, 0, texts->rank, dims) : NULL;
    if (!out)
        return args_status(call);
    out[0] = (HostString){NULL, 0};
    for (int64_t i = 0; i < count; i++)
        if (!args_keep(call, &out[i], kept[i].data, kept[i].length))
            return args_status(call);
    return ST_ok;
}

/* Numbers as text and back.
 *
 * A float is written with the fewest digits that read back as the same value of its type, laid out
 * as Python does (1.0, 0.0001, 1e-05, 1e+16), with NaN, INF and -INF as the Cast operator names
 * them; booleans as True and False. Reading takes decimal numbers, in any case the three words and
 * True/False, white space around; what goes to an integer type and has a fraction loses it. The C
 * library formats and reads, in its "C" locale whatever the program has set. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/host/args.h"

enum {
    CASTABLE = TYPES_number | TYPE(bool) | TYPE(e8m0),
    LONGEST = 512, /* of a number read: the C library wants it terminated */
    ROOM = 64,
};

static const HostParam format_in[] = {{"x", CASTABLE, 0, ARGS_RANK, false}};
static const HostParam format_out[] = {{"texts", TYPE(string), 0, ARGS_RANK, false}};
static const HostForm format_form = {"text_format", format_in, format_out, 1, 1, false};

/* The value that a text of a number has in a type. */
static double read_float(Dtype dtype, const char *text)
{
    if (dtype == DT_f64)
        return strtod(text, NULL);
    float single = strtof(text, NULL);
    return dtype_decode(dtype, dtype_encode(dtype, (double)single, true, DR_up));
}

/* The shortest "d.ddde+xx" that reads back. */
static void shortest(Dtype dtype, double value, char *text)
{
    for (int digits = 0; digits <= 16; digits++) {
        snprintf(text, ROOM, "%.*e", digits, value);
        if (read_float(dtype, text) == value)
            return;
    }
}

/* Digits and exponent as Python lays them out: without an exponent from 1e-4 to below 1e16. */
static void format_float(Dtype dtype, double value, char *out)
{
    char text[ROOM], digits[ROOM];
    if (isnan(value) || isinf(value)) {
        snprintf(out, ROOM, isnan(value) ? "NaN" : value < 0 ? "-INF" : "INF");
        return;
    }
    shortest(dtype, value, text);
    const char *from = text + (text[0] == '-'), *e = strchr(from, 'e');
    int exponent = atoi(e + 1), count = 0;
    for (; from < e; from++)
        if (*from != '.')
            digits[count++] = *from;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    const char *sign = signbit(value) ? "-" : "";
    int before = exponent + 1; /* digits before the point */
    if (exponent < -4 || exponent >= 16)
        snprintf(out, ROOM, "%s%c%s%.*se%+03d", sign, digits[0], count > 1 ? "." : "", count - 1,
                 digits + 1, exponent);
    else if (before <= 0)
        snprintf(out, ROOM, "%s0.%.*s%.*s", sign, -before, "0000", count, digits);
    else if (count <= before)
        snprintf(out, ROOM, "%s%.*s%.*s.0", sign, count, digits, before - count,
                 "0000000000000000");
    else
        snprintf(out, ROOM, "%s%.*s.%.*s", sign, before, digits, count - before, digits + before);
}

static void format_element(Dtype dtype, Scalar value, char *out)
{
    if (dtype == DT_bool)
        snprintf(out, ROOM, "%s", value.i ? "True" : "False");
    else if (dtype_is_float(dtype))
        format_float(dtype, value.f, out);
    else if (dtype_class(dtype) == DC_UINT)
        snprintf(out, ROOM, "%" PRIu64, (uint64_t)value.i);
    else
        snprintf(out, ROOM, "%" PRId64, value.i);
}

/* Numbers are read and written with a point. False after report_fail. */
static bool enter_locale(HostCall *call, locale_t *plain, locale_t *before)
{
    *plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!*plain) {
        report_fail(call->report, ST_out_of_memory, "no memory for a locale");
        return false;
    }
    *before = uselocale(*plain);
    return true;
}

static void leave_locale(locale_t plain, locale_t before)
{
    uselocale(before);
    freelocale(plain);
}

/* host_text_format: x (numbers) -> strings of its shape. */
Status host_text_format(HostCall *call)
{
    const HostTensor *x = &call->inputs[0];
    locale_t plain, before;
    if (!args_check(call, &format_form))
        return args_status(call);
    HostString *out = call->output(call, 0, x->rank, x->dims);
    if (!out || !enter_locale(call, &plain, &before))
        return args_status(call);
    bool good = true;
    for (int64_t i = 0; i < args_count(x) && good; i++) {
        char text[ROOM];
        format_element(x->dtype, dtype_load(x->dtype, x->data, i), text);
        good = args_keep(call, &out[i], text, strlen(text));
    }
    leave_locale(plain, before);
    return good ? ST_ok : args_status(call);
}

/* ---- reading */

static const HostParam parse_in[] = {{"texts", TYPE(string), 0, ARGS_RANK, false}};
static const HostParam parse_out[] = {{"x", CASTABLE, 0, ARGS_RANK, false}};
static const HostForm parse_form = {"text_parse", parse_in, parse_out, 1, 1, false};

/* Decimal digits with a point and an exponent, all of them optional but one digit. `whole`: no
 * point and no exponent. */
static bool is_decimal(const char *text, bool *whole)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t digits = strspn(at, "0123456789");
    at += digits;
    *whole = *at == '\0';
    if (*at == '.') {
        size_t more = strspn(++at, "0123456789");
        digits += more;
        at += more;
    }
    if (digits && (*at == 'e' || *at == 'E')) {
        at++;
        at += *at == '-' || *at == '+';
        size_t more = strspn(at, "0123456789");
        at += more;
        digits = more;
    }
    return digits && *at == '\0';
}

static bool is_word(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0)
            return true;
    return false;
}

/* The value of a text in the compute type of `dtype`. */
static bool parse(Dtype dtype, const char *text, Scalar *value)
{
    static const char *const nans[] = {"nan", "+nan", "-nan", NULL};
    static const char *const above[] = {"inf", "+inf", "infinity", "+infinity", NULL};
    static const char *const below[] = {"-inf", "-infinity", NULL};
    static const char *const truths[] = {"true", NULL}, *const lies[] = {"false", NULL};
    bool whole = false, is_float = dtype_is_float(dtype);
    double number;
    if (is_word(text, nans))
        number = (double)NAN;
    else if (is_word(text, above))
        number = (double)INFINITY;
    else if (is_word(text, below))
        number = -(double)INFINITY;
    else if (is_word(text, truths) || is_word(text, lies))
        number = is_word(text, truths);
    else if (!is_decimal(text, &whole))
        return false;
    else
        number = is_float ? read_float(dtype, text) : strtod(text, NULL);
    if (whole && !is_float && dtype != DT_bool) { /* all 64 bits */
        errno = 0;
        value->i =
            text[0] == '-' ? (int64_t)strtoll(text, NULL, 10) : (int64_t)strtoull(text, NULL, 10);
        if (!errno) {
            *value = dtype_convert(dtype, text[0] == '-' ? DT_i64 : DT_u64, *value);
            return true;
        }
    }
    *value = is_float ? (Scalar){.f = number} : dtype_convert(dtype, DT_f64, (Scalar){.f = number});
    return true;
}

/* host_text_parse: texts -> numbers of the result's type. */
Status host_text_parse(HostCall *call)
{
    const HostTensor *texts = &call->inputs[0];
    locale_t plain, before;
    if (!args_check(call, &parse_form))
        return args_status(call);
    Dtype dtype = call->output_dtypes[0];
    void *out = call->output(call, 0, texts->rank, texts->dims);
    if (!out || !enter_locale(call, &plain, &before))
        return args_status(call);
    bool good = true;
    for (int64_t i = 0; i < args_count(texts) && good; i++) {
        HostString text = args_text(texts)[i];
        char copy[LONGEST + 1];
        Scalar value;
        for (; text.length && isspace((unsigned char)text.data[0]); text.length--)
            text.data++;
        while (text.length && isspace((unsigned char)text.data[text.length - 1]))
            text.length--;
        good = text.length && text.length <= LONGEST && !memchr(text.data, 0, text.length);
        if (good) {
            memcpy(copy, text.data, text.length);
            copy[text.length] = '\0';
            good = parse(dtype, copy, &value);
        }
        if (good)
            dtype_store(dtype, out, i, value);
        else
            args_fail(call, &parse_form, "string %lld is not a number: '%.*s'", (long long)i,
                      (int)(text.length < 40 ? text.length : 40), text.data ? text.data : "");
    }
    leave_locale(plain, before);
    return good ? ST_ok : args_status(call);
}

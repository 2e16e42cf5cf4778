/* Splitting strings: at a delimiter, every one of which counts; or, without one, at runs of white
 * space, which count once and not at the ends. White space is what Unicode says it is. */
#include <string.h>

#include "runtime/host/args.h"

/* host_text_split: texts, delimiter (bytes; none: white space), most splits (-1: no limit)
 * -> parts [.., p], filled up with empty strings; numbers of parts (i64). */
static const HostParam split_in[] = {
    {"texts", TYPE(string), 0, ARGS_RANK - 1, false},
    {"delimiter", TYPE(u8), 1, 1, false},
    {"most splits", TYPE(i64), 0, 1, false},
};
static const HostParam split_out[] = {
    {"parts", TYPE(string), 1, ARGS_RANK, false},
    {"numbers", TYPE(i64), 0, ARGS_RANK, false},
};
static const HostForm form = {"text_split", split_in, split_out, 3, 2, false};

typedef struct Rule {
    HostString delimiter;
    int64_t most;
} Rule;

/* Bytes of the white space that `text` begins with; 0 when it does not. */
static size_t space(const char *text, size_t length)
{
    const unsigned char *c = (const unsigned char *)text;
    if (!length)
        return 0;
    if ((c[0] >= 0x09 && c[0] <= 0x0D) || (c[0] >= 0x1C && c[0] <= 0x20))
        return 1;
    if (length >= 2 && c[0] == 0xC2 && (c[1] == 0x85 || c[1] == 0xA0)) /* U+0085, U+00A0 */
        return 2;
    if (length < 3)
        return 0;
    unsigned code = (c[0] & 0xFu) << 12 | (c[1] & 0x3Fu) << 6 | (c[2] & 0x3Fu);
    bool three = c[0] >> 4 == 0xE && c[1] >> 6 == 2 && c[2] >> 6 == 2;
    bool is_space = code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
                    code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
    return three && is_space ? 3 : 0;
}

static HostString skip_space(HostString text)
{
    for (size_t n; (n = space(text.data, text.length)); text.length -= n)
        text.data += n;
    return text;
}

/* Takes the next part from the front of *rest; false when there is none. `splits` were made. */
static bool next_word(const Rule *rule, HostString *rest, int64_t splits, HostString *part)
{
    *rest = skip_space(*rest);
    *part = *rest;
    if (!rest->length)
        return false;
    size_t end = rest->length;
    if (rule->most < 0 || splits < rule->most)
        for (end = 0; end < rest->length && !space(rest->data + end, rest->length - end);)
            end++;
    part->length = end;
    rest->data += end;
    rest->length -= end;
    return true;
}

/* *rest is without data once the last part was taken. */
static bool next_field(const Rule *rule, HostString *rest, int64_t splits, HostString *part)
{
    *part = *rest;
    if (!rest->data)
        return false;
    const char *at = NULL;
    if (rule->most < 0 || splits < rule->most)
        at = memmem(rest->data, rest->length, rule->delimiter.data, rule->delimiter.length);
    if (!at) {
        rest->data = NULL;
        return true;
    }
    part->length = (size_t)(at - rest->data);
    rest->length -= part->length + rule->delimiter.length;
    rest->data = at + rule->delimiter.length;
    return true;
}

/* The number of parts; copies of them in out, unless NULL. -1 after report_fail. */
static int64_t split(HostCall *call, const Rule *rule, HostString text, HostString *out)
{
    int64_t count = 0;
    HostString part;
    if (!text.data)
        text = (HostString){"", 0};
    for (; rule->delimiter.length ? next_field(rule, &text, count, &part)
                                  : next_word(rule, &text, count, &part);
         count++)
        if (out && !args_keep(call, &out[count], part.data, part.length))
            return -1;
    return count;
}

Status host_text_split(HostCall *call)
{
    const HostTensor *texts = &call->inputs[0];
    Rule rule;
    if (!args_check(call, &form) || !args_int(call, &form, 2, -1, INT64_MAX, &rule.most))
        return args_status(call);
    rule.delimiter = (HostString){call->inputs[1].data, (size_t)call->inputs[1].dims[0]};
    int64_t count = args_count(texts), parts = 0, dims[ARGS_RANK] = {0};
    int64_t *numbers = call->output(call, 1, texts->rank, texts->dims);
    if (!numbers)
        return args_status(call);
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = split(call, &rule, args_text(texts)[i], NULL);
        parts = numbers[i] > parts ? numbers[i] : parts;
    }
    for (int d = 0; d < texts->rank; d++)
        dims[d] = texts->dims[d];
    dims[texts->rank] = parts;
    HostString *out = call->output(call, 0, texts->rank + 1, dims);
    if (!out)
        return args_status(call);
    for (int64_t i = 0; i < count; i++, out += parts) {
        if (split(call, &rule, args_text(texts)[i], out) < 0)
            return args_status(call);
        for (int64_t p = numbers[i]; p < parts; p++)
            out[p] = (HostString){NULL, 0};
    }
    return ST_ok;
}

/* Signatures of the application's operators, from text:
 *
 *   signature = { parameter } "->" result { result }
 *   parameter = type "*" | type | type ":" attr [ "=" default ] | type "*:" attr
 *             | "count:" (input | attr) | "rank:" input | "dim:" input "." axis | "dims:" input
 *             | "user"
 *   result    = type "*" | type (one, first) | "status" (first)
 *
 * Words stand between blanks. Inputs and attributes are numbered as they appear; words about an
 * input may stand before it. */
#include "base/custom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Parse {
    CustomSignature *s;
    const char *at;
    char word[2 * CUSTOM_NAME];
    char *why;
    size_t capacity;
    int refers; /* 1 + the largest input that a word names */
} Parse;

static bool bad(Parse *p, const char *what)
{
    snprintf(p->why, p->capacity, "signature: '%s' %s", p->word, what);
    return false;
}

/* The next word; false at the end, or when it is too long (then `why` is set). */
static bool next(Parse *p)
{
    p->at += strspn(p->at, " \t\n");
    size_t length = strcspn(p->at, " \t\n");
    snprintf(p->word, sizeof p->word, "%.*s", (int)(length < 1000 ? length : 1000), p->at);
    p->at += length;
    if (length >= sizeof p->word)
        return bad(p, "is too long");
    return length > 0;
}

/* Whether elements of the type are a C type of their own: what can be passed by value. */
static bool is_c_type(Dtype dtype)
{
    bool whole = dtype_is_int(dtype) && dtype_bits(dtype) >= 8;
    return whole || dtype == DT_bool || dtype == DT_f32 || dtype == DT_f64;
}

/* "f32" or "f32*" at the front of the word; gives what follows, or NULL. */
static const char *take_type(const char *word, Dtype *dtype, bool *pointer)
{
    size_t length = strcspn(word, "*:");
    *dtype = dtype_find(word, length);
    *pointer = word[length] == '*';
    return *dtype == DT_none ? NULL : word + length + *pointer;
}

static int find_attr(const CustomSignature *s, const char *name)
{
    for (int i = 0; i < s->attr_count; i++)
        if (strcmp(s->attrs[i].name, name) == 0)
            return i;
    return -1;
}

/* "0", up to `end`; -1 when it is no number of an input. */
static int input_number(Parse *p, const char *text, const char **end)
{
    char *stop;
    if (*text < '0' || *text > '9')
        return -1;
    long value = strtol(text, &stop, 10);
    *end = stop;
    if (value >= CUSTOM_PARAMS)
        return -1;
    if (value >= p->refers)
        p->refers = (int)value + 1;
    return (int)value;
}

/* "alpha" or "alpha=0.5" */
static bool add_attr(Parse *p, const char *text, Dtype dtype, bool list)
{
    CustomSignature *s = p->s;
    size_t length = strcspn(text, "=");
    CustomAttr attr = {.dtype = dtype, .list = list, .has_default = text[length] == '='};
    if (!length || length >= sizeof attr.name)
        return bad(p, "needs the name of an attribute");
    if (dtype != DT_i64 && dtype != DT_f32)
        return bad(p, "is no type of attributes: i64 or f32");
    memcpy(attr.name, text, length);
    if (find_attr(s, attr.name) >= 0)
        return bad(p, "names an attribute again");
    if (attr.has_default) {
        char *end;
        attr.value = strtod(text + length + 1, &end);
        if (list || end == text + length + 1 || *end)
            return bad(p, "has no default that is a number");
    }
    s->params[s->param_count++] =
        (CustomParam){list ? CW_attr_list : CW_attr, dtype, s->attr_count, 0};
    s->attrs[s->attr_count++] = attr;
    return true;
}

/* "count:", "rank:", "dims:", "dim:" */
static bool add_size(Parse *p)
{
    static const struct {
        const char *prefix;
        CustomWord word;
    } all[] = {{"count:", CW_count}, {"rank:", CW_rank}, {"dims:", CW_dims}, {"dim:", CW_dim}};
    CustomSignature *s = p->s;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t length = strlen(all[i].prefix);
        const char *of = p->word + length, *end = of;
        if (strncmp(p->word, all[i].prefix, length) != 0)
            continue;
        CustomParam param = {all[i].word, DT_none, input_number(p, of, &end), 0};
        if (param.word == CW_dim && param.operand >= 0 && *end == '.' && end[1] >= '0' &&
            end[1] <= '9') {
            char *stop;
            long axis = strtol(end + 1, &stop, 10);
            end = axis < CUSTOM_RANK ? stop : end;
            param.axis = axis < CUSTOM_RANK ? (int)axis : 0;
        } else if (param.word == CW_dim) {
            return bad(p, "is no dim of an input, as in dim:0.1");
        }
        if (param.word == CW_count && param.operand < 0) {
            param = (CustomParam){CW_attr_count, DT_none, find_attr(s, of), 0};
            end = of + strlen(of);
        }
        if (param.operand < 0 || *end)
            return bad(p, "names no input by its number and no attribute in front of it");
        s->params[s->param_count++] = param;
        return true;
    }
    return bad(p, "is no type, size or 'user'");
}

static bool add_param(Parse *p)
{
    CustomSignature *s = p->s;
    Dtype dtype;
    bool pointer;
    if (s->param_count == CUSTOM_PARAMS)
        return bad(p, "is one parameter too many");
    if (strcmp(p->word, "user") == 0) {
        s->params[s->param_count++] = (CustomParam){CW_user, DT_none, 0, 0};
        return true;
    }
    const char *rest = take_type(p->word, &dtype, &pointer);
    if (!rest)
        return add_size(p);
    if (!pointer && !is_c_type(dtype))
        return bad(p, "cannot be passed by value: C has no such type");
    if (pointer && dtype != DT_string && dtype_bits(dtype) < 8)
        return bad(p, "is smaller than a byte");
    if (*rest == ':')
        return add_attr(p, rest + 1, dtype, pointer);
    if (*rest)
        return bad(p, "is no type");
    s->params[s->param_count++] =
        (CustomParam){pointer ? CW_tensor : CW_scalar, dtype, s->input_count++, 0};
    return true;
}

static bool add_result(Parse *p)
{
    CustomSignature *s = p->s;
    Dtype dtype;
    bool pointer, first = !s->result_count && !s->status;
    if (strcmp(p->word, "status") == 0) {
        s->status = first;
        return first || bad(p, "has to be the first result");
    }
    const char *rest = take_type(p->word, &dtype, &pointer);
    if (!rest || *rest)
        return bad(p, "is no type of a result");
    if (s->result_count == CUSTOM_PARAMS)
        return bad(p, "is one result too many");
    if (dtype_bits(dtype) < 8)
        return bad(p, "has no elements of whole bytes");
    if (!pointer && (!first || !is_c_type(dtype)))
        return bad(p, "is not what a C function returns; only the first result can be");
    s->results[s->result_count++] = (CustomResult){dtype, !pointer};
    return true;
}

bool custom_parse(CustomSignature *signature, const char *text, char *why, size_t capacity)
{
    Parse p = {.s = signature, .at = text, .why = why, .capacity = capacity};
    bool results = false;
    *signature = (CustomSignature){0};
    *why = 0;
    while (next(&p)) {
        if (!results && strcmp(p.word, "->") == 0)
            results = true;
        else if (!(results ? add_result(&p) : add_param(&p)))
            return false;
    }
    if (*why)
        return false;
    p.word[0] = 0;
    if (!results || !signature->result_count)
        snprintf(why, capacity, "signature: results are missing, as in \"f32* -> f32*\"");
    else if (p.refers > signature->input_count)
        snprintf(why, capacity, "signature: there is no input %d", p.refers - 1);
    return !*why;
}

void custom_key(const CustomOperator *op, char key[CUSTOM_KEY])
{
    snprintf(key, CUSTOM_KEY, "%s %s %lld", op->domain, op->name, (long long)op->since);
}

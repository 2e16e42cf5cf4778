/* Tensors of strings: constants, moves, equality, concatenation.
 *
 * Everything that only moves elements (Gather, Slice, Concat, Where ...) is done on int64 positions
 * by kernels; `take` is the one operation that then moves strings. Strings of results are copies:
 * those of operands may be gone before them. */
#include <string.h>

#include "runtime/host/args.h"

/* ---- host_texts: bytes (of all strings, one behind the other), lengths -> strings of the shape of
 * lengths. A constant tensor of strings. */

static const HostParam texts_in[] = {
    {"bytes", TYPE(u8), 1, 1, false},
    {"lengths", TYPE(i64), 0, ARGS_RANK, false},
};
static const HostParam texts_out[] = {{"texts", TYPE(string), 0, ARGS_RANK, false}};
static const HostForm texts_form = {"texts", texts_in, texts_out, 2, 1, false};

Status host_texts(HostCall *call)
{
    const HostTensor *bytes = &call->inputs[0], *lengths = &call->inputs[1];
    if (!args_check(call, &texts_form))
        return args_status(call);
    HostString *out = call->output(call, 0, lengths->rank, lengths->dims);
    if (!out)
        return args_status(call);
    int64_t at = 0, size = bytes->dims[0];
    for (int64_t i = 0; i < args_count(lengths); i++) {
        int64_t length = ((const int64_t *)lengths->data)[i];
        if (length < 0 || length > size - at)
            return args_fail(call, &texts_form,
                             "string %lld is of length %lld, there are %lld bytes", (long long)i,
                             (long long)length, (long long)(size - at));
        if (!args_keep(call, &out[i], (const char *)bytes->data + at, (size_t)length))
            return args_status(call);
        at += length;
    }
    return ST_ok;
}

/* ---- host_take: positions, one or more tensors of strings -> strings of the shape of positions; a
 * position counts through the elements of all of them, one tensor behind the other. */

static const HostParam take_in[] = {
    {"positions", TYPE(i64), 0, ARGS_RANK, false},
    {"texts", TYPE(string), 0, ARGS_RANK, false},
};
static const HostParam take_out[] = {{"texts", TYPE(string), 0, ARGS_RANK, false}};
static const HostForm take_form = {"take", take_in, take_out, 2, 1, true};

static const HostString *find_text(const HostCall *call, int64_t position)
{
    for (int i = 1; i < call->input_count && position >= 0; i++) {
        int64_t count = args_count(&call->inputs[i]);
        if (position < count)
            return args_text(&call->inputs[i]) + position;
        position -= count;
    }
    return NULL;
}

Status host_take(HostCall *call)
{
    const HostTensor *positions = &call->inputs[0];
    if (!args_check(call, &take_form))
        return args_status(call);
    HostString *out = call->output(call, 0, positions->rank, positions->dims);
    if (!out)
        return args_status(call);
    for (int64_t i = 0; i < args_count(positions); i++) {
        int64_t position = ((const int64_t *)positions->data)[i];
        const HostString *text = find_text(call, position);
        if (!text)
            return args_fail(call, &take_form, "there is no element %lld", (long long)position);
        if (!args_keep(call, &out[i], text->data, text->length))
            return args_status(call);
    }
    return ST_ok;
}

/* ---- two operands that broadcast as numpy's do */

typedef struct Pairs {
    int rank;
    int64_t count, dims[ARGS_RANK], at[ARGS_RANK], step[2][ARGS_RANK];
    int64_t index[2]; /* of the current pair of elements */
} Pairs;

static bool pairs_begin(HostCall *call, const HostForm *form, Pairs *p)
{
    *p = (Pairs){.count = 1};
    for (int k = 0; k < 2; k++)
        p->rank = p->rank > call->inputs[k].rank ? p->rank : call->inputs[k].rank;
    for (int d = 0; d < p->rank; d++)
        p->dims[d] = 1;
    for (int k = 0; k < 2; k++) {
        const HostTensor *tensor = &call->inputs[k];
        int64_t step = 1;
        for (int d = p->rank - 1, t = tensor->rank - 1; t >= 0; d--, t--) {
            int64_t size = tensor->dims[t];
            if (size != 1 && p->dims[d] != 1 && size != p->dims[d]) {
                args_fail(call, form, "extents %lld and %lld do not broadcast",
                          (long long)p->dims[d], (long long)size);
                return false;
            }
            p->dims[d] = size != 1 ? size : p->dims[d];
            p->step[k][d] = size != 1 ? step : 0;
            step *= size;
        }
    }
    for (int d = 0; d < p->rank; d++)
        if (__builtin_mul_overflow(p->count, p->dims[d], &p->count)) {
            args_fail(call, form, "the result is too large");
            return false;
        }
    return true;
}

static void pairs_next(Pairs *p)
{
    for (int d = p->rank - 1; d >= 0; d--) {
        p->index[0] += p->step[0][d];
        p->index[1] += p->step[1][d];
        if (++p->at[d] < p->dims[d])
            return;
        p->index[0] -= p->step[0][d] * p->dims[d];
        p->index[1] -= p->step[1][d] * p->dims[d];
        p->at[d] = 0;
    }
}

static const HostParam pair_in[] = {
    {"a", TYPE(string), 0, ARGS_RANK, false},
    {"b", TYPE(string), 0, ARGS_RANK, false},
};

/* host_text_equal: a, b (broadcast) -> bool. */
static const HostParam equal_out[] = {{"equal", TYPE(bool), 0, ARGS_RANK, false}};
static const HostForm equal_form = {"text_equal", pair_in, equal_out, 2, 1, false};

Status host_text_equal(HostCall *call)
{
    Pairs p;
    if (!args_check(call, &equal_form) || !pairs_begin(call, &equal_form, &p))
        return args_status(call);
    uint8_t *out = call->output(call, 0, p.rank, p.dims);
    if (!out)
        return args_status(call);
    for (int64_t i = 0; i < p.count; i++, pairs_next(&p)) {
        HostString a = args_text(&call->inputs[0])[p.index[0]];
        HostString b = args_text(&call->inputs[1])[p.index[1]];
        out[i] = a.length == b.length && (!a.length || memcmp(a.data, b.data, a.length) == 0);
    }
    return ST_ok;
}

/* host_text_concat: a, b (broadcast) -> a followed by b. */
static const HostParam concat_out[] = {{"texts", TYPE(string), 0, ARGS_RANK, false}};
static const HostForm concat_form = {"text_concat", pair_in, concat_out, 2, 1, false};

Status host_text_concat(HostCall *call)
{
    Pairs p;
    if (!args_check(call, &concat_form) || !pairs_begin(call, &concat_form, &p))
        return args_status(call);
    HostString *out = call->output(call, 0, p.rank, p.dims);
    size_t longest[2] = {0, 0}, total;
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < args_count(&call->inputs[k]); i++) {
            size_t length = args_text(&call->inputs[k])[i].length;
            longest[k] = length > longest[k] ? length : longest[k];
        }
    if (__builtin_add_overflow(longest[0], longest[1], &total))
        return args_fail(call, &concat_form, "the strings are too long");
    char *both = out ? call->scratch(call, total + 1) : NULL;
    if (!both)
        return args_status(call);
    for (int64_t i = 0; i < p.count; i++, pairs_next(&p)) {
        HostString a = args_text(&call->inputs[0])[p.index[0]];
        HostString b = args_text(&call->inputs[1])[p.index[1]];
        if (a.length)
            memcpy(both, a.data, a.length);
        if (b.length)
            memcpy(both + a.length, b.data, b.length);
        if (!args_keep(call, &out[i], both, a.length + b.length))
            return args_status(call);
    }
    return ST_ok;
}

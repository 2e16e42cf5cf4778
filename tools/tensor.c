/* Tensors of the tool: making, describing; messages. Sizes come from files and command lines, so
 * every product is checked. */
#include "tools/tensor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "base/utf8.h"

bool fail_set(Fail *fail, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(fail->text, sizeof fail->text, fmt, args);
    va_end(args);
    utf8_make_plain(fail->text, true);
    return false;
}

bool fail_prefix(Fail *fail, const char *fmt, ...)
{
    char prefix[sizeof fail->text / 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix - 2, fmt, args);
    va_end(args);
    utf8_make_plain(prefix, true);
    strcat(prefix, ": ");
    size_t length = strlen(prefix), rest = strlen(fail->text);
    if (rest > sizeof fail->text - 1 - length)
        rest = sizeof fail->text - 1 - length;
    memmove(fail->text + length, fail->text, rest);
    memcpy(fail->text, prefix, length);
    fail->text[length + rest] = 0;
    return false;
}

bool tensor_make(Tensor *tensor, qn_dtype dtype, int64_t rank, const int64_t *dims, Fail *fail)
{
    *tensor = (Tensor){.dtype = dtype, .count = 1};
    if (rank < 0 || rank > QN_MAX_RANK)
        return fail_set(fail, "rank %" PRId64 " is beyond the limit of %d", rank, QN_MAX_RANK);
    if (dtype_bits((Dtype)dtype) == 0 && dtype != QN_STRING)
        return fail_set(fail, "elements of type %s cannot be passed to a run",
                        dtype_name((Dtype)dtype));
    tensor->rank = (int32_t)rank;
    bool empty = false, too_large = false;
    for (int32_t i = 0; i < tensor->rank; i++) {
        tensor->dims[i] = dims[i];
        if (dims[i] < 0)
            return fail_set(fail, "dim %d is %" PRId64, i, dims[i]);
        empty |= dims[i] == 0;
        too_large |= __builtin_mul_overflow(tensor->count, dims[i], &tensor->count);
    }
    tensor->count = empty ? 0 : tensor->count;
    int64_t bytes = dtype_bytes((Dtype)dtype, tensor->count);
    if (dtype == QN_STRING)
        bytes = tensor->count < INT64_MAX / 64 ? tensor->count * (int64_t)sizeof(qn_string) : -1;
    if ((too_large && !empty) || bytes < 0 || bytes > INT64_MAX - 64)
        return fail_set(fail, "its size overflows");
    size_t room = ((size_t)bytes + 64) / 64 * 64;
    tensor->data = aligned_alloc(64, room);
    if (!tensor->data)
        return fail_set(fail, "no memory for its %" PRId64 " bytes", bytes);
    memset(tensor->data, 0, room);
    tensor->bytes = (size_t)bytes;
    return true;
}

bool tensor_set_strings(Tensor *tensor, const qn_string *from, Fail *fail)
{
    size_t total = 1;
    qn_string *to = tensor->data;
    for (int64_t i = 0; i < tensor->count; i++)
        if (__builtin_add_overflow(total, from[i].length, &total))
            return fail_set(fail, "its size overflows");
    char *at = malloc(total);
    if (!at)
        return fail_set(fail, "no memory for its %zu bytes", total);
    free(tensor->texts);
    tensor->texts = at;
    for (int64_t i = 0; i < tensor->count; i++) {
        if (from[i].length)
            memcpy(at, from[i].data, from[i].length);
        to[i] = (qn_string){at, from[i].length};
        at += from[i].length;
    }
    return true;
}

void tensor_free(Tensor *tensor)
{
    free(tensor->texts);
    free(tensor->data);
    *tensor = (Tensor){0};
}

bool tensor_same_shape(const Tensor *a, const Tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (int32_t i = 0; i < a->rank; i++) {
        if (a->dims[i] != b->dims[i])
            return false;
    }
    return true;
}

const char *tensor_text(const Tensor *tensor, char text[TENSOR_TEXT])
{
    int at = snprintf(text, TENSOR_TEXT, "%s[", dtype_name((Dtype)tensor->dtype));
    for (int32_t i = 0; i < tensor->rank; i++)
        at += snprintf(text + at, (size_t)(TENSOR_TEXT - at), "%s%" PRId64, i ? "," : "",
                       tensor->dims[i]);
    snprintf(text + at, (size_t)(TENSOR_TEXT - at), "]");
    return text;
}

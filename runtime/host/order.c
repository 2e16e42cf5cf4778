/* Order of elements. A float's bits, sign and magnitude, become an unsigned key by flipping the
 * sign bit of what is positive and all bits of what is negative; an integer's by flipping the sign
 * bit. The four IEEE formats go through their bits; smaller floats, which lack infinities or have
 * several zeros, through their value as a double. */
#include "runtime/host/order.h"

#include <math.h>
#include <string.h>

/* Without jumps, and in words no wider than the element's, for the compiler to vectorise. */
static inline uint32_t narrow_key(uint32_t bits, uint32_t infinity, uint32_t sign)
{
    uint32_t magnitude = bits & (sign - 1);
    uint32_t key = bits & sign ? sign - magnitude : sign + magnitude;
    return magnitude > infinity ? UINT32_MAX : key;
}

static inline uint64_t double_key(uint64_t bits)
{
    const uint64_t sign = UINT64_C(1) << 63, infinity = UINT64_C(0x7FF) << 52;
    uint64_t magnitude = bits & (sign - 1);
    uint64_t key = bits & sign ? sign - magnitude : sign + magnitude;
    return magnitude > infinity ? UINT64_MAX : key;
}

/* Loops for each size of word and for neighbours, so that the compiler sees plain loads. */
#define KEYS_APART(word, stride, expression)                                                       \
    for (int64_t i = 0; i < count; i++) {                                                          \
        word bits;                                                                                 \
        memcpy(&bits, bytes + (first + i * (stride)) * (int64_t)sizeof bits, sizeof bits);         \
        keys[i] = (expression);                                                                    \
    }
#define KEYS(word, expression)                                                                     \
    {                                                                                              \
        if (stride == 1)                                                                           \
            KEYS_APART(word, 1, expression)                                                        \
        else                                                                                       \
            KEYS_APART(word, stride, expression)                                                   \
    }

static void value_keys(Dtype dtype, const void *base, int64_t first, int64_t stride, int64_t count,
                       uint64_t *keys)
{
    for (int64_t i = 0; i < count; i++) {
        double value = dtype_load(dtype, base, first + i * stride).f;
        keys[i] = double_key(dtype_encode(DT_f64, value, true, DR_up));
    }
}

void order_keys(Dtype dtype, const void *base, int64_t first, int64_t stride, int64_t count,
                uint64_t *keys)
{
    const char *bytes = base;
    bool is_float = dtype_is_float(dtype);
    uint64_t flip = dtype_class(dtype) == DC_INT ? UINT64_C(1) << (dtype_bits(dtype) - 1) : 0;
    uint32_t infinity =
        is_float ? (uint32_t)dtype_encode(dtype, (double)INFINITY, false, DR_up) : 0; /* not f64 */
    if (is_float && dtype_bits(dtype) == 8)
        value_keys(dtype, base, first, stride, count, keys);
    else if (dtype_bits(dtype) == 8)
        KEYS(uint8_t, dtype == DT_bool ? bits != 0 : bits ^ flip)
    else if (is_float && dtype_bits(dtype) == 16)
        KEYS(uint16_t, narrow_key(bits, infinity, 0x8000))
    else if (is_float && dtype_bits(dtype) == 32)
        KEYS(uint32_t, narrow_key(bits, infinity, 0x80000000))
    else if (is_float)
        KEYS(uint64_t, double_key(bits))
    else if (dtype_bits(dtype) == 16)
        KEYS(uint16_t, bits ^ flip)
    else if (dtype_bits(dtype) == 32)
        KEYS(uint32_t, bits ^ flip)
    else
        KEYS(uint64_t, bits ^ flip)
}
#undef KEYS
#undef KEYS_APART

/* ---- the sort: runs of RUN by insertion, then merged in pairs, from one array into the other */

enum { RUN = 16 };

typedef struct Sort {
    OrderTie *tie;
    const void *user;
} Sort;

static bool before(const Sort *sort, const OrderItem *a, const OrderItem *b)
{
    if (a->key != b->key)
        return a->key < b->key;
    int tie = sort->tie ? sort->tie(sort->user, a->index, b->index) : 0;
    return tie ? tie < 0 : a->index < b->index;
}

static void insertion(const Sort *sort, OrderItem *items, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        OrderItem item = items[i];
        int64_t at = i;
        for (; at > 0 && before(sort, &item, &items[at - 1]); at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

static void merge(const Sort *sort, const OrderItem *from, int64_t middle, int64_t count,
                  OrderItem *to)
{
    int64_t a = 0, b = middle;
    for (int64_t i = 0; i < count; i++)
        to[i] =
            b == count || (a < middle && !before(sort, &from[b], &from[a])) ? from[a++] : from[b++];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void order_sort(OrderItem *items, OrderItem *spare, int64_t count, OrderTie *tie, const void *user)
{
    Sort sort = {tie, user};
    OrderItem *from = items, *to = spare;
    for (int64_t at = 0; at < count; at += RUN)
        insertion(&sort, items + at, least(RUN, count - at));
    for (int64_t width = RUN; width < count; width *= 2) {
        for (int64_t at = 0; at < count; at += 2 * width)
            merge(&sort, from + at, least(width, count - at), least(2 * width, count - at),
                  to + at);
        OrderItem *other = from;
        from = to;
        to = other;
    }
    if (from != items)
        memcpy(items, from, (size_t)count * sizeof *items);
}

/* ---- heaps */

static bool is_above(OrderItem a, OrderItem b, bool last_on_top)
{
    bool first = a.key != b.key ? a.key < b.key : a.index < b.index;
    return first != last_on_top;
}

void order_sift(OrderItem *items, int64_t count, int64_t at, bool last_on_top)
{
    OrderItem item = items[at];
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_above(items[child + 1], items[child], last_on_top))
            child++;
        if (!is_above(items[child], item, last_on_top))
            break;
        items[at] = items[child];
    }
    items[at] = item;
}

void order_heap(OrderItem *items, int64_t count, bool last_on_top)
{
    for (int64_t at = count / 2; at-- > 0;)
        order_sift(items, count, at, last_on_top);
}

/* ---- strings and complex numbers */

int order_text(HostString a, HostString b)
{
    size_t shared = a.length < b.length ? a.length : b.length;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

uint64_t order_text_key(HostString text)
{
    uint64_t key = 0;
    for (size_t i = 0; i < sizeof key; i++)
        key = key << 8 | (i < text.length ? (unsigned char)text.data[i] : 0);
    return key;
}

static int text_tie(const void *user, int64_t a, int64_t b)
{
    const HostString *text = user;
    return order_text(text[a], text[b]);
}

/* Imaginary parts; the keys are those of the real parts. */
static int complex_tie(const void *user, int64_t a, int64_t b)
{
    const HostTensor *tensor = user;
    Dtype part = tensor->dtype == DT_c64 ? DT_f32 : DT_f64;
    uint64_t key[2];
    order_keys(part, tensor->data, 2 * a + 1, 0, 1, &key[0]);
    order_keys(part, tensor->data, 2 * b + 1, 0, 1, &key[1]);
    return (key[0] > key[1]) - (key[0] < key[1]);
}

/* Keys that are equal do not mean equal elements here, so each gets the rank of its value. */
static bool rank_elements(HostCall *call, const HostTensor *tensor, uint64_t *keys)
{
    int64_t count = args_count(tensor);
    bool text = tensor->dtype == DT_string;
    OrderTie *tie = text ? text_tie : complex_tie;
    const void *user = text ? tensor->data : (const void *)tensor;
    OrderItem *items = args_scratch(call, count, 2 * sizeof *items);
    if (!items)
        return false;
    if (!text)
        order_keys(tensor->dtype == DT_c64 ? DT_f32 : DT_f64, tensor->data, 0, 2, count, keys);
    for (int64_t i = 0; i < count; i++)
        items[i] = (OrderItem){text ? order_text_key(args_text(tensor)[i]) : keys[i], i};
    order_sort(items, items + count, count, tie, user);
    uint64_t rank = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i &&
            (items[i].key != items[i - 1].key || tie(user, items[i].index, items[i - 1].index)))
            rank++;
        keys[items[i].index] = rank;
    }
    return true;
}

uint64_t *order_tensor(HostCall *call, const HostTensor *tensor)
{
    int64_t count = args_count(tensor);
    uint64_t *keys = args_scratch(call, count, sizeof *keys);
    if (!keys)
        return NULL;
    if (tensor->dtype != DT_string && tensor->dtype != DT_c64 && tensor->dtype != DT_c128)
        order_keys(tensor->dtype, tensor->data, 0, 1, count, keys);
    else if (!rank_elements(call, tensor, keys))
        return NULL;
    return keys;
}

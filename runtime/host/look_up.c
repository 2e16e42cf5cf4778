/* Where elements stand in a list of keys: for maps from values to values, of which the second half
 * is a gather by these positions. */
#include "runtime/host/order.h"

/* host_look_up: x, keys [k] of its type -> positions (i64) of x's shape: the last equal key, or k.
 * All NaNs are equal. */
enum { FINDABLE = TYPES_number | TYPE(bool) | TYPE(string) };
static const HostParam look_up_in[] = {
    {"x", FINDABLE, 0, ARGS_RANK, false},
    {"keys", FINDABLE, 1, 1, false},
};
static const HostParam look_up_out[] = {{"positions", TYPE(i64), 0, ARGS_RANK, false}};
static const HostForm form = {"look_up", look_up_in, look_up_out, 2, 1, false};

typedef struct Keys {
    const HostTensor *tensor;
    int64_t count;
    OrderItem *items; /* in order; of equal ones the last comes last */
} Keys;

static OrderItem item_of(const HostTensor *tensor, int64_t i)
{
    OrderItem item = {0, i};
    if (tensor->dtype == DT_string)
        item.key = order_text_key(args_text(tensor)[i]);
    else
        order_keys(tensor->dtype, tensor->data, i, 0, 1, &item.key);
    return item;
}

static int key_tie(const void *user, int64_t a, int64_t b)
{
    const HostTensor *keys = user;
    return keys->dtype == DT_string ? order_text(args_text(keys)[a], args_text(keys)[b]) : 0;
}

/* Whether element i of x is below a key. */
static bool is_below(const Keys *keys, const HostTensor *x, OrderItem element, OrderItem key)
{
    if (element.key != key.key || x->dtype != DT_string)
        return element.key < key.key;
    return order_text(args_text(x)[element.index], args_text(keys->tensor)[key.index]) < 0;
}

static int64_t find(const Keys *keys, const HostTensor *x, int64_t i)
{
    OrderItem element = item_of(x, i);
    int64_t lo = 0, hi = keys->count; /* the first key above the element */
    while (lo < hi) {
        int64_t middle = lo + (hi - lo) / 2;
        if (is_below(keys, x, element, keys->items[middle]))
            hi = middle;
        else
            lo = middle + 1;
    }
    if (!lo)
        return keys->count;
    OrderItem key = keys->items[lo - 1];
    bool equal = key.key == element.key &&
                 (x->dtype != DT_string ||
                  order_text(args_text(x)[i], args_text(keys->tensor)[key.index]) == 0);
    return equal ? key.index : keys->count;
}

Status host_look_up(HostCall *call)
{
    const HostTensor *x = &call->inputs[0];
    Keys keys = {.tensor = &call->inputs[1]};
    if (!args_check(call, &form))
        return args_status(call);
    if (x->dtype != keys.tensor->dtype)
        return args_fail(call, &form, "x is of type %s, its keys of type %s", dtype_name(x->dtype),
                         dtype_name(keys.tensor->dtype));
    keys.count = keys.tensor->dims[0];
    keys.items = args_scratch(call, keys.count, 2 * sizeof *keys.items);
    int64_t *out = keys.items ? call->output(call, 0, x->rank, x->dims) : NULL;
    if (!out)
        return args_status(call);
    for (int64_t i = 0; i < keys.count; i++)
        keys.items[i] = item_of(keys.tensor, i);
    order_sort(keys.items, keys.items + keys.count, keys.count, key_tie, keys.tensor);
    for (int64_t i = 0; i < args_count(x); i++)
        out[i] = find(&keys, x, i);
    return ST_ok;
}

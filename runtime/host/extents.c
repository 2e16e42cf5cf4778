/* Sizes that are computed in a run, made extents: the result has no elements, but its extents are
 * the sizes (and a last one of 0), so that they become symbols of the graph like any other that a
 * step binds. */
#include "runtime/host/args.h"

#include <string.h>

/* host_extents: sizes [n], shape [m] of a tensor, rule (text) -> u8 [e0, ..., 0]. Rules: "plain",
 * the sizes themselves (shape is not used); "reshape", where 0 means the extent of `shape` at the
 * same place and one -1 what remains of its elements; "reshape_zeros", where 0 means 0;
 * "broadcast", what sizes and shape broadcast to. */
enum { SIZES = TYPE(i32) | TYPE(i64) };
static const HostParam extents_in[] = {
    {"sizes", SIZES, 0, 1, false},
    {"shape", TYPE(i64), 1, 1, false},
    {"rule", TYPE(u8), 1, 1, false},
};
static const HostParam extents_out[] = {{"extents", TYPE(u8), 1, ARGS_RANK, false}};
static const HostForm form = {"extents", extents_in, extents_out, 3, 1, false};

typedef struct Extents {
    HostCall *call;
    int rank, shape_rank;
    int64_t list[ARGS_RANK + 1], shape[ARGS_RANK];
} Extents;

/* False when no int64 holds it. */
static bool multiply(const int64_t *list, int count, int skip, int64_t *product)
{
    bool fits = true, none = false;
    *product = 1;
    for (int d = 0; d < count; d++) {
        none |= d != skip && list[d] == 0;
        if (d != skip && fits && list[d])
            fits = !__builtin_mul_overflow(*product, list[d], product);
    }
    *product = none ? 0 : *product;
    return fits;
}

static bool refuse_below_zero(Extents *e)
{
    for (int d = 0; d < e->rank; d++)
        if (e->list[d] < 0) {
            args_fail(e->call, &form, "size %d is %lld", d, (long long)e->list[d]);
            return false;
        }
    return true;
}

static bool complete_reshape(Extents *e, bool zeros)
{
    int64_t have, given;
    int hole = -1;
    for (int d = 0; d < e->rank; d++) {
        if (e->list[d] == 0 && !zeros) {
            if (d >= e->shape_rank) {
                args_fail(e->call, &form, "size %d is 0, but the tensor has %d dims", d,
                          e->shape_rank);
                return false;
            }
            e->list[d] = e->shape[d];
        } else if (e->list[d] == -1 && hole < 0) {
            hole = d;
            e->list[d] = 0;
        }
    }
    if (!refuse_below_zero(e))
        return false;
    bool fits =
        multiply(e->shape, e->shape_rank, -1, &have) && multiply(e->list, e->rank, hole, &given);
    if (fits && hole >= 0 && given)
        e->list[hole] = have / given;
    fits = fits && (hole >= 0 ? given && have % given == 0 : have == given);
    if (!fits)
        args_fail(e->call, &form, "the sizes are no shape of the tensor's elements");
    return fits;
}

static bool complete_broadcast(Extents *e)
{
    int64_t sizes[ARGS_RANK];
    int count = e->rank;
    if (!refuse_below_zero(e))
        return false;
    for (int d = 0; d < count; d++)
        sizes[d] = e->list[d];
    e->rank = count > e->shape_rank ? count : e->shape_rank;
    for (int d = 0; d < e->rank; d++) {
        int a = d - (e->rank - e->shape_rank), b = d - (e->rank - count);
        int64_t have = a >= 0 ? e->shape[a] : 1, want = b >= 0 ? sizes[b] : 1;
        if (have != want && have != 1 && want != 1) {
            args_fail(e->call, &form, "size %d is %lld, the tensor has %lld there", b,
                      (long long)want, (long long)have);
            return false;
        }
        e->list[d] = have == 1 ? want : have;
    }
    return true;
}

static bool complete_plain(Extents *e)
{
    return refuse_below_zero(e);
}

static bool complete_reshape_0(Extents *e)
{
    return complete_reshape(e, false);
}

static bool complete_reshape_zeros(Extents *e)
{
    return complete_reshape(e, true);
}

static bool (*rule_of(const HostTensor *name))(Extents *e)
{
    static const struct {
        const char *name;
        bool (*complete)(Extents *e);
    } rules[] = {{"plain", complete_plain},
                 {"reshape", complete_reshape_0},
                 {"reshape_zeros", complete_reshape_zeros},
                 {"broadcast", complete_broadcast}};
    size_t length = (size_t)args_count(name);
    for (int i = 0; i < 4; i++)
        if (length == strlen(rules[i].name) && memcmp(name->data, rules[i].name, length) == 0)
            return rules[i].complete;
    return NULL;
}

Status host_extents(HostCall *call)
{
    Extents e = {.call = call};
    int64_t count;
    if (!args_check(call, &form))
        return args_status(call);
    const HostTensor *sizes = &call->inputs[0], *shape = &call->inputs[1];
    bool (*complete)(Extents * e) = args_count(&call->inputs[2]) ? rule_of(&call->inputs[2]) : NULL;
    if (!complete)
        return args_fail(call, &form, "no such rule");
    if (args_count(sizes) >= ARGS_RANK || args_count(shape) >= ARGS_RANK)
        return args_fail(call, &form, "more than %d sizes", ARGS_RANK - 1);
    e.rank = (int)args_count(sizes);
    e.shape_rank = (int)args_count(shape);
    for (int d = 0; d < e.rank; d++)
        e.list[d] = dtype_load(sizes->dtype, sizes->data, d).i;
    for (int d = 0; d < e.shape_rank; d++)
        if ((e.shape[d] = dtype_load(shape->dtype, shape->data, d).i) < 0)
            return args_fail(call, &form, "the tensor has an extent below 0");
    if (!complete(&e))
        return args_status(call);
    if (!multiply(e.list, e.rank, -1, &count))
        return args_fail(call, &form, "the sizes give more elements than can be counted");
    e.list[e.rank] = 0;
    return call->output(call, 0, e.rank + 1, e.list) ? ST_ok : args_status(call);
}

/* Positions of the elements that are not zero: one pass to count them, one to write. */
#include "runtime/host/args.h"

/* host_nonzero: x -> positions [rank of x, n], i64: a column for each element that is not 0 (NaN is
 * not), in row-major order. */
static const HostParam nonzero_in[] = {{"x", TYPES_number | TYPE(bool), 0, ARGS_RANK, false}};
static const HostParam nonzero_out[] = {{"positions", TYPE(i64), 2, 2, false}};
static const HostForm form = {"nonzero", nonzero_in, nonzero_out, 1, 1, false};

static bool is_set(const HostTensor *x, int64_t i)
{
    Scalar value = dtype_load(x->dtype, x->data, i);
    return dtype_is_float(x->dtype) ? value.f != 0 : value.i != 0;
}

Status host_nonzero(HostCall *call)
{
    if (!args_check(call, &form))
        return args_status(call);
    const HostTensor *x = &call->inputs[0];
    int64_t count = args_count(x), found = 0;
    for (int64_t i = 0; i < count; i++)
        found += is_set(x, i);
    int64_t dims[] = {x->rank, found};
    int64_t *positions = call->output(call, 0, 2, dims);
    if (!positions)
        return args_status(call);
    int64_t at = 0;
    for (int64_t i = 0; i < count && at < found; i++) {
        int64_t rest = i;
        if (!is_set(x, i))
            continue;
        for (int d = x->rank - 1; d >= 0; d--) {
            positions[d * found + at] = rest % x->dims[d];
            rest /= x->dims[d];
        }
        at++;
    }
    return ST_ok;
}

/* Sequences whose limits are known only in a run. */
#include "runtime/host/args.h"

#include <math.h>
#include <string.h>

/* host_range: start, limit, delta, each of one element and of the result's type -> values [n] =
 * start + i * delta, n = max(ceil((limit - start) / delta), 0). Integers wrap as kernels' do; delta
 * 0 is refused. */
enum { RANGES = TYPES_int | TYPES_uint | TYPES_float };
static const HostParam range_in[] = {
    {"start", RANGES, 0, 1, false},
    {"limit", RANGES, 0, 1, false},
    {"delta", RANGES, 0, 1, false},
};
static const HostParam range_out[] = {{"values", RANGES, 1, 1, false}};
static const HostForm range_form = {"range", range_in, range_out, 3, 1, false};

static bool count_floats(double start, double limit, double delta, int64_t *count)
{
    double steps = ceil((limit - start) / delta);
    if (delta == 0 || isnan(steps) || steps > 9e18)
        return false;
    *count = steps > 0 ? (int64_t)steps : 0;
    return true;
}

/* The distance is exact as an unsigned number, also from one end of int64 to the other. */
static bool count_ints(int64_t start, int64_t limit, int64_t delta, bool is_signed, int64_t *count)
{
    bool down = is_signed && delta < 0,
         any = is_signed ? start < limit : (uint64_t)start < (uint64_t)limit;
    if (!delta)
        return false;
    if (down)
        any = start > limit;
    uint64_t span = down ? (uint64_t)start - (uint64_t)limit : (uint64_t)limit - (uint64_t)start;
    uint64_t step = down ? -(uint64_t)delta : (uint64_t)delta;
    uint64_t steps = any ? (span - 1) / step + 1 : 0;
    *count = (int64_t)steps;
    return steps <= INT64_MAX;
}

Status host_range(HostCall *call)
{
    if (!args_check(call, &range_form))
        return args_status(call);
    Dtype dtype = call->output_dtypes[0];
    Scalar ends[3];
    for (int i = 0; i < 3; i++) {
        if (call->inputs[i].dtype != dtype || args_count(&call->inputs[i]) != 1)
            return args_fail(call, &range_form, "%s is not one element of the result's type",
                             range_in[i].name);
        ends[i] = dtype_load(dtype, call->inputs[i].data, 0);
    }
    int64_t count;
    bool flt = dtype_is_float(dtype), is_signed = dtype_class(dtype) == DC_INT;
    if (flt ? !count_floats(ends[0].f, ends[1].f, ends[2].f, &count)
            : !count_ints(ends[0].i, ends[1].i, ends[2].i, is_signed, &count))
        return args_fail(call, &range_form, "a delta of 0, or limits that no range has");
    void *values = call->output(call, 0, 1, &count);
    if (!values)
        return args_status(call);
    for (int64_t i = 0; i < count; i++) {
        Scalar value;
        if (flt)
            value.f = ends[0].f + (double)i * ends[2].f;
        else
            value.i = (int64_t)((uint64_t)ends[0].i + (uint64_t)i * (uint64_t)ends[2].i);
        dtype_store(dtype, values, i, value);
    }
    return ST_ok;
}

/* host_positions: start, end, step, extent, each one i64 -> positions [n], i64: what a slice takes
 * of an axis of that extent. As Slice of ONNX has it, negative ends count from the end of the axis,
 * and what is outside is clamped. */
static const HostParam positions_in[] = {
    {"start", TYPE(i64), 0, 1, false},
    {"end", TYPE(i64), 0, 1, false},
    {"step", TYPE(i64), 0, 1, false},
    {"extent", TYPE(i64), 0, 1, false},
};
static const HostParam positions_out[] = {{"positions", TYPE(i64), 1, 1, false}};
static const HostForm positions_form = {"positions", positions_in, positions_out, 4, 1, false};

static int64_t clamp(int64_t at, int64_t extent, int64_t lo, int64_t hi)
{
    if (at < 0)
        at += extent;
    return at < lo ? lo : at > hi ? hi : at;
}

Status host_positions(HostCall *call)
{
    int64_t start, end, step, extent, count = 0;
    if (!args_check(call, &positions_form) ||
        !args_int(call, &positions_form, 0, INT64_MIN, INT64_MAX, &start) ||
        !args_int(call, &positions_form, 1, INT64_MIN, INT64_MAX, &end) ||
        !args_int(call, &positions_form, 2, -INT64_MAX, INT64_MAX, &step) ||
        !args_int(call, &positions_form, 3, 0, INT64_MAX, &extent))
        return args_status(call);
    if (!step)
        return args_fail(call, &positions_form, "a step of 0");
    bool down = step < 0;
    start = clamp(start, extent, 0, down ? extent - 1 : extent);
    end = clamp(end, extent, down ? -1 : 0, extent);
    if (!extent)
        count = 0;
    else if (down && start > end)
        count = (start - end - 1) / -step + 1;
    else if (!down && end > start)
        count = (end - start - 1) / step + 1;
    int64_t *positions = call->output(call, 0, 1, &count);
    if (!positions)
        return args_status(call);
    for (int64_t i = 0; i < count; i++)
        positions[i] = start + i * step;
    return ST_ok;
}

/* host_padded: before, after, extent, each one i64, mode (text) -> positions [before + extent +
 * after], i64: what a padded axis takes of an axis of that extent; -1 outside in the mode
 * "constant". Amounts below 0 take elements away before the others repeat what is left. */
static const HostParam padded_in[] = {
    {"before", TYPE(i64), 0, 1, false},
    {"after", TYPE(i64), 0, 1, false},
    {"extent", TYPE(i64), 0, 1, false},
    {"mode", TYPE(u8), 1, 1, false},
};
static const HostForm padded_form = {"padded", padded_in, positions_out, 4, 1, false};

static bool is_mode(const HostTensor *mode, const char *name)
{
    size_t length = strlen(name);
    return (size_t)args_count(mode) == length && memcmp(mode->data, name, length) == 0;
}

typedef enum Padding { PAD_constant, PAD_reflect, PAD_edge, PAD_wrap, PAD_count } Padding;

/* Position i, counted from the first element of what is kept. */
static int64_t padded_position(int64_t i, int64_t kept, Padding mode)
{
    if (i >= 0 && i < kept)
        return i;
    int64_t period = mode == PAD_reflect ? 2 * (kept - 1) : kept, at;
    switch (mode) {
    case PAD_edge: return i < 0 ? 0 : kept - 1;
    case PAD_reflect:
    case PAD_wrap:
        at = period ? i % period : 0;
        at = at < 0 ? at + period : at;
        return at < kept ? at : period - at;
    case PAD_constant:
    case PAD_count: break;
    }
    return -1;
}

Status host_padded(HostCall *call)
{
    const int64_t far = INT64_C(1) << 61;
    int64_t before, after, extent;
    if (!args_check(call, &padded_form) || !args_int(call, &padded_form, 0, -far, far, &before) ||
        !args_int(call, &padded_form, 1, -far, far, &after) ||
        !args_int(call, &padded_form, 2, 0, far, &extent))
        return args_status(call);
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    Padding mode = PAD_constant;
    while (mode < PAD_count && !is_mode(&call->inputs[3], modes[mode]))
        mode++;
    if (mode == PAD_count)
        return args_fail(call, &padded_form, "no such mode");
    int64_t first = before < 0 ? -before : 0, count = before + extent + after;
    int64_t kept = extent - first + (after < 0 ? after : 0);
    if (kept < 0 || count < 0 || (!kept && count && mode != PAD_constant))
        return args_fail(call, &padded_form, "pads of %lld and %lld for %lld elements",
                         (long long)before, (long long)after, (long long)extent);
    int64_t *positions = call->output(call, 0, 1, &count);
    if (!positions)
        return args_status(call);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = padded_position(before < 0 ? i : i - before, kept, mode);
        positions[i] = at < 0 ? at : first + at;
    }
    return ST_ok;
}

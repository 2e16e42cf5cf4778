/* Checks that every host operation makes of its operands, and reading single values from them. */
#ifndef QUERN_RUNTIME_HOST_ARGS_H
#define QUERN_RUNTIME_HOST_ARGS_H

#include "runtime/host.h"

#define HOST(name) HostFn host_##name;
#include "runtime/host.def"
#undef HOST

/* Sets of element types. */
#define TYPE(name) (1u << DT_##name)
enum {
    TYPES_int = TYPE(i8) | TYPE(i16) | TYPE(i32) | TYPE(i64),
    TYPES_uint = TYPE(u8) | TYPE(u16) | TYPE(u32) | TYPE(u64),
    TYPES_float = TYPE(f16) | TYPE(bf16) | TYPE(f32) | TYPE(f64),
    /* what has an order and a size in bytes */
    TYPES_number = TYPES_int | TYPES_uint | TYPES_float | TYPE(f8e4m3) | TYPE(f8e4m3fnuz) |
                   TYPE(f8e5m2) | TYPE(f8e5m2fnuz),
};

enum { ARGS_RANK = 64, ARGS_MOST = 64 };

/* What an operand or a result may be. */
typedef struct HostParam {
    const char *name;
    uint32_t types;
    int least_rank, most_rank;
    bool optional; /* may be omitted: a u8 operand of shape [0] */
} HostParam;

typedef struct HostForm {
    const char *op; /* its name in host.def */
    const HostParam *inputs, *outputs;
    int input_count, output_count;
    bool repeats; /* the last input stands for one or more of its kind */
} HostForm;

/* Whether the call is of this form: numbers, types and ranks of operands and results, and extents
 * whose product overflows nothing. False after report_fail. */
bool args_check(HostCall *call, const HostForm *form);
/* Fails with the operation's name in front; returns ST_bad_argument. */
Status args_fail(HostCall *call, const HostForm *form, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What report holds after a failed output, scratch or keep. */
Status args_status(const HostCall *call);

/* For loops that may last: false after report_fail when the run is cancelled. */
bool args_go_on(HostCall *call);

bool args_omitted(const HostTensor *tensor);
int64_t args_count(const HostTensor *tensor);
/* Product of the extents [from, to). */
int64_t args_product(const HostTensor *tensor, int from, int to);
/* Bytes of an element; whole bytes only. */
size_t args_size(Dtype dtype);
/* The value of an operand of one element, within [lo, hi]; false after report_fail. */
bool args_int(HostCall *call, const HostForm *form, int input, int64_t lo, int64_t hi,
              int64_t *value);
/* An axis of a tensor of `rank`, which may count from the end. */
bool args_axis(HostCall *call, const HostForm *form, int input, int rank, int *axis);
/* scratch for `count` elements of `size` bytes; NULL after report_fail, also when it overflows. */
void *args_scratch(HostCall *call, int64_t count, size_t size);
/* The element of a tensor of strings. */
static inline const HostString *args_text(const HostTensor *tensor)
{
    return tensor->data;
}
/* out[index] = a copy of the bytes; false after report_fail. */
bool args_keep(HostCall *call, HostString *out, const char *data, size_t length);

#endif

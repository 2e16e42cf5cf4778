/* Host operations: steps of a plan that no kernel does, because how much they write depends on what
 * they read (top k of a run-time k, nonzero, strings), or because they are one long chain of
 * decisions. Plain C on the calling thread, on every device: the session brings operands to host
 * memory and results back.
 *
 * Everything an operation needs is a tensor: attributes of the ONNX node are small constants among
 * the inputs (the importer appends them), in the order that the function's comment states. Plans
 * are untrusted: a function checks number, dtype, rank and value of all it reads before using it,
 * and fails with ST_bad_argument naming the operation; it never reads past an input.
 *
 * Functions are found by name in host.def; a plan names the row. */
#ifndef QUERN_RUNTIME_HOST_H
#define QUERN_RUNTIME_HOST_H

#include "base/dtype.h"
#include "base/kernel_abi.h"
#include "runtime/report.h"

/* An element of a tensor of strings: bytes, not necessarily terminated; NULL when empty. */
typedef struct HostString {
    const char *data;
    size_t length;
} HostString;

typedef struct HostTensor {
    Dtype dtype;
    int rank;
    const int64_t *dims;
    const void
        *data; /* packed row-major elements, aligned to their size; HostString for DT_string */
} HostTensor;

typedef struct HostCall HostCall;
struct HostCall {
    int input_count, output_count;
    const HostTensor *inputs;
    const Dtype *output_dtypes;
    Report *report;
    /* Memory of output `index` with this shape, packed row-major, uninitialised: to be called once
     * for each output, after which inputs stay valid. NULL after report_fail. */
    void *(*output)(HostCall *call, int index, int rank, const int64_t *dims);
    /* Memory until the function returns, aligned to 64 bytes; NULL after report_fail. */
    void *(*scratch)(HostCall *call, size_t bytes);
    /* A copy of bytes for elements of string outputs: valid as long as the outputs. NULL after
     * report_fail. */
    const char *(*keep)(HostCall *call, const char *bytes, size_t length);
    void *user;                    /* of the three above */
    const struct Customs *customs; /* the application's operators (host/custom.h); NULL = none */
    const CancelFlag *cancel;      /* for args_go_on; NULL = nobody sets it */
};

typedef Status HostFn(HostCall *call);

/* NULL when there is none. */
HostFn *host_find(const char *name);

#endif

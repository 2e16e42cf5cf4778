/* What a branch does that contradicts itself for the shapes a program was compiled for: it fails
 * the run that takes it, with the reason that the import found. */
#include "runtime/host/args.h"

/* host_refuse: reason, as bytes -> any results, none of which is given. */
Status host_refuse(HostCall *call)
{
    static const HostParam in[] = {{"reason", TYPE(u8), 1, 1, false}};
    static const HostForm form = {"refuse", in, NULL, 1, 0, false};
    const HostTensor *reason = call->inputs;
    if (call->input_count != 1 || reason->dtype != DT_u8 || reason->rank != 1)
        return args_fail(call, &form, "expected one text");
    int length = reason->dims[0] < 700 ? (int)reason->dims[0] : 700;
    return report_fail(call->report, ST_bad_argument,
                       "a branch that cannot be taken with these shapes: %.*s", length,
                       (const char *)reason->data);
}

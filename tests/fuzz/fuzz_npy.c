/* The .npy reader on any bytes. The first byte picks the type that is wanted, so that packing and
 * raw elements are reached; what is accepted must have the size its shape says. */
#include <stdlib.h>

#include "tools/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Tensor tensor;
    Fail fail = {""};
    if (size == 0)
        return 0;
    qn_dtype want = (qn_dtype)(data[0] % (QN_I2 + 1));
    if (!npy_parse("fuzz", data + 1, size - 1, want, &tensor, &fail)) {
        if (!fail.text[0] || tensor.data)
            abort();
        return 0;
    }
    int64_t count = 1;
    for (int32_t i = 0; i < tensor.rank; i++)
        count *= tensor.dims[i];
    if (count != tensor.count || (want != QN_NONE && tensor.dtype != want))
        abort();
    tensor_free(&tensor);
    return 0;
}

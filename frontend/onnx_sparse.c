/* Sparse tensors, made dense: values at their indices, zeros elsewhere. Indices are linear
 * ([count]) or one row of coordinates for each value ([count, rank]); they must ascend strictly, so
 * that none occurs twice. */
#include "frontend/onnx_read.h"

#include <string.h>

static int64_t load_index(const OnnxTensor *indices, int64_t at)
{
    int64_t value;
    memcpy(&value, (const char *)indices->data + at * 8, 8);
    return value;
}

/* Linear position of value `i`; -1 when out of range. */
static int64_t position(const OnnxTensor *indices, const OnnxTensor *dense, int64_t i)
{
    if (indices->rank == 1) {
        int64_t at = load_index(indices, i);
        return at < dense->count ? at : -1;
    }
    int64_t at = 0;
    for (int d = 0; d < dense->rank; d++) {
        int64_t index = load_index(indices, i * dense->rank + d);
        if (index < 0 || index >= dense->dims[d])
            return -1;
        at = at * dense->dims[d] + index;
    }
    return at;
}

/* Element `from` of packed values to element `to` of zeroed memory. */
static void put_element(Dtype dtype, uint8_t *data, int64_t to, const uint8_t *values, int64_t from)
{
    int bits = dtype_bits(dtype);
    if (bits >= 8) {
        memcpy(data + to * (bits / 8), values + from * (bits / 8), (size_t)bits / 8);
        return;
    }
    int per_byte = 8 / bits;
    unsigned byte = values[from / per_byte];
    unsigned value = byte >> (from % per_byte * bits) & ((1u << bits) - 1);
    data[to / per_byte] |= (uint8_t)(value << (to % per_byte * bits));
}

static bool check_parts(Reader *r, const OnnxTensor *values, const OnnxTensor *indices,
                        const OnnxTensor *dense)
{
    if (dense->rank == 0 || dense->count == 0)
        onnx_fail(r, ST_bad_model, "a sparse tensor must have dims, all greater than 0");
    else if (values->rank != 1)
        onnx_fail(r, ST_bad_model, "the values of a sparse tensor must have one dim, not %d",
                  values->rank);
    else if (values->dtype == DT_string)
        onnx_fail(r, ST_unsupported, "sparse tensors of strings are not supported");
    else if (indices->dtype != DT_i64)
        onnx_fail(r, ST_bad_model, "the indices of a sparse tensor must be i64, not %s",
                  dtype_name(indices->dtype));
    else if ((indices->rank != 1 && indices->rank != 2) || indices->dims[0] != values->count ||
             (indices->rank == 2 && indices->dims[1] != dense->rank))
        onnx_fail(r, ST_bad_model,
                  "the indices of a sparse tensor must have the shape [%lld] or [%lld,%d]",
                  (long long)values->count, (long long)values->count, dense->rank);
    else if (dtype_bytes(values->dtype, dense->count) < 0 ||
             dtype_bytes(values->dtype, dense->count) > ONNX_DENSIFIED_BYTES)
        onnx_fail(r, ST_limit, "a sparse tensor is larger than %d MiB when made dense",
                  ONNX_DENSIFIED_BYTES >> 20);
    return !cx_failed(r->cx);
}

OnnxTensor onnx_read_sparse(Reader *r, const PbSparse *from)
{
    OnnxTensor dense = {.name = onnx_name(r->names, NULL)};
    if (!from->values || !from->indices) {
        onnx_fail(r, ST_bad_model, "a sparse tensor has no %s",
                  from->values ? "indices" : "values");
        return dense;
    }
    OnnxTensor values = onnx_read_tensor(r, from->values);
    OnnxTensor indices = onnx_read_tensor(r, from->indices);
    dense.name = r->tensor = values.name;
    dense.dtype = values.dtype;
    if (!cx_failed(r->cx) && onnx_read_dims(r, from->dims, from->n_dims, &dense) &&
        check_parts(r, &values, &indices, &dense)) {
        dense.size = (size_t)dtype_bytes(dense.dtype, dense.count);
        uint8_t *data = arena_alloc(r->cx->arena, dense.size);
        int64_t last = -1;
        for (int64_t i = 0; i < values.count && !cx_failed(r->cx); i++) {
            int64_t at = position(&indices, &dense, i);
            if (at < 0)
                onnx_fail(r, ST_bad_model, "index #%lld of a sparse tensor is out of range",
                          (long long)i);
            else if (at <= last)
                onnx_fail(r, ST_bad_model,
                          "index #%lld of a sparse tensor is out of order or double", (long long)i);
            else
                put_element(dense.dtype, data, at, values.data, i);
            last = at;
        }
        dense.data = data;
    }
    r->tensor = NULL;
    return dense;
}

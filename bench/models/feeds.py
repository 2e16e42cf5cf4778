"""Inputs for any model here: random, reproducible, and legal (token ids inside their table)."""

import zlib

import numpy as np
from onnx import TensorProto, helper


def table_rows(model, name):
    """Rows of the smallest initializer that a Gather indexes by this input, or None."""
    rows = {t.name: t.dims[0] for t in model.graph.initializer if len(t.dims)}
    found = [rows[n.input[0]] for n in model.graph.node
             if n.op_type == "Gather" and n.input[1] == name and n.input[0] in rows]
    return min(found) if found else None


def shape_of(value, dims):
    """The shape of a graph input; symbols take their number from `dims`, else 1."""
    return [d.dim_value if d.HasField("dim_value") else dims.get(d.dim_param, 1)
            for d in value.type.tensor_type.shape.dim]


def make_feeds(model, dims=None, seed=0):
    """{input name: array}. Floats are normal(0, 1); a mask is ones with a quarter of zeros behind;
    other integers are below the table they index, or 0 and 1."""
    dims = dims or {}
    initializers = {t.name for t in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in initializers:
            continue
        rng = np.random.default_rng([seed, zlib.crc32(value.name.encode())])
        shape = shape_of(value, dims)
        kind = value.type.tensor_type.elem_type
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        if np.issubdtype(dtype, np.floating):
            feeds[value.name] = rng.standard_normal(shape).astype(dtype)
        elif kind == TensorProto.BOOL:
            feeds[value.name] = rng.integers(0, 2, shape).astype(dtype)
        elif "mask" in value.name:
            mask = np.ones(shape, dtype)
            mask[..., shape[-1] - shape[-1] // 4:] = 0
            feeds[value.name] = mask
        else:
            rows = table_rows(model, value.name) or 2
            feeds[value.name] = rng.integers(0, rows, shape).astype(dtype)
    return feeds

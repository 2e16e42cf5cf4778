#!/usr/bin/env python3
"""Random models, run beside ONNX's reference evaluator.

Every model is a graph of random operators on small random tensors, grown node by node: what the
reference gives for a node decides whether it stays, so that models are valid. Each is run compiled
for its shapes and, with its inputs' dims made symbols, compiled for any, at the sizes it was made
with and at others. Values are small whole numbers until an operator gives fractions; operators
that jump (Floor, comparisons, ArgMax) are given whole numbers only, so that rounding cannot decide.
A model that is refused is counted; a wrong value, a crash or a hang is a failure, and its model and
inputs are kept.
Exit status: 0 none failed, 1 some did, 2 could not start. Wants onnx and numpy.
"""

import argparse
import collections
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OPSET = 21
LARGEST = 1 << 14  # elements of a tensor
HIGHEST = 1e5      # magnitude of a value

Value = collections.namedtuple("Value", "name array whole")


class Refused(Exception):
    """The node cannot be made of these values."""


class Maker:
    """A model that grows."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.values, self.nodes, self.constants, self.inputs = [], [], {}, []
        self.count = 0

    def name(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def chance(self, of):
        return self.rng.random() < of

    def number(self, low, high):
        """A random integer, `high` included."""
        if high < low:
            raise Refused
        return int(self.rng.integers(low, high + 1))

    def one_of(self, values):
        values = list(values)
        if not values:
            raise Refused
        return values[self.number(0, len(values) - 1)]

    def random_array(self, shape, dtype):
        if dtype == np.bool_:
            return self.rng.random(shape) < 0.5
        low = 0 if np.issubdtype(dtype, np.unsignedinteger) else -4
        return self.rng.integers(low, 5, shape).astype(dtype)

    def add_input(self, rank=None):
        rank = self.number(0, 4) if rank is None else rank
        shape = [self.one_of((1, 2, 3, 4, 5, 7, 8, 16)) for _ in range(rank)]
        dtype = self.one_of((np.float32,) * 6 + (np.float64, np.int64, np.int32, np.bool_))
        value = Value(self.name("x"), self.random_array(shape, dtype), True)
        self.inputs.append(value)
        self.values.append(value)

    def constant(self, array):
        """A node's operand that the model holds."""
        name = self.name("c")
        self.constants[name] = np.asarray(array)
        return Value(name, self.constants[name], True)

    def weights(self, *shape):
        return self.constant(self.random_array(shape, np.float32))

    def pick(self, kinds="f", rank=0, most=8, whole=False):
        """A value: of floats (f), signed integers (i), unsigned (u) or truth values (b)."""
        found = [v for v in self.values if v.array.dtype.kind in kinds and
                 rank <= v.array.ndim <= most and (v.whole or not whole)]
        # Newer values more often, so that graphs grow deep.
        weights = np.arange(1, len(found) + 1, dtype=float) ** 2
        if not found:
            raise Refused
        return found[self.rng.choice(len(found), p=weights / weights.sum())]

    def partner(self, of):
        """A value that broadcasts with `of`, of its type; made when there is none."""
        def fits(value):
            try:
                shape = np.broadcast_shapes(value.array.shape, of.array.shape)
            except ValueError:
                return False
            return np.prod(shape) <= LARGEST
        found = [v for v in self.values if v.array.dtype == of.array.dtype and fits(v)]
        if found and self.chance(0.7):
            return self.one_of(found)
        shape = [1 if self.chance(0.3) else n for n in of.array.shape]
        shape = shape[self.number(0, len(shape)):] if self.chance(0.3) else shape
        return self.constant(self.random_array(shape, of.array.dtype))

    def axis(self, value):
        rank = value.array.ndim
        axis = self.number(0, rank - 1)
        return axis - rank if self.chance(0.4) else axis

    def axes(self, value):
        axes = [a for a in range(value.array.ndim) if self.chance(0.5)]
        return [a - value.array.ndim if self.chance(0.3) else a for a in axes]

    def node(self, op, operands, outputs=1, whole=None, opset_domain="", **attributes):
        """Adds a node if the reference takes it and its results are tame."""
        names = [self.name("v") for _ in range(outputs)]
        node = helper.make_node(op, [v.name if v else "" for v in operands], names,
                                domain=opset_domain, **attributes)
        given = [v for v in operands if v]
        results = evaluate([node], {v.name: v.array for v in given}, names)
        if whole is None:
            whole = all(v.whole for v in given)
        for array, (dtype, shape) in zip(results, inferred_types(node, given)):
            # The reference forgets some types, and gets some shapes of pools wrong.
            if array.dtype != dtype or shape is not None and not agrees(shape, array.shape):
                raise Refused
            if array.size > LARGEST or array.ndim > 6:
                raise Refused
            if not array.size and not self.chance(0.1):
                raise Refused
            if array.dtype.kind == "f" and array.size and not np.abs(array).max() < HIGHEST:
                raise Refused
            if array.dtype.kind in "iu" and array.size and np.abs(array.astype(float)).max() > 2e9:
                raise Refused
        self.nodes.append(node)
        for name, array in zip(names, results):
            self.values.append(Value(name, array, whole))


def evaluate(nodes, feeds, names, constants=()):
    """What the reference gives for `names`; Refused where it does not."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
         for k, v in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in names], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            results = ReferenceEvaluator(model).run(None, feeds)
        except Exception as problem:  # any: the reference is plain NumPy
            raise Refused from problem
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        raise Refused
    return [np.asarray(r) for r in results]


def agrees(shape, other):
    """Whether a shape, None where open, may be the other."""
    return len(shape) == len(other) and all(n in (None, m) for n, m in zip(shape, other))


def inferred_types(node, operands):
    """[(dtype, shape)] of a node's results as the operator's schema has them."""
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(v.name, helper.np_dtype_to_tensor_dtype(v.array.dtype),
                                       v.array.shape) for v in operands], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    try:
        found = {v.name: v.type.tensor_type
                 for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    except onnx.shape_inference.InferenceError as problem:
        raise Refused from problem
    types = []
    for name in node.output:
        if name not in found or not found[name].elem_type:
            raise Refused
        dims = [d.dim_value if d.HasField("dim_value") else None for d in found[name].shape.dim]
        types.append((helper.tensor_dtype_to_np_dtype(found[name].elem_type),
                      dims if found[name].HasField("shape") else None))
    return types


# ---- operators: each adds one node

def unary(m):
    smooth = ("Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Exp", "Softplus", "Erf", "Gelu", "Sin",
              "Cos", "Atan", "HardSwish", "HardSigmoid", "Elu", "Selu", "LeakyRelu", "Softsign",
              "Mish", "Celu", "Identity", "ThresholdedRelu")
    op = m.one_of(smooth)
    keeps = op in ("Abs", "Neg", "Relu", "Identity")
    x = m.pick(whole=op == "ThresholdedRelu")
    m.node(op, [x], whole=x.whole and keeps)


def jumping(m):
    x = m.pick(whole=True)
    m.node(m.one_of(("Floor", "Ceil", "Round", "Sign")), [x])


def binary(m):
    op = m.one_of(("Add", "Sub", "Mul", "Add", "Mul", "Div", "Max", "Min", "PRelu"))
    a = m.pick("f" if op in ("Div", "PRelu") else "fi")
    b = m.partner(a)
    if op == "Div":
        m.node("Abs", [b])
        b = m.values[-1]
        m.node("Add", [b, m.constant(np.array(1, b.array.dtype))])
        b = m.values[-1]
    order = [b, a] if m.chance(0.5) and op != "Div" else [a, b]
    m.node(op, order, whole=None if op != "Div" else False)


def compare(m):
    a = m.pick("fi", whole=True)
    b = m.partner(a)
    if not b.whole:
        raise Refused
    m.node(m.one_of(("Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual")), [a, b])


def logic(m):
    a = m.pick("b")
    if m.chance(0.3):
        m.node("Not", [a])
    else:
        m.node(m.one_of(("And", "Or", "Xor")), [a, m.partner(a)])


def where(m):
    condition, a = m.pick("b"), m.pick("fi")
    m.node("Where", [condition, a, m.partner(a)])


def cast(m):
    kind = m.one_of((TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64,
                     TensorProto.INT32, TensorProto.BOOL))
    to_float = kind in (TensorProto.FLOAT, TensorProto.DOUBLE)
    m.node("Cast", [m.pick("fib", whole=not to_float)], to=kind)


def matmul(m):
    a = m.pick(rank=1, most=4)
    inner = a.array.shape[-1]
    found = [v for v in m.values if v.array.dtype == a.array.dtype and v.array.ndim and
             v.array.shape[-2 if v.array.ndim > 1 else -1] == inner]
    if found and m.chance(0.5):
        b = m.one_of(found)
    else:
        b = m.constant(m.random_array((inner, m.one_of((1, 3, 8, 17))), a.array.dtype))
    m.node("MatMul", [a, b])


def gemm(m):
    a = m.pick(rank=2, most=2)
    flip_a, flip_b = m.number(0, 1), m.number(0, 1)
    k, n = a.array.shape[0 if flip_a else 1], m.one_of((1, 2, 5, 16))
    b = m.constant(m.random_array((n, k) if flip_b else (k, n), a.array.dtype))
    c = m.constant(m.random_array(m.one_of(((n,), (1, n), (1,), ())), a.array.dtype))
    m.node("Gemm", [a, b] + ([c] if m.chance(0.7) else []), transA=flip_a, transB=flip_b,
           alpha=m.one_of((1.0, 2.0, 0.5)), beta=m.one_of((1.0, 3.0)))


def window(m, spatial):
    kernel = [m.number(1, 3) for _ in range(spatial)]
    return {"kernel_shape": kernel,
            "strides": [m.number(1, 2) for _ in range(spatial)],
            "dilations": [m.one_of((1, 1, 2)) for _ in range(spatial)],
            "pads": [m.number(0, kernel[i % spatial] - 1) for i in range(2 * spatial)]}


def image(m):
    x = m.pick(rank=3, most=4)
    if x.array.dtype != np.float32 or min(x.array.shape) < 1:
        raise Refused
    return x


def conv(m):
    x = image(m)
    channels, spatial = x.array.shape[1], x.array.ndim - 2
    groups = m.one_of([g for g in (1, 1, 1, 2, channels) if channels % g == 0])
    out = groups * m.one_of((1, 2, 4))
    w = window(m, spatial)
    operands = [x, m.weights(out, channels // groups, *w["kernel_shape"])]
    if m.chance(0.6):
        operands.append(m.weights(out))
    m.node("Conv", operands, group=groups, **w)


def conv_transpose(m):
    x = image(m)
    channels, spatial = x.array.shape[1], x.array.ndim - 2
    w = window(m, spatial)
    m.node("ConvTranspose", [x, m.weights(channels, m.number(1, 3), *w["kernel_shape"])], **w)


def pool(m):
    x = image(m)
    w = window(m, x.array.ndim - 2)
    if m.chance(0.3):
        m.node(m.one_of(("GlobalAveragePool", "GlobalMaxPool")), [x],
               whole=False)
        return
    if m.chance(0.3):  # without pads: with them the reference loses results
        w["pads"] = [0] * len(w["pads"])
        w["ceil_mode"] = 1
    if m.chance(0.5):
        m.node("MaxPool", [x], **w)
    else:
        m.node("AveragePool", [x], whole=False, count_include_pad=m.number(0, 1), **w)


def norm(m):
    x = image(m)
    channels = x.array.shape[1]
    if m.chance(0.4):
        variance = m.constant(np.abs(m.random_array((channels,), np.float32)) + 1)
        m.node("BatchNormalization", [x, m.weights(channels), m.weights(channels),
                                      m.weights(channels), variance], whole=False)
    elif m.chance(0.5):
        m.node("InstanceNormalization", [x, m.weights(channels), m.weights(channels)],
               whole=False, epsilon=0.1)
    else:
        groups = m.one_of([g for g in range(1, channels + 1) if channels % g == 0])
        m.node("GroupNormalization", [x, m.weights(channels), m.weights(channels)], whole=False,
               epsilon=0.1, num_groups=groups)


def layer_norm(m):
    x = m.pick(rank=1)
    if x.array.dtype != np.float32:
        raise Refused
    axis = m.axis(x)
    shape = x.array.shape[axis:]
    m.node("LayerNormalization", [x, m.weights(*shape), m.weights(*shape)], whole=False, axis=axis,
           epsilon=0.1)


def softmax(m):
    x = m.pick(rank=1)
    m.node(m.one_of(("Softmax", "LogSoftmax")), [x], whole=False, axis=m.axis(x))


def reduce(m):
    op = m.one_of(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
                   "ReduceSumSquare", "ReduceLogSumExp"))
    x = m.pick("f" if op in ("ReduceMean", "ReduceL2", "ReduceLogSumExp") else "fi")
    operands = [x]
    if m.chance(0.8):
        operands.append(m.constant(np.array(m.axes(x), np.int64)))
    whole = x.whole and op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1",
                               "ReduceSumSquare")
    m.node(op, operands, whole=whole, keepdims=m.number(0, 1),
           noop_with_empty_axes=m.number(0, 1))


def arg(m):
    x = m.pick("fi", rank=1, whole=True)
    m.node(m.one_of(("ArgMax", "ArgMin")), [x], axis=m.axis(x), keepdims=m.number(0, 1))


def top(m):
    x = m.pick(rank=1, whole=True)
    axis = m.axis(x)
    k = m.number(1, x.array.shape[axis])
    m.node("TopK", [x, m.constant(np.array([k], np.int64))], outputs=2, axis=axis,
           largest=m.number(0, 1))


def cumsum(m):
    x = m.pick("fi", rank=1)
    m.node("CumSum", [x, m.constant(np.array(m.axis(x), np.int64))], exclusive=m.number(0, 1),
           reverse=m.number(0, 1))


def transpose(m):
    x = m.pick("fib", rank=2)
    m.node("Transpose", [x], perm=[int(i) for i in m.rng.permutation(x.array.ndim)])


def reshape(m):
    x = m.pick("fib", rank=1)
    shape = list(x.array.shape)
    at = m.number(0, len(shape) - 1)
    if m.chance(0.4) and at + 1 < len(shape):
        shape[at:at + 2] = [-1]
        shape = [0 if i < at and m.chance(0.5) else n for i, n in enumerate(shape)]
    elif m.chance(0.5):
        divisor = m.one_of([d for d in (1, 2, 3, 4) if shape[at] % d == 0])
        shape[at:at + 1] = [-1, divisor]
    else:
        shape = [-1]
    m.node("Reshape", [x, m.constant(np.array(shape, np.int64))])


def reshape_like(m):
    """A shape that the model computes, as exporters write it."""
    x = m.pick("fi", rank=2)
    m.node("Shape", [x], end=m.number(1, x.array.ndim - 1))
    head = m.values[-1]
    m.node("Concat", [head, m.constant(np.array([-1], np.int64))], axis=0)
    m.node("Reshape", [x, m.values[-1]])


def squeeze(m):
    x = m.pick("fib")
    ones = [i for i, n in enumerate(x.array.shape) if n == 1]
    if ones and m.chance(0.5):
        m.node("Squeeze", [x, m.constant(np.array([m.one_of(ones)], np.int64))])
    else:
        m.node("Unsqueeze", [x, m.constant(np.array([m.number(0, x.array.ndim)], np.int64))])


def flatten(m):
    x = m.pick("f", rank=1)
    m.node("Flatten", [x], axis=m.number(0, x.array.ndim))


def expand(m):
    x = m.pick("fib")
    shape = [m.number(1, 3) if n == 1 else m.one_of((1, n)) for n in x.array.shape]
    m.node("Expand", [x, m.constant(np.array([2] * m.number(0, 1) + shape, np.int64))])


def tile(m):
    x = m.pick("fi", rank=1)
    m.node("Tile", [x, m.constant(np.array([m.number(1, 3) for _ in x.array.shape], np.int64))])


def concat(m):
    x = m.pick("fib", rank=1)
    axis = m.number(0, x.array.ndim - 1)

    def fits(value):
        return value.array.dtype == x.array.dtype and value.array.ndim == x.array.ndim and all(
            a == b for i, (a, b) in enumerate(zip(value.array.shape, x.array.shape)) if i != axis)
    parts = [x] + [m.one_of(v for v in m.values if fits(v)) for _ in range(m.number(0, 3))]
    if m.chance(0.3):
        shape = list(x.array.shape)
        shape[axis] = m.number(1, 4)
        parts.append(m.constant(m.random_array(shape, x.array.dtype)))
    m.node("Concat", parts, axis=axis if m.chance(0.5) else axis - x.array.ndim)


def split(m):
    x = m.pick("fi", rank=1)
    axis = m.axis(x)
    size = x.array.shape[axis]
    if size < 2:
        raise Refused
    if m.chance(0.5):
        first = m.number(1, size - 1)
        m.node("Split", [x, m.constant(np.array([first, size - first], np.int64))], outputs=2,
               axis=axis)
    else:
        m.node("Split", [x], outputs=2, axis=axis, num_outputs=2)


def cut(m):
    x = m.pick("fib", rank=1)
    axes = sorted({m.number(0, x.array.ndim - 1) for _ in range(m.number(1, 2))})
    starts, ends, steps = [], [], []
    for axis in axes:
        size = x.array.shape[axis]
        step = m.one_of((1, 1, 1, 2, -1, -2))
        low, high = sorted((m.number(0, size), m.number(0, size)))
        if low == high:
            low, high = 0, size
        if step < 0:
            low, high = high - 1, low - 1 if low else -size - 5
        elif m.chance(0.3):
            low, high = low - size, 1 << 60 if m.chance(0.5) else high
        starts.append(low)
        ends.append(high)
        steps.append(step)
    m.node("Slice", [x] + [m.constant(np.array(v, np.int64))
                           for v in (starts, ends, axes, steps)])


def pad(m):
    x = m.pick("fi", rank=1, most=4)
    mode = m.one_of(("constant", "constant", "edge", "reflect", "wrap"))
    least = min(x.array.shape)
    most = 2 if mode in ("constant", "edge") else min(2, least - 1)
    low = -1 if mode == "constant" and least > 2 else 0
    pads = [m.number(low, max(most, 0)) for _ in range(2 * x.array.ndim)]
    operands = [x, m.constant(np.array(pads, np.int64))]
    if mode == "constant" and m.chance(0.5):
        operands.append(m.constant(np.array(m.number(-3, 3), x.array.dtype)))
    m.node("Pad", operands, mode=mode)


def gather(m):
    x = m.pick("fib", rank=1)
    axis = m.axis(x)
    size = x.array.shape[axis]
    if not size:
        raise Refused
    shape = [m.number(1, 4) for _ in range(m.number(0, 2))]
    m.node("Gather", [x, m.constant(m.rng.integers(-size, size, shape))], axis=axis)


def gather_elements(m):
    x = m.pick("fi", rank=1)
    axis = m.axis(x)
    if not x.array.size:
        raise Refused
    shape = [m.number(1, n) for n in x.array.shape]
    size = x.array.shape[axis]
    m.node("GatherElements", [x, m.constant(m.rng.integers(-size, size, shape))], axis=axis)


def scatter(m):
    """Several updates may have one place: the last stays, as in the reference evaluator."""
    x = m.pick("fi", rank=1)
    rows = x.array.shape[0]
    if not rows:
        raise Refused
    order = m.rng.integers(-rows, rows, m.number(1, 12))
    updates = m.constant(m.random_array((len(order), *x.array.shape[1:]), x.array.dtype))
    m.node("ScatterND", [x, m.constant(order[:, None].astype(np.int64)), updates],
           reduction=m.one_of(("none", "add", "max")))


def scatter_elements(m):
    x = m.pick("fi", rank=1)
    if not x.array.size:
        raise Refused
    axis = m.axis(x)
    size = x.array.shape[axis]
    shape = [m.number(1, n) for n in x.array.shape]
    shape[axis] = m.number(1, 12)
    updates = m.constant(m.random_array(shape, x.array.dtype))
    m.node("ScatterElements", [x, m.constant(m.rng.integers(-size, size, shape)), updates],
           axis=axis, reduction=m.one_of(("none", "add", "max")))


def resize(m):
    x = image(m)
    sizes = [*x.array.shape[:2]] + [m.number(1, 2 * n) for n in x.array.shape[2:]]
    mode = m.one_of(("nearest", "linear"))
    how = m.one_of(("half_pixel", "asymmetric", "align_corners"))
    if mode == "nearest" and how == "align_corners":
        how = "asymmetric"  # where sizes of 1 have no corners to align
    more = {"nearest_mode": "floor"} if mode == "nearest" else {}
    m.node("Resize", [x, None, None, m.constant(np.array(sizes, np.int64))], whole=False,
           mode=mode, coordinate_transformation_mode=how, **more)


def one_hot(m):
    x = m.pick("i", whole=True, most=3)
    m.node("OneHot", [x, m.constant(np.array([m.number(2, 6)], np.int64)),
                      m.constant(np.array([0, 1], np.float32))], axis=-1)


def trilu(m):
    m.node("Trilu", [m.pick("fi", rank=2), m.constant(np.array(m.number(-2, 2), np.int64))],
           upper=m.number(0, 1))


def einsum(m):
    a = m.pick("f", rank=2, most=2)
    b = m.constant(m.random_array((a.array.shape[1], 3), a.array.dtype))
    m.node("Einsum", [a, b], equation=m.one_of(("ij,jk->ik", "ij,jk->ki", "ij,jk->k", "ij,jk->ijk")))


def clip(m):
    x = m.pick("fi")
    low = m.constant(np.array(m.number(-3, 0), x.array.dtype))
    high = m.constant(np.array(m.number(0, 4), x.array.dtype))
    m.node("Clip", [x, low, high])


def several(m):
    a = m.pick("f")
    op = m.one_of(("Sum", "Max", "Min", "Mean"))
    m.node(op, [a, m.partner(a), m.partner(a)][:m.number(1, 3)],
           whole=None if op != "Mean" else False)


def space(m):
    x = m.pick("f", rank=4, most=4)
    if m.chance(0.5):
        m.node("SpaceToDepth", [x], blocksize=2)
    else:
        m.node("DepthToSpace", [x], blocksize=2, mode=m.one_of(("DCR", "CRD")))


def found_places(m):
    m.node("NonZero", [m.pick("fib", rank=1, whole=True)])


def attention(m):
    """Scores, softmax and weighted sum, as exporters write it."""
    q = m.pick("f", rank=3, most=4)
    if q.array.dtype != np.float32:
        raise Refused
    order = list(range(q.array.ndim))
    order[-2:] = order[-1], order[-2]
    m.node("Transpose", [q], perm=order)
    m.node("MatMul", [q, m.values[-1]])
    m.node("Mul", [m.values[-1], m.constant(np.array(0.125, np.float32))], whole=False)
    m.node("Softmax", [m.values[-1]], axis=-1, whole=False)
    m.node("MatMul", [m.values[-1], q], whole=False)


OPERATORS = (unary, unary, unary, jumping, binary, binary, binary, compare, logic, where, cast,
             matmul, matmul, gemm, conv, conv, conv_transpose, pool, norm, layer_norm, softmax,
             reduce, reduce, arg, top, cumsum, transpose, transpose, reshape, reshape, reshape_like,
             squeeze, flatten, expand, tile, concat, concat, split, cut, cut, pad, gather,
             gather_elements, scatter, scatter_elements, resize, one_hot, trilu, einsum, clip,
             several, space, found_places, attention)


def make(seed, nodes):
    m = Maker(seed)
    for _ in range(m.number(1, 3)):
        m.add_input()
    m.add_input(rank=m.number(2, 4))
    for _ in range(20 * nodes):
        if len(m.nodes) >= nodes:
            break
        held = len(m.nodes), len(m.values), dict(m.constants)
        try:
            m.one_of(OPERATORS)(m)
        except Refused:
            del m.nodes[held[0]:], m.values[held[1]:]
            m.constants = held[2]
    return m


# ---- models and runs

def outputs_of(m):
    """What nothing reads, and one value in between."""
    read = {name for node in m.nodes for name in node.input}
    made = [v for v in m.values if v not in m.inputs]
    kept = [v for v in made if v.name not in read]
    if len(made) > 2 and m.chance(0.5):
        extra = m.one_of(made)
        kept += [extra] if extra.name not in read - {extra.name} and extra not in kept else []
    return kept[-12:]


def model_of(m, outputs, dims):
    """`dims`: what stands for each dim of each input."""
    inputs = [helper.make_tensor_value_info(
        v.name, helper.np_dtype_to_tensor_dtype(v.array.dtype), dims[v.name]) for v in m.inputs]
    results = [helper.make_tensor_value_info(
        v.name, helper.np_dtype_to_tensor_dtype(v.array.dtype), [None] * v.array.ndim)
        for v in outputs]
    graph = helper.make_graph(m.nodes, "random", inputs, results,
                              [numpy_helper.from_array(a, n) for n, a in m.constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def run_quern(options, folder, model, arrays, more=()):
    """Outputs by name; Refused, or an error that ends this model."""
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    command = [options.quern, "run", path, "--device", options.device, "--no-cache",
               "--output-dir", folder, *more]
    for name, array in arrays.items():
        np.save(os.path.join(folder, name + ".npy"), array)
        command += ["--input", f"{name}={os.path.join(folder, name)}.npy"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=120)
    if done.returncode == 1:
        raise Refused(done.stderr.strip().split("\n")[-1])
    if done.returncode != 0:
        raise RuntimeError(f"status {done.returncode}: {done.stderr.strip()[-400:]}")
    names = [output.name for output in model.graph.output]
    return {name: np.load(os.path.join(folder, name + ".npy")) for name in names}


def differs(got, want, whole):
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"is {got.dtype}{list(got.shape)} for {want.dtype}{list(want.shape)}"
    if not got.size:
        return None
    if got.dtype.kind != "f":
        return None if np.array_equal(got, want) else "integers differ"
    near = np.isclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(want).max())),
                      equal_nan=True)
    return None if near.all() else f"off by {np.abs(got - want)[~near].max()}" + \
        (", of whole numbers" if whole else "")


def check(options, folder, m, outputs, model, arrays, want, more=()):
    """'ok', 'refused: ..' or 'WRONG: ..'."""
    try:
        got = run_quern(options, folder, model, arrays, more)
    except Refused as reason:
        return f"refused: {reason}"
    except subprocess.TimeoutExpired:
        return "WRONG: no end in two minutes"
    except RuntimeError as problem:
        return f"WRONG: {problem}"
    for value, array in zip(outputs, want):
        problem = differs(got[value.name], array, value.whole)
        if problem:
            return f"WRONG: {value.name} {problem}"
    return "ok"


def symbols(m, apart):
    """Dims of the inputs as symbols: one for each size, or, `apart`, one for each dim."""
    return {v.name: [f"{v.name}_{i}" if apart else f"d{n}" for i, n in enumerate(v.array.shape)]
            for v in m.inputs}


def other_sizes(m, dims):
    """Inputs of other sizes that agree with the symbols."""
    sizes = {}
    arrays = {}
    for value in m.inputs:
        shape = []
        for symbol in dims[value.name]:
            sizes.setdefault(symbol, m.one_of((1, 2, 3, 6, 9)))
            shape.append(sizes[symbol])
        arrays[value.name] = m.random_array(shape, value.array.dtype)
    return arrays


def one_model(options, seed, folder):
    """[(kind of run, verdict)]."""
    m = make(seed, options.nodes)
    outputs = outputs_of(m)
    if not outputs:
        return []
    arrays = {v.name: v.array for v in m.inputs}
    want = [v.array for v in outputs]
    fixed = {v.name: list(v.array.shape) for v in m.inputs}
    verdicts = [("fixed", check(options, folder, m, outputs, model_of(m, outputs, fixed), arrays,
                                want))]
    if not verdicts[0][1].startswith("ok"):
        return verdicts
    dims = symbols(m, apart=m.chance(0.3))
    model = model_of(m, outputs, dims)
    verdicts.append(("generic", check(options, folder, m, outputs, model, arrays, want,
                                      ["--generic"])))
    if verdicts[1][1] == "ok":
        arrays = other_sizes(m, dims)
        constants = [numpy_helper.from_array(a, n) for n, a in m.constants.items()]
        try:
            want = evaluate(m.nodes, arrays, [v.name for v in outputs], constants)
        except Refused:
            return verdicts
        if all(w.dtype.kind != "f" or (np.isfinite(w).all() and np.abs(w).max(initial=0) < 1e6)
               for w in want):
            verdicts.append(("other sizes", check(options, folder, m, outputs, model, arrays, want,
                                                  ["--generic"])))
    return verdicts


def run_seed(job):
    """(seed, [(kind of run, verdict)]); keeps what failed."""
    options, seed = job
    with tempfile.TemporaryDirectory() as folder:
        verdicts = one_model(options, seed, folder)
        if any(verdict.startswith("WRONG") for _, verdict in verdicts):
            shutil.copytree(folder, os.path.join(options.keep, str(seed)), dirs_exist_ok=True)
    return seed, verdicts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first model (1)")
    parser.add_argument("--count", type=int, default=100, help="models (100)")
    parser.add_argument("--nodes", type=int, default=12, help="nodes of a model (12)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="models at once (1)")
    parser.add_argument("--keep", metavar="DIR", default=os.path.join(ROOT, "build/random-models"),
                        help="where failing models go (build/random-models)")
    parser.add_argument("--refused", action="store_true", help="say why models are refused")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"))
    options = parser.parse_args()
    if not os.access(options.quern, os.X_OK):
        print(f"random_models: no tool at {options.quern}", file=sys.stderr)
        return 2
    counts = collections.Counter()
    seeds = range(options.seed, options.seed + options.count)
    with multiprocessing.Pool(options.jobs) as pool:
        for seed, verdicts in pool.imap(run_seed, [(options, seed) for seed in seeds]):
            for kind, verdict in verdicts:
                counts[kind, verdict.split(":")[0]] += 1
                if verdict.startswith("WRONG") or options.refused and verdict != "ok":
                    print(f"seed {seed}, {kind}: {verdict}", flush=True)
    for (kind, verdict), count in sorted(counts.items()):
        print(f"{kind}: {verdict} {count}")
    return 1 if any(verdict == "WRONG" for _, verdict in counts) else 0


if __name__ == "__main__":
    sys.exit(main())

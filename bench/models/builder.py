"""Builds one ONNX graph with random weights: nodes in order, weights by name.

Every weight comes from a generator seeded by (family, name), so two models of one family that use
the same names hold the same weights whatever the order they are built in.
"""

import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 10


class Builder:
    """Collects nodes and initializers; `model()` makes the checked ModelProto."""

    def __init__(self, name, family, opset, domains=None):
        self.name = name
        self.family = family
        self.domains = {"": opset, **(domains or {})}
        self.nodes = []
        self.weights = {}
        self.inputs = []
        self.outputs = []
        self.counts = {}

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name, shape, dtype=TensorProto.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def constant(self, name, values, dtype=np.float32):
        """An initializer with these values; asking twice for one name gives the same one."""
        if name not in self.weights:
            array = np.asarray(values, dtype=dtype)
            self.weights[name] = numpy_helper.from_array(array, name)
        return name

    def random(self, name, shape, scale=1.0, shift=0.0):
        """An initializer of shift + scale * normal(0, 1)."""
        if name not in self.weights:
            seed = [zlib.crc32(self.family.encode()), zlib.crc32(name.encode())]
            values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
            values *= np.float32(scale)
            values += np.float32(shift)
            self.weights[name] = numpy_helper.from_array(values, name)
        return name

    def uniform(self, name, shape, low, high):
        """An initializer uniform in [low, high)."""
        if name not in self.weights:
            seed = [zlib.crc32(self.family.encode()), zlib.crc32(name.encode())]
            values = np.random.default_rng(seed).random(shape, dtype=np.float32)
            values *= np.float32(high - low)
            values += np.float32(low)
            self.weights[name] = numpy_helper.from_array(values, name)
        return name

    def op(self, kind, inputs, name=None, outputs=1, **attributes):
        """Adds a node. Its value is called `name`, or a numbered name of its kind; several outputs
        get `.0`, `.1` behind it (or the given list of names) and come back as a list."""
        if name is None:
            number = self.counts.get(kind, 0)
            self.counts[kind] = number + 1
            name = f"{kind.lower()}_{number}"
        if isinstance(outputs, list):
            values = outputs
        elif outputs == 1:
            values = [name]
        else:
            values = [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, values, name=f"{name}_{kind}",
                                           **attributes))
        return values[0] if outputs == 1 else values

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs,
                                  list(self.weights.values()))
        opsets = [helper.make_opsetid(*pair) for pair in self.domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="quern-bench",
                                  ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def add_intermediates(model):
    """Adds every floating-point inner value of the main graph as an output; returns their names.

    A value that is an output must be materialised, so this also takes fusion apart: it tests the
    operators one by one, the model without it tests the fused kernels."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {v.name: v for v in inferred.graph.value_info}
    present = {v.name for v in model.graph.output}
    added = []
    for node in model.graph.node:
        for name in node.output:
            info = known.get(name)
            if not name or name in present or info is None:
                continue
            if info.type.tensor_type.elem_type in FLOATS:
                model.graph.output.append(info)
                added.append(name)
    return added

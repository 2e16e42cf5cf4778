"""Makes histogram.onnx, the model of custom_operator.c: y = Relu(x), h = Histogram(y), z = h + h, where
Histogram is of no ONNX domain. Needs the onnx package: python3 histogram.py"""

import os

from onnx import TensorProto, checker, helper

HERE = os.path.dirname(os.path.abspath(__file__))
nodes = [
    helper.make_node("Relu", ["x"], ["y"], name="relu"),
    helper.make_node("Histogram", ["y"], ["h"], name="histogram", domain="org.example", bins=4,
                     limit=8.0),
    helper.make_node("Add", ["h", "h"], ["z"], name="twice"),
]
graph = helper.make_graph(
    nodes, "histogram",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
    [helper.make_tensor_value_info("z", TensorProto.INT64, [4])])
model = helper.make_model(graph, producer_name="quern-examples", ir_version=10, opset_imports=[
    helper.make_opsetid("", 21), helper.make_opsetid("org.example", 1)])
checker.check_model(model)
with open(os.path.join(HERE, "histogram.onnx"), "wb") as file:
    file.write(model.SerializeToString())

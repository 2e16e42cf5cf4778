#!/usr/bin/env python3
"""Compares quern's outputs with a reference's on one model and the same inputs.

References: onnxruntime (ort, float32), the onnx package's own evaluator (onnx, float32; slow, but
always there), and that evaluator on the model with every float32 made float64 (float64).
The error of an output is max |quern - reference| over the root mean square of the reference (a
plain maximum where the reference is zero); integer and boolean outputs must be equal. With
--intermediates every floating-point inner value is compared too (which takes fusion apart: run it
without as well). Exit status: 0 all within the threshold, 1 not, 2 could not compare.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "models"))

import onnx  # noqa: E402

from onnx import TensorProto, numpy_helper  # noqa: E402

from builder import add_intermediates  # noqa: E402
from feeds import make_feeds  # noqa: E402


def parse_dims(pairs):
    dims = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not name or not number.isdigit():
            raise SystemExit(f"compare: --dim takes SYMBOL=NUMBER, not '{pair}'")
        dims[name] = int(number)
    return dims


def widened(model):
    """A copy of the model with float64 wherever it said float32."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)

    def widen_graph(graph):
        for tensor in graph.initializer:
            widen_tensor(tensor)
        for value in [*graph.input, *graph.output, *graph.value_info]:
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.elem_type = TensorProto.DOUBLE
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    widen_tensor(attribute.t)
                if attribute.HasField("g"):
                    widen_graph(attribute.g)
                if node.op_type == "Cast" and attribute.name == "to" \
                        and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.DOUBLE

    def widen_tensor(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    widen_graph(wide.graph)
    return wide


def reference(kind, model, path, names, feeds):
    """{output name: array} by the chosen reference; a float64 one is not rounded."""
    if kind == "ort":
        import onnxruntime as ort
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, feeds)))
    from onnx.reference import ReferenceEvaluator
    if kind == "float64":
        model = widened(model)
        feeds = {name: array.astype(np.float64) if array.dtype == np.float32 else array
                 for name, array in feeds.items()}
    return dict(zip(names, ReferenceEvaluator(model).run(names, feeds)))


def quern(options, path, feeds, directory):
    """Runs the tool; its outputs land in `directory` as NAME.npy."""
    command = [options.quern, "run", path, "--fill", "random", "--device", options.device,
               "--threads", str(options.threads), "--output-dir", directory]
    for index, (name, array) in enumerate(feeds.items()):
        file = os.path.join(os.path.dirname(directory), f"input{index}.npy")
        np.save(file, array)
        command += ["--input", f"{name}={file}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=options.timeout)
    if done.returncode != 0:
        print(f"compare: quern ended with status {done.returncode}:\n{done.stdout.strip()}",
              file=sys.stderr)
        sys.exit(2)


def error(expected, actual):
    """The error of one output, or a message when the two cannot be equal."""
    if expected.shape != actual.shape:
        return f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    both = (expected.dtype, actual.dtype)
    if both[0] != both[1] and both != (np.float64, np.float32):  # the latter: a widened reference
        return f"type {actual.dtype}, expected {expected.dtype}"
    if not np.issubdtype(expected.dtype, np.floating):
        wrong = int((expected != actual).sum())
        return f"{wrong} of {expected.size} elements differ" if wrong else 0.0
    want, have = expected.astype(np.float64), actual.astype(np.float64)
    odd = ~np.isfinite(want)
    same = np.array_equal(want[odd], have[odd], equal_nan=True)
    if not same or not np.isfinite(have[~odd]).all():
        return "infinities or NaNs in other places"
    want, have = want[~odd], have[~odd]
    if want.size == 0:
        return 0.0
    norm = float(np.sqrt(np.mean(want * want)))
    return float(np.abs(want - have).max()) / (norm if norm > 0 else 1.0)


def save_test(model, feeds, expected, folder):
    """The model, its inputs and the reference's outputs, in the form that `quern check` takes."""
    data = os.path.join(folder, "test_data_set_0")
    os.makedirs(data, exist_ok=True)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    for kind, values in (("input", feeds), ("output", expected)):
        for index, (name, array) in enumerate(values.items()):
            with open(os.path.join(data, f"{kind}_{index}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(np.asarray(array), name).SerializeToString())


def compare(options):
    model = onnx.load(options.model)
    path = options.model
    feeds = make_feeds(model, parse_dims(options.dim), options.seed)
    for item in options.input:
        name, _, file = item.partition("=")
        if name not in feeds:
            raise SystemExit(f"compare: the model has no input '{name}'")
        feeds[name] = np.load(file)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="quern-compare-") as temporary:
        if options.intermediates:
            add_intermediates(model)
            path = os.path.join(temporary, "intermediates.onnx")
            onnx.save(model, path)
        names = [v.name for v in model.graph.output]
        expected = reference(options.reference, model, path, names, feeds)
        if options.save:
            save_test(model, feeds, expected, options.save)
            return 0
        del model
        directory = os.path.join(temporary, "outputs")
        os.mkdir(directory)
        quern(options, path, feeds, directory)
        print(f"{options.model}: {len(names)} outputs against {options.reference}, "
              f"threshold {options.threshold:g}")
        worst = 0.0
        for name in names:
            file = os.path.join(directory, name + ".npy")
            result = error(expected[name], np.load(file)) if os.path.exists(file) else "not written"
            wrong = isinstance(result, str) or not result <= options.threshold
            bad += wrong
            if not isinstance(result, str):
                worst = max(worst, result)
            if wrong or options.verbose or len(names) <= 32:
                text = result if isinstance(result, str) else f"{result:.3e}"
                word = "BAD " if wrong else "ok  "
                print(f"  {word} {name} {list(expected[name].shape)}: {text}")
    print(f"{'FAILED' if bad else 'passed'}: {len(names) - bad} of {len(names)} outputs within "
          f"the threshold, worst error {worst:.3e}")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"),
                        help="the tool (build/tools/quern)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reference", choices=("ort", "onnx", "float64"), default="ort",
                        help="what to compare with (ort)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=1e-4,
                        help="largest error over the norm (1e-4)")
    parser.add_argument("--save", metavar="FOLDER",
                        help="run nothing: write model, inputs and reference as a test folder")
    parser.add_argument("--intermediates", action="store_true", help="compare inner values too")
    parser.add_argument("--dim", action="append", default=[], metavar="SYMBOL=N",
                        help="size of a symbolic dim (else 1)")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy",
                        help="an input's values; the others are random")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for quern (600)")
    parser.add_argument("-v", "--verbose", action="store_true", help="every output's error")
    options = parser.parse_args()
    if not os.path.isfile(options.model):
        print(f"compare: no file {options.model}", file=sys.stderr)
        return 2
    if not os.access(options.quern, os.X_OK):
        print(f"compare: no tool at {options.quern}; build it or give --quern", file=sys.stderr)
        return 2
    try:
        return compare(options)
    except subprocess.TimeoutExpired:
        print(f"compare: quern took more than {options.timeout:g} s", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

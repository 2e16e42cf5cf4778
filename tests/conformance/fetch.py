#!/usr/bin/env python3
"""Lays out the official ONNX backend tests as folders for `quern check`.

    DIR/KIND/test_NAME/model.onnx
    DIR/KIND/test_NAME/test_data_set_0/{input,output}_N.pb

KIND is node, simple, pytorch-converted, pytorch-operator or real. The onnx package carries all of
them up to version 1.22; later ones make the node tests from code, which is run here instead. The
`real` tests are the package's light models: their input is a ramp, as the official runner makes it.
Nothing is fetched from anywhere else. A finished layout of the same package is left as it is.
"""

import argparse
import json
import os
import shutil
import sys

import numpy as np
import onnx
from onnx import numpy_helper

COPIED = ("simple", "pytorch-converted", "pytorch-operator")


def package_data():
    return os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")


def save(message, path):
    with open(path, "wb") as file:
        file.write(message.SerializeToString(deterministic=True))


def to_proto(value, kind, name):
    """A test value as the protobuf its graph type asks for."""
    if hasattr(value, "SerializeToString"):
        return value
    field = kind.WhichOneof("value")
    if field == "sequence_type":
        return numpy_helper.from_list(value, name)
    if field == "optional_type":
        return numpy_helper.from_optional(value, name)
    if field == "map_type":
        return numpy_helper.from_dict(value, name)
    return numpy_helper.from_array(np.asarray(value), name)


def copy_kind(kind, directory):
    source = os.path.join(package_data(), kind)
    names = sorted(n for n in os.listdir(source)
                   if os.path.isfile(os.path.join(source, n, "model.onnx")))
    for name in names:
        shutil.copytree(os.path.join(source, name), os.path.join(directory, kind, name))
    return len(names)


def make_nodes(directory):
    """The node tests from the package's own code."""
    from onnx.backend.test.loader import load_model_tests
    with np.errstate(all="ignore"):  # the cases overflow and divide by zero on purpose
        cases = load_model_tests(kind="node")
    for case in cases:
        folder = os.path.join(directory, "node", case.name)
        os.makedirs(folder)
        save(case.model, os.path.join(folder, "model.onnx"))
        graph = case.model.graph
        for number, (inputs, outputs) in enumerate(case.data_sets):
            data = os.path.join(folder, f"test_data_set_{number}")
            os.makedirs(data)
            for word, values, infos in (("input", inputs, graph.input),
                                        ("output", outputs, graph.output)):
                for index, value in enumerate(values):
                    info = infos[index]
                    save(to_proto(value, info.type, info.name),
                         os.path.join(data, f"{word}_{index}.pb"))
    return len(cases)


def make_real(directory):
    """The light models: structure of the zoo's, a ramp as input, the stored output."""
    source = os.path.join(package_data(), "real")
    names = sorted(n for n in os.listdir(source)
                   if os.path.isfile(os.path.join(source, n, "data.json")))
    for name in names:
        with open(os.path.join(source, name, "data.json"), encoding="utf-8") as file:
            url = json.load(file)["url"]
        stem = os.path.join(package_data(), "light", os.path.basename(url)[:-len(".onnx")])
        data = os.path.join(directory, "real", name, "test_data_set_0")
        os.makedirs(data)
        shutil.copy(os.path.join(source, name, "data.json"), os.path.dirname(data))
        shutil.copy(stem + ".onnx", os.path.join(os.path.dirname(data), "model.onnx"))
        shutil.copy(stem + "_output_0.pb", os.path.join(data, "output_0.pb"))
        graph = onnx.load(stem + ".onnx").graph
        given = {t.name for t in graph.initializer}
        inputs = [v for v in graph.input if v.name not in given]
        for index, info in enumerate(inputs):
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            ramp = (np.arange(count).reshape(shape) / count).astype(np.float32)
            save(numpy_helper.from_array(ramp, info.name),
                 os.path.join(data, f"input_{index}.pb"))
    return len(names)


def lay_out(directory):
    """Fills an empty directory; {kind: number of tests}."""
    counts = {}
    if os.path.isdir(os.path.join(package_data(), "node")):
        counts["node"] = copy_kind("node", directory)
    else:
        counts["node"] = make_nodes(directory)
    for kind in COPIED:
        counts[kind] = copy_kind(kind, directory)
    counts["real"] = make_real(directory)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("directory", nargs="?", default=os.path.join(root, "build", "onnx-tests"),
                        help="where the folders go (build/onnx-tests)")
    options = parser.parse_args()
    directory = os.path.abspath(options.directory)
    stamp = os.path.join(directory, "stamp.json")
    if os.path.isfile(stamp):
        with open(stamp, encoding="utf-8") as file:
            old = json.load(file)
        if old.get("onnx") == onnx.__version__:
            print(f"{directory}: tests of onnx {onnx.__version__} are there: {old['tests']}")
            return 0
    elif os.path.isdir(directory) and os.listdir(directory):
        print(f"fetch: {directory} holds something else; give an empty folder", file=sys.stderr)
        return 1
    # Filled beside and renamed, so that a stopped run leaves nothing that looks finished.
    partial = directory + ".part"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    counts = lay_out(partial)
    with open(os.path.join(partial, "stamp.json"), "w", encoding="utf-8") as file:
        json.dump({"onnx": onnx.__version__, "tests": counts}, file)
    shutil.rmtree(directory, ignore_errors=True)
    os.rename(partial, directory)
    print(f"{directory}: tests of onnx {onnx.__version__}: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Copies a folder of tests with every dim of every input open: a symbol each, of its own.

What results is run by `quern check --generic`: shapes are known in the run only, and nothing says
which dims are equal. Left out are tests whose inputs have dims of 0 (an open dim is at least 1),
random numbers, which depend on what is known when compiling, and expected values that are an error
of rounding (ROUNDED). Data is linked, not copied.
"""

import argparse
import glob
import os
import shutil
import sys

import onnx

# The imaginary part of the middle of these spectra is 0; 1.9e-7 is expected, more than the tolerance
# from 0: float32 rounding in one order of summing, which a transform of unknown length does not have.
ROUNDED = {"test_dft_inverse", "test_dft_inverse_opset19"}
RANDOM = {"Dropout", "Bernoulli", "RandomNormalLike", "RandomUniformLike"}


def open_model(model):
    """Opens the dims in place; whether there were any, and none of them 0."""
    found = False
    for number, value in enumerate(model.graph.input):
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.WhichOneof("value") != "dim_value":
                continue
            if dim.dim_value == 0:
                return False
            dim.ClearField("dim_value")
            dim.dim_param = f"s{number}_{axis}"
            found = True
    for value in model.graph.output:
        if value.type.WhichOneof("value") == "tensor_type":
            for dim in value.type.tensor_type.shape.dim:
                dim.ClearField("dim_value")
                dim.ClearField("dim_param")
    del model.graph.value_info[:]
    return found and not any(node.op_type in RANDOM for node in model.graph.node)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("source", help="a folder of tests")
    parser.add_argument("target", help="where the copies go; replaced when it is there")
    options = parser.parse_args()
    partial = options.target + ".part"
    shutil.rmtree(partial, ignore_errors=True)
    for path in sorted(glob.glob(os.path.join(options.source, "*", "model.onnx"))):
        name = os.path.basename(os.path.dirname(path))
        model = onnx.load(path)
        if name in ROUNDED or not open_model(model):
            continue
        folder = os.path.join(partial, name)
        os.makedirs(folder)
        onnx.save(model, os.path.join(folder, "model.onnx"))
        for data in glob.glob(os.path.join(os.path.dirname(path), "test_data_set_*")):
            os.symlink(os.path.abspath(data), os.path.join(folder, os.path.basename(data)))
    shutil.rmtree(options.target, ignore_errors=True)
    os.rename(partial, options.target)
    print(f"{options.target}: {len(os.listdir(options.target))} tests with open dims")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Writes the benchmark models: real structures, random weights from fixed seeds.

Each file is self-contained ONNX. The weights are scaled so that values stay of order 1 through the
whole depth and no denormals appear. --small writes cousins of the same structure with few channels
and layers (NAME_small.onnx, under 200 KB each), for tests.
"""

import argparse
import os
import sys

import classic
import decoder
import language
import vision
from builder import add_intermediates

MODELS = {
    "resnet50": vision.resnet50,
    "mobilenet": vision.mobilenet,
    "mlp_tiny": vision.mlp_tiny,
    "bert_base": language.bert_base,
    "bert_base_decomposed": language.bert_base_decomposed,
    "bert_dynamic": language.bert_dynamic,
    "gpt2_step": language.gpt2_step,
    "llama": decoder.llama,
    "lstm": language.lstm,
    "trees": classic.trees,
    "topk": classic.topk,
}


def write(name, directory, small, intermediates):
    stem = name + ("_small" if small else "") + ("_intermediates" if intermediates else "")
    model = MODELS[name](name, small)
    if intermediates:
        add_intermediates(model)
    path = os.path.join(directory, stem + ".onnx")
    # A reader never sees half a model: written beside, then renamed.
    partial = f"{path}.{os.getpid()}.part"
    data = model.SerializeToString(deterministic=True)
    with open(partial, "wb") as file:
        file.write(data)
    os.replace(partial, path)
    print(f"{path}: {len(data) / 1e6:.2f} MB, {len(model.graph.node)} nodes, "
          f"{len(model.graph.output)} outputs", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog="models: " + " ".join(MODELS))
    parser.add_argument("directory", help="where the files go; made when missing")
    parser.add_argument("--only", action="append", choices=MODELS, metavar="NAME",
                        help="this model only (may be given several times)")
    parser.add_argument("--small", action="store_true", help="the small cousins, for tests")
    parser.add_argument("--intermediates", action="store_true",
                        help="make every floating-point inner value an output, for comparing")
    options = parser.parse_args()
    os.makedirs(options.directory, exist_ok=True)
    for name in options.only or MODELS:
        write(name, options.directory, options.small, options.intermediates)
    return 0


if __name__ == "__main__":
    sys.exit(main())

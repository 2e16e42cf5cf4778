#!/usr/bin/env python3
"""Compares quern's outputs with onnxruntime's (float32) on one model and the same inputs.

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


def reference(path, names, feeds):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feeds)))


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
    if expected.dtype != actual.dtype:
        return f"type {actual.dtype}, expected {expected.dtype}"
    if not np.issubdtype(expected.dtype, np.floating):
        wrong = int((expected != actual).sum())
        return f"{wrong} of {expected.size} elements differ" if wrong else 0.0
    want, have = expected.astype(np.float64), actual.astype(np.float64)
    odd = ~np.isfinite(want)
    if not np.array_equal(want[odd], have[odd], equal_nan=True) or not np.isfinite(have[~odd]).all():
        return "infinities or NaNs in other places"
    want, have = want[~odd], have[~odd]
    if want.size == 0:
        return 0.0
    norm = float(np.sqrt(np.mean(want * want)))
    return float(np.abs(want - have).max()) / (norm if norm > 0 else 1.0)


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
        del model
        expected = reference(path, names, feeds)
        directory = os.path.join(temporary, "outputs")
        os.mkdir(directory)
        quern(options, path, feeds, directory)
        print(f"{options.model}: {len(names)} outputs, threshold {options.threshold:g}")
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
                print(f"  {'BAD ' if wrong else 'ok  '} {name} {list(expected[name].shape)}: {text}")
    print(f"{'FAILED' if bad else 'passed'}: {len(names) - bad} of {len(names)} outputs within "
          f"the threshold, worst error {worst:.3e}")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"),
                        help="the tool (build/tools/quern)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=1e-4,
                        help="largest error over the norm (1e-4)")
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

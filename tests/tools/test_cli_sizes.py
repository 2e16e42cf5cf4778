#!/usr/bin/env python3
"""Sizes on the command line, in --dim, --shape and files: said twice they have to agree; sizes of
0; sequences, whose length is a shape and whose elements are inputs.

usage: test_cli_sizes.py QUERN. Python's standard library only.
"""

import struct

import tiny_onnx as t
import tool_case
from tool_case import Case, quern

PAIR = t.model(t.graph([t.node("Relu", ["a"], ["y"]), t.node("Relu", ["b"], ["z"])],
                       [t.value("a", ["N", 3]), t.value("b", ["N", "M"])],
                       [t.value("y", ["N", 3]), t.value("z", ["N", "M"])]))


JOIN = t.model(t.graph([t.node("ConcatFromSequence", ["x"], ["y"], axis=0)],
                       [t.typed("x", t.sequence_type(t.piece(1, t.number(1, t.F32))))],
                       [t.value("y", ["n"])]))


def npy(values):
    """A .npy file of floats of one dim."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(values)},), }}".ljust(69) + "\n"
    return b"\x93NUMPY\x01\x00\x46\x00" + head.encode() + struct.pack(f"<{len(values)}f", *values)


class Sizes(Case):
    def setUp(self):
        super().setUp()
        self.pair = self.path("pair.onnx", PAIR)

    def run_pair(self, *arguments):
        return ("run", self.pair, "--fill", "zeros", "--no-cache", *arguments)

    def test_twice(self):
        for option, first, second in (("--dim", "N=2", "N=3"), ("--shape", "a=2x3", "a=9x9"),
                                      ("--shape", "a=2x3", "a=2x3x1")):
            for verb in ("run", "bench", "inspect"):
                self.refused(2, [f"{option} {first}", f"{option} {second}"], verb, self.pair, option,
                             first, option, second)
        status, out, err = quern(*self.run_pair("--dim", "N=2", "--dim", "N=2", "--dim", "M=1", "--shape",
                                                "a=2x3", "--shape", "a=2x3", "--shape", "b=2x1"))
        self.assertEqual((status, err), (0, ""))
        self.assertIn("y f32[2,3]", out)

    def test_contradictions(self):
        pack = self.path("p.qnp")
        for extra in ([], ["--generic"]):
            self.refused(1, ["'a'", "'N', is 3", "--dim says 2"],
                         *self.run_pair("--dim", "N=2", "--dim", "M=1", "--shape", "a=3x3", *extra))
            self.refused(1, ["'b'", "2", "4", "'N'"],
                         *self.run_pair("--shape", "a=2x3", "--shape", "b=4x1", *extra))
        self.refused(1, ["is 2, --dim says 5"], "prewarm", self.pair, "--shape", "a=2x3", "--dim", "N=5",
                     "-o", pack)
        given = self.path("a.npy", npy([1, 2, 3]))
        self.refused(1, ["its value is f32[3], --shape says f32[2,3]"],
                     *self.run_pair("--dim", "M=1", "--shape", "a=2x3", "--input", f"a={given}"))

    def test_again_in_prewarm(self):
        """There a size given again is one of another program."""
        status, out, err = quern("prewarm", self.pair, "--dim", "M=1", "--dim", "N=0", "--dim", "N=2",
                                 "-o", self.path("p.qnp"))
        self.assertEqual((status, err), (0, ""))
        self.assertIn("2 programs", out)
        for n in (0, 2):
            status, out, err = quern(*self.run_pair("--pack", self.path("p.qnp"), "--dim", f"N={n}",
                                                    "--dim", "M=1"))
            self.assertEqual((status, err), (0, ""))
            self.assertIn(f"y f32[{n},3]", out)

    def test_nothing(self):
        """--dim N=0 is what --shape with 0 is."""
        sizes = ["--dim", "N=0", "--dim", "M=2"]
        status, out, err = quern(*self.run_pair(*sizes))
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "y f32[0,3]:\nz f32[0,2]:\n")
        self.refused(1, ["'N', is 0", "left open", "at least 1"], *self.run_pair(*sizes, "--generic"))
        self.refused(1, ["'M'", "--dim M=N"], *self.run_pair("--dim", "N=0"))
        for line in (["bench", "--duration", "0.01"], ["inspect"], ["export", "-o", self.path("e.qn")]):
            status, _, err = quern(line[0], self.pair, *sizes, *line[1:])
            self.assertEqual((status, err), (0, ""), line)


class Weights(Case):
    """A weight that is listed as an input too is none, and the message says what it is."""

    def test_named(self):
        weight = t.tensor("w", [3], struct.pack("<3f", 1, 2, 3))
        path = self.path("w.onnx", t.model(t.graph(
            [t.node("Add", ["x", "w"], ["y"])], [t.value("x", [3]), t.value("w", [3])],
            [t.value("y", [3])], [weight])))
        for given in (["--input", "w=w.npy"], ["--shape", "w=3"]):
            self.refused(1, ["no input 'w'", "it is a weight, with a value"], "run", path, "--fill",
                         "zeros", *given)


class Sequences(Case):
    """A refusal says what is missing; what it asks for can be given."""

    def setUp(self):
        super().setUp()
        self.join = self.path("join.onnx", JOIN)
        self.first = "x[0]=" + self.path("a.npy", npy([1, 2, 3]))
        self.second = "x[1]=" + self.path("b.npy", npy([4, 5]))

    def test_shapes(self):
        line = ["run", self.join, "--fill", "zeros"]
        self.refused(1, ["'x' is a sequence", "length", "shape of one dim"], *line)
        line += ["--shape", "x=2"]
        self.refused(1, ["'x[0]' has no shape"], *line)
        line += ["--shape", "x[0]=3", "--shape", "x[1]=2"]
        self.assertEqual(quern(*line), (0, "y f32[5]: 0 0 0 0 0\n", ""))
        self.assertIn("of a sequence its length", quern("run", "--help")[1])

    def test_values(self):
        line = ["run", self.join, "--input", self.first, "--input", self.second]
        self.assertEqual(quern(*line, "--shape", "x=2"), (0, "y f32[5]: 1 2 3 4 5\n", ""))
        self.refused(1, ["value for 'x[1]'", "no input"], *line, "--shape", "x=1")
        self.refused(1, ["'x[2]' has no"], *line, "--shape", "x=3")
        self.refused(1, ["two values", "x[0]"], *line, "--input", self.first)
        self.refused(1, ["no input 'x]'"], *line, "--input", "x]=f.npy")
        self.refused(1, ["no input 'x[0'"], *line, "--shape", "x[0=3")


if __name__ == "__main__":
    tool_case.main()

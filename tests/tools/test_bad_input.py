#!/usr/bin/env python3
"""Models and surroundings that are wrong: each gives a message that names file, node, operator and
what to do, a status that is not zero, no crash, and nothing written.

usage: test_bad_input.py QUERN. Python's standard library only.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import tiny_onnx as t

HERE = os.path.dirname(os.path.abspath(__file__))
DIGITS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "examples", "digits", "digits.onnx")
QUERN = None
X = t.value("x", [2, 3])
Y = t.value("y", [2, 3])


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quern-bad-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.cache = os.path.join(self.folder, "cache")
        self.out = os.path.join(self.folder, "out")

    def save(self, data, name="model.onnx"):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def run_model(self, path, *options, tool=None, env=None):
        """(status, output, error) of a run with zeros."""
        done = subprocess.run(
            [tool or QUERN, "run", path, "--fill", "zeros", "--cache-dir", self.cache,
             "--output-dir", self.out, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            timeout=120, env={**os.environ, **(env or {})}, check=False)
        return done.returncode, done.stdout, done.stderr

    def refuse(self, data, *words, options=()):
        """The model is refused with a message that has all the words, and leaves nothing behind."""
        path = self.save(data)
        status, _, err = self.run_model(path, *options)
        self.assertEqual(status, 1, err)
        for word in (os.path.basename(path), *words):
            self.assertIn(word, err)
        self.assertFalse(os.path.exists(self.out))
        self.assertEqual([f for _, _, files in os.walk(self.cache) for f in files], [])
        return err


class Damaged(Case):
    """Never a signal, never an output of a refused model."""

    def check(self, data):
        path = self.save(data)
        status, _, err = self.run_model(path, "--dim", "N=1", "--no-cache")
        self.assertIn(status, (0, 1), err)
        if status:
            self.assertIn(path, err)
            self.assertFalse(os.path.exists(self.out))
        shutil.rmtree(self.out, ignore_errors=True)
        return status

    def test_truncated(self):
        data = read(DIGITS)
        chance = random.Random(1)
        for length in [0, 1, 7, len(data) - 1, *(chance.randrange(len(data)) for _ in range(24))]:
            with self.subTest(length=length):
                self.assertEqual(self.check(data[:length]), 1)

    def test_flipped(self):
        data = bytearray(read(DIGITS))
        chance = random.Random(2)
        # Most of the file is weights; what says something is at its ends.
        places = [chance.randrange(2000) for _ in range(24)]
        places += [len(data) - 1 - chance.randrange(2000) for _ in range(24)]
        for place in places:
            flip = 1 << chance.randrange(8)
            data[place] ^= flip
            with self.subTest(place=place, flip=flip):
                self.check(bytes(data))
            data[place] ^= flip


class Wrong(Case):
    def test_shapes(self):
        body = t.graph([t.node("MatMul", ["x", "w"], ["y"], "fc1")], [X], [Y],
                       [t.tensor("w", [4, 5], bytes(80))])
        self.refuse(t.model(body), "node 'fc1' (MatMul)", "[2, 3]", "[4, 5]")

    def test_attribute(self):
        body = t.graph([t.node("Softmax", ["x"], ["y"], "soft", axis=7)], [X], [Y])
        self.refuse(t.model(body), "node 'soft' (Softmax)", "axis", "7")
        body = t.graph([t.node("Transpose", ["x"], ["y"], "turn", perm="no")], [X], [Y])
        self.refuse(t.model(body), "node 'turn' (Transpose)", "'perm'")

    def test_all_unknown_operators_at_once(self):
        nodes = [t.node("Blur", ["x"], ["a"], "n1"),
                 t.node("Relu", ["a"], ["b"], "n2"),
                 t.node("Sharpen", ["b"], ["c"], "n3", domain="org.example"),
                 t.node("Smear", ["c"], ["y"], "n4")]
        nodes += [t.node("Blur", ["x"], [f"b{i}"]) for i in range(100)]
        body = t.graph(nodes, [X], [Y])
        err = self.refuse(t.model(body, [("", 19), ("org.example", 4)]), "'Blur'", "'Sharpen'",
                          "'Smear'", "org.example", "opset 19", "opset 4", "3 problems",
                          "qn_custom_operator")
        self.assertNotIn("Relu", err)

    def test_operator_of_a_later_version(self):
        body = t.graph([t.node("HardSwish", ["x"], ["y"], "act")], [X], [Y])
        self.refuse(t.model(body, [("", 13)]), "node 'act' (HardSwish)", "opset 13", "from opset 14 on")

    def test_cycle(self):
        nodes = [t.node("Add", ["x", "b"], ["a"], "first"), t.node("Relu", ["a"], ["b"], "second")]
        self.refuse(t.model(t.graph(nodes, [X], [t.value("b", [2, 3])])), "node 'first' (Add)",
                    "'b'")

    def external(self, location, length="24", offset="0"):
        tensor = t.tensor("w", [2, 3],
                          external={"location": location, "offset": offset, "length": length})
        return t.model(t.graph([t.node("Add", ["x", "w"], ["y"], "n")], [X], [Y], [tensor]))

    def test_external_data_that_escapes(self):
        inner = os.path.join(self.folder, "inner")
        os.mkdir(inner)
        self.save(bytes(24), "secret.bin")
        os.symlink(os.path.join(self.folder, "secret.bin"), os.path.join(inner, "link.bin"))
        for location in ("../secret.bin", os.path.join(self.folder, "secret.bin"),
                         "a/../../secret.bin", "link.bin"):
            with self.subTest(location=location):
                path = self.save(self.external(location), "inner/model.onnx")
                status, _, err = self.run_model(path)
                self.assertEqual(status, 1, err)
                self.assertIn(path, err)
                self.assertIn(os.path.basename(location), err)
                self.assertFalse(os.path.exists(self.out))

    def test_external_data_that_is_not_there(self):
        self.refuse(self.external("gone.bin"), "gone.bin")
        self.save(bytes(24), "here.bin")
        self.refuse(self.external("here.bin", length="10000000000"), "'w'", "10000000000", "24")
        self.refuse(self.external("here.bin", offset="9223372036854775807"), "'w'", "offset")
        self.refuse(self.external("here.bin", offset="40000000000"), "'w'", "here.bin")
        self.refuse(self.external("here.bin", length="-1"), "'w'", "length")

    def test_overflowing_dims(self):
        add = [t.node("Add", ["x", "w"], ["y"], "n")]
        body = t.graph(add, [X], [Y], [t.tensor("w", [1 << 62, 1 << 62], bytes(24))])
        self.refuse(t.model(body), "'w'")
        body = t.graph(add, [X], [Y], [t.tensor("w", [-2, 3], bytes(24))])
        self.refuse(t.model(body), "'w'")
        shape = t.tensor("s", [2], (1 << 62).to_bytes(8, "little") * 2, t.I64)
        body = t.graph([t.node("Expand", ["x1", "s"], ["y"], "wide")], [t.value("x1", [1, 1])],
                       [t.value("y", ["a", "b"])], [shape])
        self.refuse(t.model(body), "node 'wide' (Expand)")

    def test_tensor_larger_than_its_file(self):
        """10 GB, says a file of a few hundred bytes."""
        body = t.graph([t.node("Add", ["x", "w"], ["y"], "n")], [X], [Y],
                       [t.tensor("w", [2500000000], bytes(4))])
        data = t.model(body)
        self.assertLess(len(data), 1024)
        self.refuse(data, "'w'")

    def test_result_without_memory(self):
        """An output of 4 PB: refused with a message, not by the system."""
        shape = t.tensor("s", [1], (1 << 50).to_bytes(8, "little"), t.I64)
        body = t.graph([t.node("Expand", ["x1", "s"], ["y"], "wide")], [t.value("x1", [1])],
                       [t.value("y", ["a"])], [shape])
        path = self.save(t.model(body))
        status, _, err = self.run_model(path, "--no-cache")
        self.assertEqual(status, 1, err)
        self.assertRegex(err, "memory|bytes|overflow|large")
        self.assertFalse(os.path.exists(self.out))

    def test_nesting(self):
        inner = t.graph([t.node("Relu", ["x"], ["y"], "leaf")], [], [Y])
        for _ in range(1000):
            inner = t.graph([t.node("If", ["c"], ["y"], "if", then_branch=inner,
                                    else_branch=t.graph([t.node("Relu", ["x"], ["y"])], [], [Y]))],
                            [], [Y])
        data = t.model(inner)
        self.refuse(data, "deep")

    def test_good(self):
        """What all of these are variations of runs."""
        body = t.graph([t.node("Add", ["x", "w"], ["y"], "n")], [X], [Y],
                       [t.tensor("w", [2, 3], bytes(24))])
        status, _, err = self.run_model(self.save(t.model(body)))
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(os.listdir(self.out))
        self.assertTrue([f for _, _, files in os.walk(self.cache) for f in files])


def ints(name, *values):
    return t.tensor(name, [len(values)], b"".join(v.to_bytes(8, "little", signed=True)
                                                  for v in values), t.I64)


class Bombs(Case):
    """Files of a few kilobytes that ask for much more: refused at once, or compiled in time that
    their length bounds."""

    LIMIT = 20  # seconds; each takes well below one on an idle machine

    def compile(self, body):
        path = self.save(t.model(body))
        done = subprocess.run(
            [QUERN, "export", path, "-o", os.path.join(self.folder, "out.qn"), "--no-cache"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=self.LIMIT, check=False)
        return done.returncode, done.stderr

    def chain(self, length, make):
        """A model of one input [4] and `length` nodes, each made from the name of the one before."""
        names = ["x", *(f"v{i}" for i in range(1, length)), "y"]
        nodes = [make(before, after, i) for i, (before, after) in enumerate(zip(names, names[1:]))]
        return t.graph(nodes, [t.value("x", [4])], [t.value("y", ["a"])])

    def test_doubling(self):
        """Twenty concatenations of a tensor with itself are four million elements, not as many
        values in a kernel."""
        body = self.chain(20, lambda a, b, i: t.node("Concat", [a, a], [b], axis=0))
        self.assertEqual(self.compile(body), (0, ""))

    def test_doubling_beyond_the_numbers(self):
        body = self.chain(70, lambda a, b, i: t.node("Concat", [a, a], [b], f"n{i}", axis=0))
        status, err = self.compile(body)
        self.assertEqual(status, 1)
        self.assertRegex(err, r"node 'n\d+' \(Concat\): concat: size overflows")

    def test_many_views(self):
        nodes, before = [], "x"
        for i in range(200):
            last = "y" if i == 199 else f"v{i}"
            nodes.append(t.node("Reshape", [before, "s2" if i % 2 else "s3"], [f"r{i}"]))
            nodes.append(t.node("Transpose", [f"r{i}"], [last], perm=[1, 0] if i % 2 else [2, 1, 0]))
            before = last
        body = t.graph(nodes, [t.value("x", [6, 4])], [t.value("y", [4, 6])],
                       [ints("s3", 2, 3, 4), ints("s2", 6, 4)])
        self.assertEqual(self.compile(body), (0, ""))

    def test_many_turns(self):
        """Whose indices are quotients and remainders of each other, beyond what is proven."""
        nodes, before = [], "x"
        for i in range(200):
            last = "y" if i == 199 else f"y{i}"
            nodes += [t.node("Reshape", [before, "s3"], [f"r{i}"]),
                      t.node("Transpose", [f"r{i}"], [f"t{i}"], perm=[2, 0, 1]),
                      t.node("Reshape", [f"t{i}", "s2"], [last])]
            before = last
        body = t.graph(nodes, [t.value("x", [6, 4])], [t.value("y", [6, 4])],
                       [ints("s3", 2, 3, 4), ints("s2", 6, 4)])
        self.assertEqual(self.compile(body), (0, ""))

    def test_many_symbolic_joins(self):
        nodes = [t.node("Concat", [f"v{i}" if i else "x", "x"], [f"v{i + 1}" if i < 99 else "y"],
                        axis=0) for i in range(100)]
        body = t.graph(nodes, [t.value("x", ["N"])], [t.value("y", ["M"])])
        self.assertEqual(self.compile(body), (0, ""))

    def test_places_beyond_the_numbers(self):
        """Element counts that fit into 63 bits, of tensors whose bytes do not."""
        wide = t.value("x", [1 << 31, 1 << 31])
        square = t.value("y", ["a", "b"])
        for op, inputs in (("EyeLike", ["x"]), ("MatMul", ["x", "x"]), ("Relu", ["x"])):
            with self.subTest(op=op):
                status, err = self.compile(t.graph([t.node(op, inputs, ["y"], "n")], [wide], [square]))
                self.assertEqual(status, 1, err)
                self.assertIn("size overflows", err)
        body = t.graph([t.node("Pad", ["x", "p"], ["y"], "n")], [t.value("x", [4])],
                       [t.value("y", ["a"])], [ints("p", 1 << 61, 1 << 61)])
        status, err = self.compile(body)
        self.assertEqual(status, 1, err)
        self.assertIn("node 'n' (Pad)", err)

    def test_sizes_given(self):
        body = t.graph([t.node("Relu", ["x"], ["y"], "n")], [t.value("x", ["N"])],
                       [t.value("y", ["N"])])
        err = self.refuse(t.model(body), options=("--dim", "N=9000000000000000000"))
        self.assertIn("size overflows", err)

    def test_functions_of_functions(self):
        """Forty functions that call the one before twice."""
        def function(name, nodes):
            return (t.piece(1, name) + t.piece(4, "a") + t.piece(5, "z") +
                    b"".join(t.piece(7, n) for n in nodes) +
                    b"".join(t.piece(9, t.piece(1, d) + t.number(2, v))
                             for d, v in (("", 21), ("d", 1))) + t.piece(10, "d"))
        functions = [function("f0", [t.node("Relu", ["a"], ["z"])])]
        functions += [function(f"f{k}", [t.node(f"f{k - 1}", ["a"], ["t"], domain="d"),
                                         t.node(f"f{k - 1}", ["t"], ["z"], domain="d")])
                      for k in range(1, 40)]
        body = t.graph([t.node("f39", ["x"], ["y"], domain="d")], [X], [Y])
        data = t.model(body, [("", 21), ("d", 1)]) + b"".join(t.piece(25, f) for f in functions)
        self.refuse(data, "functions are inlined")

    def test_loop_of_sequences(self):
        """What is unrolled has a limit."""
        name = lambda n, dtype: t.piece(1, n) + t.piece(2, t.piece(1, t.number(1, dtype) + t.piece(2, b"")))
        sequence = lambda n: t.piece(1, n) + t.piece(2, t.piece(4, t.piece(1, t.piece(
            1, t.number(1, t.F32) + t.piece(2, t.piece(1, t.number(1, 4)))))))
        body = t.graph([t.node("Identity", ["c"], ["c2"]),
                        t.node("SequenceInsert", ["q", "x"], ["q2"])],
                       [name("i", t.I64), name("c", t.BOOL), sequence("q")],
                       [name("c2", t.BOOL), sequence("q2")])
        nodes = [t.node("SequenceEmpty", [], ["e"]),
                 t.node("Loop", ["m", "", "e"], ["q9"], "long", body=body),
                 t.node("ConcatFromSequence", ["q9"], ["y"], axis=0)]
        trips = t.tensor("m", [], (1 << 60).to_bytes(8, "little"), t.I64)
        self.refuse(t.model(t.graph(nodes, [t.value("x", [4])], [t.value("y", ["a"])], [trips])),
                    "node 'long' (Loop)", "iterations")


class Surroundings(Case):
    def test_garbage_in_the_cache(self):
        """Entries that are damaged, or of other lengths, are misses: the run is as the first."""
        status, _, err = self.run_model(DIGITS, "--dim", "N=1")
        self.assertEqual((status, err), (0, ""))
        results = {name: read(os.path.join(self.out, name)) for name in os.listdir(self.out)}
        entries = [os.path.join(at, f) for at, _, files in os.walk(self.cache) for f in files]
        self.assertTrue(entries)
        kept = {entry: read(entry) for entry in entries}
        chance = random.Random(3)
        for kind in ("empty", "short", "flipped", "noise", "long"):
            for entry, data in kept.items():
                noise = bytes(chance.randrange(256) for _ in range(5000))
                flipped = bytearray(data)
                flipped[chance.randrange(len(data))] ^= 0x10
                with open(entry, "wb") as file:
                    file.write({"empty": b"", "short": data[:len(data) // 2], "noise": noise,
                                "flipped": bytes(flipped), "long": data + noise}[kind])
            with self.subTest(kind=kind):
                status, _, err = self.run_model(DIGITS, "--dim", "N=1")
                self.assertEqual((status, err), (0, ""))
                for name, data in results.items():
                    self.assertEqual(read(os.path.join(self.out, name)), data)

    def test_no_code_generator(self):
        """The tool alone, without libquern_llvm.so: a message that says what is missing."""
        alone = os.path.join(self.folder, "bin", "quern")
        os.mkdir(os.path.dirname(alone))
        shutil.copy(QUERN, alone)
        status, _, err = self.run_model(DIGITS, "--dim", "N=1", tool=alone)
        self.assertEqual(status, 1, err)
        self.assertIn("libquern_llvm.so", err)
        self.assertFalse(os.path.exists(self.out))
        # What was compiled before runs without it.
        self.assertEqual(self.run_model(DIGITS, "--dim", "N=1")[0], 0)
        status, _, err = self.run_model(DIGITS, "--dim", "N=1", tool=alone)
        self.assertEqual((status, err), (0, ""))

    def test_no_opencl(self):
        """No driver: the loader is told to look where there is none."""
        nowhere = {"OCL_ICD_VENDORS": self.folder, "OPENCL_VENDOR_PATH": self.folder,
                   "OCL_ICD_FILENAMES": ""}
        status, _, err = self.run_model(DIGITS, "--dim", "N=1", "--device", "opencl", env=nowhere)
        self.assertEqual(status, 1, err)
        self.assertIn("OpenCL", err)
        self.assertFalse(os.path.exists(self.out))

    def test_no_such_device(self):
        status, _, err = self.run_model(DIGITS, "--dim", "N=1", "--device", "abacus")
        self.assertEqual(status, 1, err)
        self.assertIn("abacus", err)


if __name__ == "__main__":
    QUERN = os.path.abspath(sys.argv.pop(1))
    unittest.main()

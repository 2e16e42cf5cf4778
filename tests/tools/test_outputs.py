#!/usr/bin/env python3
"""Files that the tool writes, and what it prints: what is at the path given, what is left when it
fails, what must not be replaced.

usage: test_outputs.py QUERN. Python's standard library only.
"""

import os
import resource
import stat
import struct
import subprocess

import tiny_onnx as t
import tool_case
from tool_case import Case, npy, quern

RELU = t.model(t.graph([t.node("Relu", ["x"], ["y"])], [t.value("x", [2, 3])],
                       [t.value("y", [2, 3])]))
LARGE = 4096  # elements, beyond what FILE_LIMIT lets through
FILE_LIMIT = 2048  # bytes


def copies(names, sizes=None):
    """A model with an output of each name, number i all i (of size 1 when not said)."""
    sizes = sizes or [1] * len(names)
    nodes = [t.node("Expand", [f"c{i}", f"s{i}"], [name]) for i, name in enumerate(names)]
    tensors = [t.tensor(f"c{i}", [1], struct.pack("<f", i)) for i in range(len(names))]
    tensors += [t.tensor(f"s{i}", [1], struct.pack("<q", size), t.I64)
                for i, size in enumerate(sizes)]
    return t.model(t.graph(nodes, [], [t.value(n, [s]) for n, s in zip(names, sizes)], tensors))


def limited(*arguments, stdout=subprocess.PIPE, closed=(), limit=None):
    """(status, output, error) with descriptors closed, and files no larger than `limit`."""
    def prepare():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for number in closed:
            os.close(number)
    done = subprocess.run([tool_case.QUERN, *arguments], stdout=stdout, stderr=subprocess.PIPE,
                          text=True, timeout=120, preexec_fn=prepare, check=False)
    return done.returncode, done.stdout, done.stderr


class Outputs(Case):
    def setUp(self):
        super().setUp()
        self.model = self.path("relu.onnx", RELU)
        self.out = self.path("out")
        os.mkdir(self.out)

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def left(self):
        return sorted(os.listdir(self.out))

    def writers(self, path, model=None):
        """Command lines that write a file of their own at the path."""
        model = model or self.model
        return (["export", model, "--no-cache", "-o", path],
                ["prewarm", model, "--no-cache", "-o", path],
                ["tune", model, "--budget", "0.1", "-o", path])

    def test_limit_of_file_size(self):
        """A message, nothing left, and a run does not care whether the cache can be written."""
        for line in self.writers(self.path("out/file"))[:2]:
            status, _, err = limited(*line, limit=100)
            self.assertEqual((status, self.left()), (1, []), err)
            self.assertIn("File too large", err)
        status, out, err = limited("run", self.model, "--fill", "zeros", "--cache-dir", self.out,
                                   limit=100)
        self.assertEqual((status, out), (0, "y f32[2,3]: 0 0 0 0 0 0\n"), err)

    def test_standard_output(self):
        """The reason, whoever noticed first that it cannot be written."""
        for line in (["bench", self.model, "--json", "--duration", "0.01"],
                     ["inspect", self.model, "--no-cache"],
                     ["inspect", self.model, "--ir", "llvm"], ["devices"]):
            with self.subTest(line=line), open(self.path("text"), "wb") as file:
                status, _, err = limited(*line, stdout=file, limit=16)
                self.assertEqual(status, 1)
                self.assertIn("standard output: File too large", err)
                status, _, err = limited(*line, closed=[1])
                self.assertEqual(status, 1)
                self.assertIn("standard output: Bad file descriptor", err)

    def test_closed_descriptors(self):
        """Files do not get the numbers of standard streams, whoever left those closed."""
        self.path("test/model.onnx", RELU)
        zeros = t.tensor("x", [2, 3], bytes(24))
        self.path("test/test_data_set_0/input_0.pb", zeros)
        self.path("test/test_data_set_0/output_0.pb", zeros)
        for closed in ([0], [2], [0, 2], [0, 1, 2]):
            with self.subTest(closed=closed):
                status, out, _ = limited("check", self.path("test"), closed=closed)
                self.assertEqual((status, out), (1, "") if 1 in closed else
                                 (0, "passed 1, failed 0, skipped 0\n"))


if __name__ == "__main__":
    tool_case.main()

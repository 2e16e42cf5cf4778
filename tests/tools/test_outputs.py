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

    def test_not_a_regular_file(self):
        """A FIFO, a device and a folder stay what they are, and links stay links."""
        fifo, folder = self.path("out/fifo"), self.path("out/folder")
        os.mkfifo(fifo)
        os.mkdir(folder)
        os.symlink("fifo", self.path("out/to_fifo"))
        os.symlink("gone", self.path("out/to_nothing"))
        cases = {"fifo": "not a regular file", "to_fifo": "not a regular file",
                 "folder": "is a directory", "to_nothing": "symbolic link to what does not exist"}
        try:
            os.mknod(self.path("out/null"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
            cases["null"] = "not a regular file"
        except PermissionError:
            pass
        before = {name: os.lstat(self.path(f"out/{name}")).st_mode for name in self.left()}
        for name, why in cases.items():
            path = self.path(f"out/{name}")
            for line in self.writers(path):
                with self.subTest(verb=line[0], name=name):
                    self.refused(1, [f"quern {line[0]}: {path}: ", why], *line)
            os.symlink(path, self.path("out/y.npy"))
            with self.subTest(verb="run", name=name):
                self.refused(1, ["y.npy: ", why], "run", self.model, "--fill", "zeros",
                             "--no-cache", "--output-dir", self.out)
            os.remove(self.path("out/y.npy"))
            self.assertEqual(before, {n: os.lstat(self.path(f"out/{n}")).st_mode
                                      for n in self.left()})

    def test_link_to_a_file(self):
        """What it points at is replaced; the mode stays; a new file's is the user's wish."""
        old = os.umask(0o027)
        self.addCleanup(os.umask, old)
        os.symlink("real", self.path("out/link"))
        for line in self.writers(self.path("out/link")):
            with self.subTest(verb=line[0]):
                real = self.path("out/real", b"")
                os.chmod(real, 0o604)
                self.assertEqual(quern(*line)[0], 0)
                self.assertTrue(os.path.islink(self.path("out/link")))
                self.assertEqual(os.stat(real).st_mode & 0o777, 0o604)
                self.assertTrue(self.read(real) or line[0] == "tune")
                fresh = self.path(f"out/{line[0]}")
                self.assertEqual(quern(*line[:-1], fresh)[0], 0)
                self.assertEqual(os.stat(fresh).st_mode & 0o777, 0o640)

    def test_tune_leaves_a_file(self):
        """... also when nothing is faster: what is named with -o can be given to --records. The
        message about a place that is not there names what was given."""
        path = self.path("out/r.qnr")
        self.assertEqual(quern(*self.writers(path)[2])[0], 0)
        self.assertEqual(self.left(), ["r.qnr"])
        self.assertEqual(quern("run", self.model, "--fill", "zeros", "--records", path)[0], 0)
        mine = self.path("out/mine.qnr", b"# mine\n")
        self.assertEqual(quern("tune", self.path("copies.onnx", copies(["a"])), "--budget", "0.1", "-o", mine)[0], 0)
        self.assertEqual(self.read(mine), b"# mine\n")
        gone = self.path("gone/r.qnr")
        status, _, err = quern(*self.writers(gone)[2])
        self.assertEqual((status, err), (1, f"quern tune: {gone}: No such file or directory\n"))
        self.assertNotIn("another one of", quern("tune", "--help")[1])

    def test_onto_the_model(self):
        tensor = t.tensor("w", [2, 3], external={"location": "w.bin", "offset": "0",
                                                 "length": "24"})
        body = t.graph([t.node("Add", ["x", "w"], ["y"])], [t.value("x", [2, 3])],
                       [t.value("y", [2, 3])], [tensor])
        model = self.path("out/m.onnx", t.model(body))
        weights = self.path("out/w.bin", bytes(24))
        records = self.path("out/r.qnr", b"")
        os.symlink("m.onnx", self.path("out/link"))
        before = self.read(model), self.read(weights), self.left()
        for path, what in ((model, "replace the model"), (self.path("out/link"), "the model"),
                           (weights, "weights of the model")):
            for line in self.writers(path, model)[:2]:
                with self.subTest(verb=line[0], path=path):
                    self.refused(1, [path, what], *line)
        self.refused(1, ["--records"], "prewarm", model, "--records", records, "-o", records)
        self.assertEqual(before, (self.read(model), self.read(weights), self.left()))

    def test_names_of_outputs(self):
        names = ["a_b", "a/b", "1_a_b", "a\\b"]
        model = self.path("m.onnx", copies(names))
        status, _, err = quern("run", model, "--output-dir", self.out)
        self.assertEqual(status, 0, err)
        self.assertEqual(self.left(), ["1_a_b.npy", "2_a_b.npy", "3_a_b.npy", "a_b.npy"])
        for name, value in (("a_b", 0), ("2_a_b", 1), ("1_a_b", 2), ("3_a_b", 3)):
            self.assertEqual(self.read(self.path(f"out/{name}.npy"))[-4:], struct.pack("<f", value))

    def test_all_outputs_or_none(self):
        model = self.path("m.onnx", copies(["a", "b", "c"], [1, LARGE, 1]))
        run = ["run", model, "--no-cache", "--output-dir", self.out]
        status, _, err = limited(*run, limit=FILE_LIMIT)
        self.assertEqual((status, self.left()), (1, []), err)
        self.assertIn("b.npy: File too large", err)
        os.mkdir(self.path("out/c.npy"))
        self.refused(1, ["c.npy: is a directory"], *run)
        self.assertEqual(self.left(), ["c.npy"])

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

    def test_values(self):
        """The first values of every kind of number."""
        cases = ((4, "<u2", "<H", [65535]), (12, "<u4", "<I", [2 ** 32 - 1]),
                 (13, "<u8", "<Q", [2 ** 64 - 1]), (7, "<i8", "<q", [-1]),
                 (14, "<c8", "<ff", [1.5, -2]), (15, "<c16", "<dd", [-0.25, 3]))
        for dtype, descr, form, value in cases:
            with self.subTest(descr=descr):
                model = self.path("m.onnx", t.model(t.graph(
                    [t.node("Identity", ["x"], ["y"])], [t.value("x", [1], dtype)],
                    [t.value("y", [1], dtype)])))
                given = self.path("x.npy", npy((1,), struct.pack(form, *value), descr))
                status, out, err = quern("run", model, "--input", f"x={given}")
                self.assertEqual(status, 0, err)
                text = f"{value[0]}" if len(value) == 1 else f"{value[0]:g}{value[1]:+g}j"
                self.assertTrue(out.endswith(f": {text}\n"), out)


if __name__ == "__main__":
    tool_case.main()

#!/usr/bin/env python3
"""The tool on bad input and good: exit statuses, messages, what is written and what is not.

usage: test_cli.py QUERN. Python's standard library only; models are those the tree carries.
"""

import json
import os
import re
import struct
import subprocess

import tiny_onnx as t
import tool_case
from tool_case import DIGITS, NEST, VERBS, Case, npy, quern


def read_npy(path):
    """(shape, floats) of a file the tool wrote."""
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + length].decode()
    shape = [int(d) for d in re.search(r"\(([^)]*)\)", header).group(1).split(",") if d.strip()]
    body = data[10 + length:]
    return shape, list(struct.unpack(f"<{len(body) // 4}f", body))


class Models(Case):
    def setUp(self):
        super().setUp()
        with open(DIGITS, "rb") as file:
            self.digits = file.read()
        status, out, err = quern("inspect", "--model-only", DIGITS)
        self.assertEqual(status, 0, err)
        found = re.search(r"(?m)^input +(\S+) f32\[([^\]]*)\]", out)
        self.input = found.group(1)
        self.shape = [int(d) if d.isdigit() else 2 for d in found.group(2).split(",")]
        self.output = re.search(r"(?m)^output +(\S+) ", out).group(1)
        self.size = 1
        for dim in self.shape:
            self.size *= dim

    def feed(self, shape, values, **options):
        return f"{self.input}={self.path('x.npy', npy(shape, values, **options))}"

    def test_no_model(self):
        for verb in ("run", "bench", "inspect"):
            path = self.path("none.onnx")
            self.refused(1, [path], verb, path)
        self.refused(1, [self.folder.name], "run", self.folder.name)

    def test_garbage(self):
        for name, data in (("empty", b""), ("text", b"not a model at all\n" * 20),
                           ("short", self.digits[:len(self.digits) // 2]),
                           ("noise", bytes(i * 37 % 256 for i in range(5000)))):
            path = self.path(name + ".onnx", data)
            for verb in ("run", "bench", "inspect"):
                with self.subTest(name=name, verb=verb):
                    self.refused(1, [path], verb, path)

    def test_bad_input(self):
        output = self.path("out")
        rest = ["--output-dir", output]
        self.refused(1, [f"'{self.input}'", "--fill"], "run", DIGITS, *rest,
                     "--shape", f"{self.input}={'x'.join(map(str, self.shape))}")
        self.refused(1, ["nobody"], "run", DIGITS, "--input", "nobody=x.npy", *rest)
        self.refused(1, ["gone.npy"], "run", DIGITS, "--input",
                     f"{self.input}={self.path('gone.npy')}", *rest)
        self.refused(1, ["x.npy", "not a .npy"], "run", DIGITS, "--input",
                     f"{self.input}={self.path('x.npy', b'soup')}", *rest)
        self.refused(1, ["x.npy", "f32"], "run", DIGITS, "--input",
                     self.feed(self.shape, bytes(8 * self.size), descr="<i8"), *rest)
        wrong = self.shape[:-1] + [self.shape[-1] + 1]
        count = self.size // self.shape[-1] * wrong[-1]
        self.refused(1, [f"'{self.input}'"], "run", DIGITS, "--input",
                     self.feed(wrong, [0.0] * count), *rest)
        self.refused(1, [f"'{self.input}'"], "run", DIGITS, "--input",
                     self.feed([self.size], [0.0] * self.size), *rest)
        self.assertFalse(os.path.exists(output))

    def test_size_and_value_disagree(self):
        count = self.size // 2
        self.refused(1, ["'N', is 1", "--dim says 2"], "run", DIGITS, "--dim", "N=2", "--input",
                     self.feed([1] + self.shape[1:], [0.0] * count))

    def test_output_that_cannot_be_written(self):
        """Whatever a verb prints: when it cannot, the exit status says so."""
        quern("run", DIGITS, "--fill", "zeros", "--dim", "N=1")
        pack = self.path("p.qnp")
        for arguments in (["--help"], ["--version"], *([verb, "--help"] for verb in VERBS),
                          ["run", DIGITS, "--fill", "zeros", "--dim", "N=1"],
                          ["run", DIGITS, "--fill", "zeros", "--dim", "N=1", "--json"],
                          ["inspect", DIGITS, "--model-only"], ["devices"], ["devices", "--json"],
                          ["bench", DIGITS, "--duration", "0.01"], ["cache", "path"],
                          ["cache", "list"], ["prewarm", DIGITS, "--dim", "N=1", "-o", pack],
                          ["cache", "clear"]):
            with self.subTest(arguments=arguments), open("/dev/full", "wb") as full:
                done = subprocess.run([tool_case.QUERN, *arguments], stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=120, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, "standard output: No space left")

    def test_cache_that_is_not_there(self):
        self.assertEqual(quern("cache", "list")[0], 0)
        self.refused(1, ["gone.qnp"], "cache", "list", self.path("gone.qnp"))

    def test_unknown_names(self):
        self.refused(1, ["nosuchdim"], "run", DIGITS, "--dim", "nosuchdim=3")
        self.refused(1, ["nosuchinput"], "run", DIGITS, "--shape", "nosuchinput=3")
        self.refused(1, ["nosuchdevice"], "run", DIGITS, "--device", "nosuchdevice", "--fill",
                     "zeros", "--shape", f"{self.input}={'x'.join(map(str, self.shape))}")

    def test_run(self):
        """The same inputs give the same outputs by every road: fixed or generic, cold or warm."""
        output, values = self.path("out"), [float(i % 17) for i in range(self.size)]
        results = []
        for extra in ([], [], ["--no-cache"], ["--generic"], ["--threads", "1"]):
            status, out, err = quern("run", DIGITS, "--input", self.feed(self.shape, values),
                                     "--output-dir", output, "--json", *extra)
            self.assertEqual((status, err), (0, ""))
            described = json.loads(out)
            self.assertEqual(described["outputs"][0]["name"], self.output)
            shape, result = read_npy(os.path.join(output, self.output + ".npy"))
            self.assertEqual(shape, described["outputs"][0]["shape"])
            results.append(result)
        for other in results[1:]:
            for a, b in zip(results[0], other):
                self.assertLessEqual(abs(a - b), 1e-4 * max(map(abs, results[0])))
        self.assertEqual(results[0], results[1])

    def test_run_maps(self):
        """A map is its values and its keys, in files of their own or in one."""
        ml = "ai.onnx.ml"
        node = t.node("DictVectorizer", ["x"], ["y"], domain=ml, string_vocabulary=["b", "a", "c"])
        zips = t.node("ZipMap", ["y"], ["z"], domain=ml, classlabels_strings=["p", "\u00e9", "r"])
        kind = t.map_type(t.STRING)
        model = self.path("maps.onnx", t.model(t.graph(
            [node, zips], [t.typed("x", kind)], [t.typed("z", t.sequence_type(kind))]),
            (("", 21), (ml, 1))))
        keys = self.path("keys.npy", npy((2,), "za".encode("utf-32-le"), "<U1"))
        values = self.path("values.npy", npy((2,), (7, 1.5)))
        out = self.path("out")
        status, text, err = quern("run", model, "--input", f"x={values}", "--input",
                                  f"x[keys]={keys}", "--output-dir", out)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(text, "z f32[1,3]: 0 1.5 0\nz[keys] string[3]: 'p' '\u00e9' 'r'\n")
        self.assertEqual(read_npy(os.path.join(out, "z.npy")), ([1, 3], [0, 1.5, 0]))
        with open(os.path.join(out, "z[keys].npy"), "rb") as file:
            self.assertTrue(file.read().endswith("p\u00e9r".encode("utf-32-le")))
        numbers = [t.piece(3, t.tensor("", (), struct.pack("<f", value))) for value in (7, 1.5)]
        pb = self.path("map.pb", t.number(2, t.STRING) + t.piece(4, "z") + t.piece(4, "a") +
                       t.piece(5, t.number(2, 1) + b"".join(numbers)))
        self.assertEqual(quern("run", model, "--input", f"x={pb}"), (0, text, ""))
        self.refused(1, ["x[keys]", "no value"], "run", model, "--input", f"x={values}")
        self.refused(1, ["two values", "x[keys]"], "run", model, "--input", f"x={pb}", "--input",
                     f"x[keys]={keys}")
        status, text, err = quern("inspect", model)
        self.assertIn("input    x map[?]\noutput   z sequence\n", text)

    def test_run_on_devices(self):
        """The same results on every device that computes here; zeros from the one that does not."""
        usable = {}
        for line in quern("devices", "--json")[1].splitlines():
            device = json.loads(line)
            usable[device["name"]] = device["usable"]
            if not device["usable"]:
                self.assertGreater(len(device["description"]), 10)
        output, values = self.path("out"), [float(i % 17) for i in range(self.size)]
        results = {}
        for device in ("cpu", "sim", "null", "opencl", "cuda"):
            if not usable[device]:
                self.refused(1, ["OpenCL" if device == "opencl" else "NVIDIA"], "run", DIGITS, "--fill",
                             "random", "--dim", "N=1", "--device", device)
                continue
            for cache in ("cold", "warm"):
                status, out, err = quern("run", DIGITS, "--input", self.feed(self.shape, values),
                                         "--output-dir", output, "--json", "--device", device)
                self.assertEqual((status, err), (0, ""), device)
                self.assertEqual(json.loads(out)["device"], device)
                results[device, cache] = read_npy(os.path.join(output, self.output + ".npy"))[1]
        for (device, cache), result in results.items():
            for a, b in zip(result, results["cpu", "cold"]):
                want = 0 if device == "null" else b
                self.assertAlmostEqual(a, want, delta=1e-4 * max(1, abs(want)), msg=device)
        self.refused(1, ["'abacus'", "no device"], "run", DIGITS, "--fill", "random", "--dim", "N=1",
                     "--device", "abacus")

    def test_inspect(self):
        status, out, err = quern("inspect", DIGITS)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"(?m)^kernel 0 ")
        self.assertRegex(out, r"(?m)^operator Conv opset \d+")
        self.assertRegex(out, r"(?m)^session  none: .*--dim N=N")
        status, out, err = quern("inspect", DIGITS, "--dim", "N=4")
        self.assertRegex(out, r"(?m)^session  slab and scratch 0\.0[1-9]")
        self.assertRegex(out, r"(?m)^flops    0.00273")
        for level, word in (("graph", "graph"), ("nest", "nest k {"), ("tile", "tile k "),
                            ("placed", "threads"), ("llvm", "define"), ("asm", ".text"),
                            ("c", "_0("), ("opencl", "__kernel"), ("cuda", "__global__")):
            status, out, err = quern("inspect", DIGITS, "--ir", level)
            self.assertEqual((status, err), (0, ""), level)
            self.assertIn(word, out, level)
        status, out, err = quern("inspect", DIGITS, "--ir", "placed", "--target", "opencl")
        self.assertEqual((status, err), (0, ""))
        for level, target in (("cuda", "x86-64-v3"), ("placed", "x86-64-v4"), ("llvm", "sm_80"),
                              ("opencl", "sm_80"), ("c", "opencl-cpu")):
            self.refused(2, [target], "inspect", DIGITS, "--ir", level, "--target", target)
        self.refused(1, ["nosuch"], "inspect", DIGITS, "--ir", "graph", "--target", "nosuch")
        status, out, err = quern("inspect", DIGITS, "--target", "opencl")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"(?m)^session  none: .*another machine")

    def test_bench(self):
        status, out, err = quern("bench", DIGITS, "--json", "--duration", "0.05", "--shape",
                                 f"{self.input}={'x'.join(map(str, self.shape))}")
        self.assertEqual((status, err), (0, ""))
        figures = json.loads(out)
        self.assertEqual(list(figures), (
            "model device threads cold_compile_ms warm_load_ms first_run_ms steady_median_ms "
            "steady_p10_ms steady_p99_ms runs kernels peak_rss_kb plan_bytes gflops gbs "
            "percent_of_peak").split())
        self.assertGreater(figures["cold_compile_ms"], 0)
        self.assertGreater(figures["percent_of_peak"], 0)
        self.assertLessEqual(figures["steady_p10_ms"], figures["steady_median_ms"])
        self.assertLessEqual(figures["steady_median_ms"], figures["steady_p99_ms"])
        self.assertGreaterEqual(figures["runs"], 3)


def tensor_pb(dims, values):
    """A TensorProto: dims, data type float, raw data."""
    raw = struct.pack(f"<{len(values)}f", *values)
    return b"".join(b"\x08" + bytes([d]) for d in dims) + b"\x10\x01\x4a" + varint(len(raw)) + raw


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def unary_model(operator):
    """A model y = operator(x) over f32[3]."""
    tensor_type = b"\x08\x01" + field(2, field(1, b"\x08\x03"))

    def value(name):
        return field(1, name) + field(2, field(1, tensor_type))

    node = field(1, b"x") + field(2, b"y") + field(4, operator.encode())
    graph = field(1, node) + field(2, b"g") + field(11, value(b"x")) + field(12, value(b"y"))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x0d")


class Check(Case):
    def case(self, name, model, given, expected):
        self.path(f"{name}/model.onnx", model)
        self.path(f"{name}/test_data_set_0/input_0.pb", given)
        self.path(f"{name}/test_data_set_0/output_0.pb", expected)

    def test_counts(self):
        x = tensor_pb([3], [-1.0, 2.0, 3.0])
        self.case("test_good", unary_model("Relu"), x, tensor_pb([3], [0.0, 2.0, 3.0]))
        self.case("test_value", unary_model("Relu"), x, tensor_pb([3], [0.0, 2.01, 3.0]))
        self.case("test_shape", unary_model("Relu"), x, tensor_pb([1, 3], [0.0, 2.0, 3.0]))
        self.case("test_input", unary_model("Relu"), x[:-1], x)
        self.case("test_garbage", b"soup", x, x)
        self.case("test_unknown", unary_model("Frobnicate"), x, x)
        self.case("test_arity", unary_model("MatMul"), x, x)
        self.path("test_no_data/model.onnx", unary_model("Relu"))
        status, out, err = quern("check", self.folder.name, "--jobs", "2")
        self.assertEqual((status, err), (1, ""))
        lines = out.strip().splitlines()
        self.assertEqual(lines[-1], "passed 1, failed 6, skipped 1")
        failed = dict(re.findall(r"(?m)^FAILED (\w+): ([^:\n]*)", out))
        self.assertEqual(failed["test_value"], "wrong values")
        self.assertEqual(failed["test_shape"], "wrong shape")
        self.assertEqual(failed["test_input"], "input cannot be read")
        self.assertEqual(failed["test_arity"], "compile")
        self.assertEqual(failed["test_no_data"], "no test_data_set_0")
        self.assertEqual(set(failed), {"test_value", "test_shape", "test_input", "test_garbage",
                                       "test_arity", "test_no_data"})
        self.assertRegex(out, r"(?m)^ +1 failed: wrong values$")
        self.assertRegex(out, r"(?m)^ +1 skipped: ")
        self.assertIn("worst at [1]: 2, expected 2.00999999", out)

    def test_filter_and_tolerance(self):
        x = tensor_pb([3], [-1.0, 2.0, 3.0])
        self.case("test_good", unary_model("Relu"), x, tensor_pb([3], [0.0, 2.0, 3.0]))
        self.case("test_value", unary_model("Relu"), x, tensor_pb([3], [0.0, 2.01, 3.0]))
        for arguments, last in ((["--filter", "good"], "passed 1, failed 0, skipped 0"),
                                (["--filter", "test_v*"], "passed 0, failed 1, skipped 0"),
                                (["--rtol", "0.1"], "passed 2, failed 0, skipped 0")):
            status, out, _ = quern("check", self.folder.name, *arguments)
            self.assertEqual(out.strip().splitlines()[-1], last)
            self.assertEqual(status, 1 if "failed 1" in last else 0)
        self.refused(1, ["no tests"], "check", self.folder.name, "--filter", "nothing")

    def test_time_limit(self):
        x = tensor_pb([3], [-1.0, 2.0, 3.0])
        self.case("test_slow", unary_model("Relu"), x, x)
        status, out, _ = quern("check", self.folder.name, "--time-limit", "0")
        self.assertEqual(status, 1)
        self.assertIn("FAILED test_slow: more than 0 s", out)
        self.assertEqual(out.strip().splitlines()[-1], "passed 0, failed 1, skipped 0")

    def test_no_folder(self):
        self.refused(1, ["gone"], "check", self.path("gone"))
        self.refused(1, ["no tests"], "check", self.folder.name)


class Cache(Case):
    def test_list_and_clear(self):
        directory = self.path("kept")
        entry, foreign = "0123456789abcdef" * 2 + ".qnc", "notes.txt"
        self.path("kept/" + entry, b"x" * 10)
        self.path("kept/" + foreign, b"mine")
        status, out, _ = quern("cache", "list", "--cache-dir", directory)
        self.assertEqual(status, 0)
        self.assertIn(entry, out)
        self.assertNotIn(foreign, out)
        status, out, _ = quern("cache", "clear", "--cache-dir", directory)
        self.assertEqual(status, 0)
        self.assertIn("removed 1 entries", out)
        self.assertEqual(os.listdir(directory), [foreign])

    def test_path(self):
        status, out, _ = quern("cache", "path")
        self.assertEqual(status, 0)
        self.assertTrue(out.startswith(os.environ["XDG_CACHE_HOME"]), out)

    def test_none(self):
        status, out, _ = quern("cache", "list", "--cache-dir", self.path("gone"))
        self.assertEqual(status, 0)
        self.assertIn("does not exist", out)

    def test_unfinished(self):
        """What a killed writer left is no entry, and goes when the cache is emptied."""
        left = "0123456789abcdef" * 2 + ".qnc.123.4.tmp"
        self.path("kept/" + left, b"x" * 10)
        self.assertNotIn(left, quern("cache", "list", "--cache-dir", self.path("kept"))[1])
        self.assertEqual(quern("cache", "clear", "--cache-dir", self.path("kept"))[0], 0)
        self.assertEqual(os.listdir(self.path("kept")), [])

    def test_explain(self):
        """Not there, then near, then there."""
        def explain(*arguments):
            status, out, err = quern("cache", "explain", DIGITS, *arguments)
            self.assertEqual(err, "")
            return status, out
        status, out = explain("--dim", "N=2")
        self.assertEqual(status, 1)
        self.assertIn("  dim N 2..2 by 1\n", out)
        self.assertIn("no programs to compare with", out)
        self.assertEqual(quern("run", DIGITS, "--dim", "N=2", "--fill", "zeros")[0], 0)
        status, out = explain("--dim", "N=2")
        self.assertEqual(status, 0, out)
        self.assertIn(os.environ["XDG_CACHE_HOME"], out)
        self.assertEqual(explain("--shape", "image=2x1x8x8")[0], 0)
        target = re.search(r"(?m)^  target ([\w-]+)", out).group(1)
        line = f"{'0' * 32} {target} before 2 ns after 1 ns threads 1: general vec=4\n"
        others = self.path("others.qnr", line.encode())
        status, out = explain("--dim", "N=2", "--records", others)
        self.assertEqual(status, 0, out)
        self.assertIn("0 of 1 tuning records are for its kernels\n", out)
        status, out = explain("--dim", "N=3")
        self.assertEqual(status, 1)
        self.assertIn("dim 'N': 3..3 by 1 here, 2..2 by 1 there", out)
        status, out = explain("--dim", "N=2", "--target", "sm_80")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"(?m)^  target: sm_80\b.* here, x86-64-v\d .*there$")
        status, out, _ = quern("cache", "list")
        self.assertRegex(out, r"(?m)^ *\d+ .* program +[0-9a-f]{32}\.qnc  x86-64-v.*: digits 9 nodes$")
        self.refused(1, ["gone.onnx"], "cache", "explain", self.path("gone.onnx"))
        self.refused(1, ["nosuchdim"], "cache", "explain", DIGITS, "--dim", "nosuchdim=1")
        self.refused(2, ["no model"], "cache", "explain")

    def test_devices(self):
        status, out, err = quern("devices")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"(?m)^cpu +usable")
        for line in quern("devices", "--json")[1].splitlines():
            self.assertIn("usable", json.loads(line))


class Packs(Case):
    def pack(self, *arguments, name="p.qnp", model=DIGITS):
        path = self.path(name)
        status, out, err = quern("prewarm", model, "-o", path, *arguments)
        self.assertEqual((status, err), (0, ""))
        return path, out

    def test_run(self):
        """What a pack was made for runs from it, with the same results; the rest is refused."""
        pack, out = self.pack("--dim", "N=1", "--dim", "N=2", "--no-cache")
        self.assertEqual(out.count("packed weights"), 3)
        self.assertIn("2 programs, 2 with packed weights", out)
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(os.stat(pack).st_mode & 0o777, 0o666 & ~mask)
        for size in ("1", "2"):
            arguments = [DIGITS, "--dim", "N=" + size, "--fill", "random"]
            status, expected, _ = quern("run", *arguments)
            self.assertEqual(status, 0)
            status, out, err = quern("run", *arguments, "--pack", pack, "--no-cache")
            self.assertEqual((status, err, out), (0, "", expected))
        self.refused(1, [pack, "dim 'N': 3..3 by 1 here"], "run", DIGITS, "--dim", "N=3", "--fill",
                     "zeros", "--pack", pack)
        other = self.path("relu.onnx", unary_model("Relu"))
        self.refused(1, [pack, "graph", "digits"], "run", other, "--fill", "zeros", "--pack", pack)

    def test_bench(self):
        pack, _ = self.pack("--dim", "N=1")
        status, out, err = quern("bench", DIGITS, "--pack", pack, "--json", "--duration", "0.02")
        self.assertEqual((status, err), (0, ""))
        figures = json.loads(out)
        self.assertIsNone(figures["cold_compile_ms"])
        self.assertGreater(figures["warm_load_ms"], 0)

    def test_targets(self):
        pack, out = self.pack("--target", "x86-64-v3", "--target", "x86-64-v4")
        self.assertRegex(out, r"(?m)^.*digits\.onnx for x86-64-v3: \d+ kernels")
        status, listed, err = quern("cache", "list", pack)
        self.assertEqual((status, err), (0, ""))
        for target in ("x86-64-v3", "x86-64-v4"):
            self.assertRegex(listed, rf"program .*{target}.*: digits 9 nodes")
        self.refused(1, ["opencl-gpu"], "prewarm", DIGITS, "--target", "opencl-gpu", "-o",
                     self.path("none.qnp"))
        self.assertFalse(os.path.exists(self.path("none.qnp")))

    def test_merge(self):
        relu = self.path("relu.onnx", unary_model("Relu"))
        one, _ = self.pack("--no-weights", "--dim", "N=1", name="one.qnp")
        two, out = self.pack("--add", one, name="two.qnp", model=relu)
        self.assertIn("2 programs", out)
        three, out = self.pack("--add", one, "--add", two, name="three.qnp", model=relu)
        with open(two, "rb") as a, open(three, "rb") as b:
            self.assertEqual(a.read(), b.read())
        for model, sizes in ((DIGITS, ["--dim", "N=1"]), (relu, [])):
            status, _, err = quern("run", model, *sizes, "--fill", "zeros", "--pack", two)
            self.assertEqual((status, err), (0, ""))
        status, out, _ = quern("cache", "explain", relu, "--pack", one)
        self.assertEqual(status, 1)
        self.assertIn("graph: g 1 nodes here, digits 9 nodes there", out)
        self.assertEqual(quern("cache", "explain", relu, "--pack", two)[0], 0)

    def test_damaged(self):
        pack, _ = self.pack("--dim", "N=1")
        with open(pack, "rb") as file:
            data = file.read()
        run = ["run", DIGITS, "--dim", "N=1", "--fill", "zeros", "--pack"]
        self.refused(1, ["cut.qnp", "cut short"], *run, self.path("cut.qnp", data[:-100]))
        self.refused(1, ["soup.qnp", "no pack"], *run, self.path("soup.qnp", b"soup" * 100))
        self.refused(1, ["gone.qnp", "No such file"], *run, self.path("gone.qnp"))
        broken = bytearray(data)
        for at in range(1000, len(data), 1000):
            broken[at] ^= 16
        self.refused(1, ["broken.qnp", "damaged"], *run, self.path("broken.qnp", bytes(broken)))
        self.refused(1, ["cut.qnp"], "cache", "list", self.path("cut.qnp"))
        self.refused(1, ["cut.qnp"], "prewarm", DIGITS, "--add", self.path("cut.qnp"), "-o",
                     self.path("new.qnp"))
        self.assertFalse(os.path.exists(self.path("new.qnp")))

    def test_tune(self):
        """What tuning writes, if anything is faster, is taken by the next run; so are files put
        together with cat, and what is no record is passed over with one warning."""
        records = self.path("r.qnr", b"# mine\n")
        status, out, err = quern("tune", DIGITS, "--dim", "N=64", "--budget", "1s", "--threads",
                                 "1", "-o", records)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"(?m)^\d+ of \d+ kernels are faster$")
        with open(records, encoding="utf-8") as file:
            found = file.read()
        run = ["run", DIGITS, "--dim", "N=64", "--fill", "zeros", "--no-cache", "--records"]
        status, expected, err = quern(*run, records)
        self.assertEqual((status, err), (0, ""))
        both = self.path("both.qnr", (found + "soup\n" + found + "more soup\n").encode())
        status, out, err = quern(*run, both)
        self.assertEqual((status, out), (0, expected))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertIn("both.qnr:", err)
        self.refused(1, ["gone.qnr", "No such file"], *run, self.path("gone.qnr"))
        self.refused(2, ["--budget", "soon"], "tune", DIGITS, "--budget", "soon")
        self.refused(2, ["no model"], "tune")
        self.refused(1, ["gone.onnx"], "tune", self.path("gone.onnx"))

    def test_refused(self):
        self.refused(2, ["-o PACK"], "prewarm", DIGITS)
        self.refused(2, ["no model"], "prewarm", "-o", self.path("p.qnp"))
        self.refused(2, ["'-o'", "value"], "prewarm", DIGITS, "-o")
        self.refused(1, ["gone.onnx"], "prewarm", self.path("gone.onnx"), "-o", self.path("p.qnp"))
        status, out, err = quern("prewarm", DIGITS, "-o", self.path("no/such/folder/p.qnp"))
        self.assertEqual(status, 1)
        self.assertIn("No such file", err)


class Texts(Case):
    """quern opt: text in, the level asked for out. quern kernel: the same text compiled and timed."""

    def test_levels(self):
        nest = self.path("n.nest", NEST)
        for target, level, word in (("x86-64-v3", "tile", "grid"), ("x86-64-v3", "c", "n_0"),
                                    ("sm_80", "placed", "threads"), ("sm_80", "cuda", "__global__"),
                                    ("opencl", "opencl", "__kernel"), ("x86-64-v3", "nest", "axis i 8")):
            status, out, err = quern("opt", "--target", target, "--to", level, nest)
            self.assertEqual((status, err), (0, ""), level)
            self.assertIn(word, out)

    def test_refused(self):
        nest = self.path("n.nest", NEST)
        self.refused(1, ["x86-64-v3", "cuda"], "opt", "--target", "x86-64-v3", "--to", "cuda", nest)
        self.refused(1, ["unknown target", "sm_1"], "opt", "--target", "sm_1", nest)
        self.refused(1, ["No such file"], "opt", self.path("gone.nest"))
        self.refused(1, ["b.nest:2:1", "expected"], "opt", self.path("b.nest", b"nest n {\n"))
        self.refused(1, ["vec must be in"], "opt", "--schedule", "general vec=99", nest)

    def test_kernel(self):
        nest, gone = self.path("n.nest", NEST), self.path("gone.nest")
        line = ["kernel", "--check", "--repeat", "2", "--threads", "2"]
        status, out, err = quern(*line, "--json", nest)
        self.assertEqual((status, err), (0, ""))
        figures = json.loads(out)
        self.assertEqual(list(figures), "kernel target threads kernels compile_ms best_us median_us gflops gbs "
                                        "peak_gflops copy_gbs read_gbs percent".split())
        self.assertEqual((figures["kernel"], figures["threads"]), ("n", 2))
        self.assertGreater(figures["best_us"], 0)
        self.assertLessEqual(figures["best_us"], figures["median_us"])
        huge = self.path("huge.nest", NEST.replace(b"8", b"%d" % (1 << 40)))
        self.refused(1, ["a buffer of"], "kernel", huge)
        status, out, err = quern(*line, gone, nest)
        self.assertEqual(status, 1)
        self.assertEqual(err, f"quern kernel: {gone}: No such file or directory\n")
        self.assertRegex(out, r"^n +\d+\.\d us")
        for level, word in (("nest", "axis i 8"), ("tile", "grid"), ("llvm", "define"), ("asm", ".text")):
            status, out, err = quern("kernel", "--ir", level, nest)
            self.assertEqual((status, err), (0, ""))
            self.assertIn(word, out)
        self.refused(1, ["sm_80", "no CPU target"], "kernel", "--target", "sm_80", nest)
        self.refused(1, ["aarch64"], "kernel", "--target", "aarch64", nest)


if __name__ == "__main__":
    tool_case.main()

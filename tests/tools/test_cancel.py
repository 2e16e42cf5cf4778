#!/usr/bin/env python3
"""Ctrl-C and --timeout: exit statuses, messages, nothing half written, and the next start works.

usage: test_cancel.py QUERN. Python's standard library only. Nothing here measures time: what is
cancelled would not end by itself, or is known to be where it is meant to be cancelled.
"""

import os
import pty
import signal
import subprocess
import time

import tiny_onnx as t
import tool_case

EVER = 1 << 40
KERNELS = 160
LATE, INTERRUPTED = 124, 130


def i64(name, *values):
    return t.tensor(name, [len(values)] if len(values) != 1 else [],
                    b"".join(v.to_bytes(8, "little") for v in values), t.I64)


def loop(turns):
    """y = x + 1, again and again."""
    body = t.graph([t.node("Identity", ["c"], ["d"]), t.node("Add", ["v", "one"], ["w"])],
                   [t.value("i", [], t.I64), t.value("c", [], t.BOOL), t.value("v", [2])],
                   [t.value("d", [], t.BOOL), t.value("w", [2])], name="body")
    one = t.tensor("one", [], b"\0\0\x80\x3f")
    return t.model(t.graph([t.node("Loop", ["n", "", "x"], ["y"], body=body)],
                           [t.value("x", [2])], [t.value("y", [2])], [i64("n", turns), one]))


def long_sum(of):
    """y = x + the sum of as many squares of `of`, "x" or a constant, as one kernel computes."""
    nodes = [t.node("Expand", [of, "shape"], ["e"]), t.node("Mul", ["e", "e"], ["q"]),
             t.node("ReduceSum", ["q"], ["s"], keepdims=0), t.node("Add", ["x", "s"], ["y"])]
    shape = t.tensor("shape", [1], EVER.to_bytes(8, "little"), t.I64)
    half = t.tensor("half", [1], b"\0\0\0\x3f")
    return t.model(t.graph(nodes, [t.value("x", [1])], [t.value("y", [1])], [shape, half]))


def many_kernels():
    nodes = [t.node("Softmax", [f"x{i}"], [f"x{i + 1}"]) for i in range(KERNELS)]
    return t.model(t.graph(nodes, [t.value("x0", [4, 8])], [t.value(f"x{KERNELS}", [4, 8])]))


class Case(tool_case.Case):
    def setUp(self):
        super().setUp()
        self.cache = self.path("kept")
        self.out = self.path("out")

    def model(self, data):
        return self.path("m.onnx", data)

    def command(self, model, *more):
        return [tool_case.QUERN, "run", model, "--fill", "zeros", "--threads", "2", "--cache-dir",
                self.cache, "--output-dir", self.out, *more]

    def expect(self, process, status, words):
        out, err = process.communicate(timeout=100)
        self.assertEqual((process.returncode, out), (status, ""), err)
        self.assertIn(words, err)
        self.assertFalse(os.path.exists(self.out))

    def start(self, model, *more):
        process = subprocess.Popen(self.command(model, *more), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process


def is_busy(process, ticks):
    """Whether it has used that much processor time: more than the compile takes."""
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as file:
        return int(file.read().rsplit(")", 1)[1].split()[11]) >= ticks


class Runs(Case):
    def interrupt(self, model):
        process = self.start(self.model(model))
        while not is_busy(process, os.sysconf("SC_CLK_TCK")):
            self.assertIsNone(process.poll())
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self.expect(process, INTERRUPTED, "interrupted")

    def test_interrupted(self):
        self.interrupt(loop(EVER))
        self.interrupt(long_sum("x"))
        self.interrupt(long_sum("half"))  # while constants are computed

    def test_timeout(self):
        for model in (loop(EVER), long_sum("x"), long_sum("half")):
            self.expect(self.start(self.model(model), "--timeout", "0.3"), LATE, "--timeout")

    def test_enough_time(self):
        process = self.start(self.model(loop(3)), "--timeout", "1e6")
        out, err = process.communicate(timeout=100)
        self.assertEqual((process.returncode, err), (0, ""))
        self.assertIn("3 3", out)
        self.assertEqual(os.listdir(self.out), ["y.npy"])

    def test_ignored(self):
        """Who starts it with SIGINT ignored, as shells do in the background, wants that."""
        command = self.command(self.model(loop(EVER)), "--timeout", "1.5")
        process = subprocess.Popen(["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        while "quern" not in os.readlink(f"/proc/{process.pid}/exe"):
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.expect(process, LATE, "--timeout")


class Compiles(Case):
    """On a terminal, where the tool says what it compiles: more than a terminal takes while nobody
    reads, so that it waits in the middle."""

    def interrupt(self, arguments, status):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=slave, text=True)
        self.addCleanup(process.kill)
        os.close(slave)
        said = b""
        while b"compiling" not in said:
            said += os.read(master, 1)
        process.send_signal(signal.SIGINT)
        said = said[:-1] + self.rest(master)
        out, _ = process.communicate(timeout=100)
        self.assertEqual((process.returncode, out), (status, ""), said)
        self.assertNotIn(b"compiling %d/" % KERNELS, said)

    @staticmethod
    def rest(master):
        said = b""
        while True:
            try:
                said += os.read(master, 4096)
            except OSError:  # nobody writes any more
                return said

    def check(self, arguments, status):
        self.interrupt(arguments, status)
        left = os.listdir(self.cache) if os.path.exists(self.cache) else []
        self.assertEqual([name for name in left if name.startswith(".") or "tmp" in name], [])
        self.assertFalse(os.path.exists(self.out))
        for _ in range(2):  # cold, then from the cache
            status, _, err = tool_case.quern(*self.command(self.path("m.onnx"))[1:])
            self.assertEqual((status, err), (0, ""))
        status, out, err = tool_case.quern("cache", "list", "--cache-dir", self.cache)
        self.assertEqual(status, 0, err)
        self.assertNotIn("damaged", out)

    def test_run(self):
        self.check(self.command(self.model(many_kernels())), INTERRUPTED)

    def test_killed(self):
        """A verb that catches nothing."""
        self.check([tool_case.QUERN, "export", self.model(many_kernels()), "-o", self.out,
                    "--cache-dir", self.cache], -signal.SIGINT)


if __name__ == "__main__":
    tool_case.main()

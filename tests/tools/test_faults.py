#!/usr/bin/env python3
"""Storage that fails: for each verb that writes, each of its calls on files fails once, in each of
several ways, or the process is killed there (fault.c). A run is right whatever the cache does; what
else was asked for is there in whole or not at all, with a message; and the next start works.

usage: test_faults.py QUERN FAULT_LIBRARY. QUERN_LONG in the environment: every call, not a sample.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
DIGITS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "examples", "digits", "digits.onnx")
KINDS = ("ENOSPC", "EIO", "EACCES", "EINTR", "EMFILE", "short", "kill")
EVERY = bool(os.environ.get("QUERN_LONG"))
SAMPLE = len(KINDS)  # places a verb, each with a kind of its own
QUERN = FAULT = None


class Faults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quern-faults-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.place = os.path.join(folder.name, "place")  # faults concern files below
        self.cache, self.out = os.path.join(self.place, "cache"), os.path.join(self.place, "out")
        self.run_it = ["run", DIGITS, "--dim", "N=1", "--fill", "random", "--cache-dir", self.cache]
        self.fresh()
        self.expected = self.quern(self.run_it)

    def fresh(self):
        shutil.rmtree(self.place, ignore_errors=True)
        os.mkdir(self.place)

    def quern(self, arguments, env=None):
        """(exit status, output, error)"""
        done = subprocess.run([QUERN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=120, env={**os.environ, **(env or {})}, check=False)
        return done.returncode, done.stdout, done.stderr

    def faulty(self, arguments, at=0, kind="EIO"):
        """The same, call number `at` going wrong; and how many calls there were."""
        count = os.path.join(self.folder, "count")
        result = self.quern(arguments, {"LD_PRELOAD": FAULT, "FAULT_UNDER": self.place,
                                        "FAULT_AT": str(at), "FAULT_KIND": kind,
                                        "FAULT_COUNT": count})
        if at:
            return result
        with open(count, encoding="ascii") as file:
            return int(file.read())

    def files(self, folder=None):
        return {os.path.relpath(os.path.join(at, name), folder or self.place)
                for at, _, names in os.walk(folder or self.place) for name in names}

    def sweep(self, arguments, check, prepare=lambda: None, harmless=False):
        """check(status, kind) after each fault. `harmless`: none may fail."""
        self.fresh()
        prepare()
        calls = self.faulty(arguments)
        self.assertGreater(calls, 0)
        points = [(at, kind) for kind in KINDS for at in range(1, calls + 1)]
        if not EVERY:
            points = [(1 + i * calls // SAMPLE, KINDS[i]) for i in range(SAMPLE)]
        for at, kind in points:
            with self.subTest(verb=arguments[0], at=at, of=calls, kind=kind):
                self.fresh()
                prepare()
                status, out, err = self.faulty(arguments, at, kind)
                if kind == "kill":
                    self.assertIn(status, (-9, 0))  # 0: another order of calls
                elif harmless:
                    self.assertEqual((status, out), self.expected[:2], err)
                else:
                    self.assertIn(status, (0, 1), err)
                    self.assertTrue(status == 0 or err.startswith("quern"), err)
                if kind != "kill" and not err:
                    self.assertEqual([f for f in self.files() if f.endswith((".tmp", ".part"))], [])
                check(status, kind)
                # The next start finds nothing that it stumbles over.
                self.assertEqual(self.quern(self.run_it)[:2], self.expected[:2])

    def test_run(self):
        self.sweep(self.run_it, lambda status, kind: None, harmless=True)

    def test_warm_run(self):
        self.sweep(self.run_it, lambda status, kind: None,
                   prepare=lambda: self.quern(self.run_it), harmless=True)

    def whole(self, make):
        """What `make` writes is the right file, or is not there."""
        path = os.path.join(self.place, "file")
        self.fresh()
        self.assertEqual(self.quern(make(path))[0], 0)
        with open(path, "rb") as file:
            right = len(file.read())

        def check(status, kind):
            self.assertTrue(status != 0 or kind == "kill" or os.path.exists(path))
            if os.path.exists(path):
                self.assertEqual(os.path.getsize(path), right)
        return path, check

    def test_prewarm(self):
        make = lambda path: ["prewarm", DIGITS, "--dim", "N=1", "-o", path, "--cache-dir", self.cache]
        path, check = self.whole(make)

        def runs(status, kind):
            check(status, kind)
            if os.path.exists(path):
                self.assertEqual(self.quern([*self.run_it, "--pack", path])[:2], self.expected[:2])
        self.sweep(make(path), runs)

    def test_export(self):
        make = lambda path: ["export", DIGITS, "--dim", "N=1", "-o", path, "--cache-dir", self.cache]
        path, check = self.whole(make)
        self.sweep(make(path), check)

    def test_tune(self):
        """Records beside those that are there: the file is the old one, or a whole new one."""
        path = os.path.join(self.place, "r.qnr")
        old = ("0123456789abcdef" * 2 + " x86-64-v3 before 200 ns after 100 ns threads 1: "
               "general vec=4 rows=2 grain=16384 keep=1\n")

        def prepare():
            with open(path, "w", encoding="ascii") as file:
                file.write(old)

        def check(status, kind):
            with open(path, encoding="ascii") as file:
                text = file.read()
            self.assertTrue(text.startswith(old) and text.endswith("\n"), text)
            for line in text.splitlines():
                self.assertRegex(line, r"^[0-9a-f]{32} \S+ before \d+ ns after \d+ ns threads \d+: \w+ ")
        tune = ["tune", DIGITS, "--dim", "N=1", "--budget", "0.2", "--threads", "1", "-o", path,
                "--cache-dir", self.cache]
        self.sweep(tune, check, prepare)

    def test_output_dir(self):
        arguments = [*self.run_it, "--output-dir", self.out]
        self.fresh()
        self.assertEqual(self.quern(arguments)[0], 0)
        names = self.files(self.out)
        sizes = {name: os.path.getsize(os.path.join(self.out, name)) for name in names}

        def check(status, kind):
            for name in self.files(self.out) & names:
                self.assertEqual(os.path.getsize(os.path.join(self.out, name)), sizes[name])
            if status == 0:
                self.assertLessEqual(names, self.files(self.out))
        self.sweep(arguments, check)

    def test_clear(self):
        self.sweep(["cache", "clear", "--cache-dir", self.cache], lambda status, kind: None,
                   prepare=lambda: self.quern(self.run_it))


if __name__ == "__main__":
    QUERN, FAULT = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
    unittest.main()

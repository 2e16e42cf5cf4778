#!/usr/bin/env python3
"""Tests of the tree's checks: small trees, right and wrong."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def run_check(name, files):
    """(exit status, output) of a check on a tree of {path: text}."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, os.path.join(HERE, name), root],
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


class Includes(unittest.TestCase):
    tree = {"base/cx.h": "", "ir/nest.h": '#include "base/cx.h"\n', "runtime/plan.h": "",
            "include/quern.h": "#include <stddef.h>\n"}

    def check(self, path, text):
        return run_check("check_includes.py", self.tree | {path: text})

    def test_right(self):
        for path, text in (("ir/a.c", '#include "nest.h"\n#include <stdio.h>\n'),
                           ("jit/a.c", '#include "ir/nest.h"\n#include "runtime/plan.h"\n'),
                           ("tools/a.c", '#include "quern.h"\n#include "ir/nest.h"\n'),
                           ("tests/unit/a.c", '#include "ir/nest.h"\n'),
                           ("frontend/a.c", '#include "onnx.pb-c.h"\n'),
                           ("base/a.c", '/* #include "ir/nest.h" */\n')):
            with self.subTest(path=path):
                self.assertEqual(self.check(path, text)[0], 0)

    def test_wrong(self):
        for path, text in (("base/a.c", '\n#include "ir/nest.h"\n'),
                           ("ir/a.c", '\n  # include "runtime/plan.h"\n'),
                           ("runtime/a.h", '\n#include "../ir/nest.h"\n'),
                           ("codegen/a.c", '\n#include <quern.h>\n'),
                           ("examples/a.c", '\n#include "base/cx.h"\n'),
                           ("tools/a.c", '\n#include "runtime/plan.h"\n'),
                           ("passes/a.c", '\n#include <ir/../runtime/plan.h>\n'),
                           ("ir/a.c", '\n#include "onnx.pb-c.h"\n'),
                           ("ir/b.def", '\n#include "ir/gone.h"\n')):
            with self.subTest(path=path, text=text):
                status, output = self.check(path, text)
                self.assertEqual(status, 1)
                self.assertIn(f"{path}:2:", output)


class Folders(unittest.TestCase):
    page = "# A\n## Folder map\n| folder | holds |\n| --- | --- |\n| `base/` | x |\n" \
           "| `docs/` | y |\n## Other\n| `gone/` | not the map |\n"

    def check(self, files, page=None):
        return run_check("check_folders.py", {"docs/architecture.md": page or self.page} | files)

    def test_right(self):
        self.assertEqual(self.check({"base/a.c": "", "build-x/b": "", ".ci/run": ""})[0], 0)

    def test_unnamed(self):
        status, output = self.check({"base/a.c": "", "extra/a.c": ""})
        self.assertEqual(status, 1)
        self.assertIn("does not name extra/", output)

    def test_gone(self):
        status, output = self.check({})
        self.assertEqual(status, 1)
        self.assertIn("names base/, which does not exist", output)

    def test_no_map(self):
        status, output = self.check({}, "# A\n")
        self.assertEqual(status, 1)
        self.assertIn("no folder map", output)


if __name__ == "__main__":
    unittest.main()

"""What tests of the tool share: running it, and a folder in which everything stays."""

import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DIGITS = os.path.join(ROOT, "examples", "digits", "digits.onnx")
NEST = (b"nest n {\n  in x f32 [8]\n  out y f32 [8]\n  axis i 8\n  %0 = load x[i]\n"
        b"  store y[i] %0\n}\n")
with open(os.path.join(ROOT, "tools", "verbs.def"), encoding="utf-8") as table:
    VERBS = re.findall(r"(?m)^VERB\((\w+),", table.read())
QUERN = None


def npy(shape, values, descr="<f4"):
    """A .npy file's bytes; `values` are floats or, for other types, the data itself."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}\n".encode()
    data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}f", *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def quern(*arguments, **options):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([QUERN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", timeout=120, **options)
    return done.returncode, done.stdout, done.stderr


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="quern-cli-")
        self.addCleanup(self.folder.cleanup)
        # Nothing of the user's is touched.
        os.environ["XDG_CACHE_HOME"] = os.path.join(self.folder.name, "cache")

    def path(self, name, data=None):
        path = os.path.join(self.folder.name, name)
        if data is not None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        return path

    def refused(self, status, words, *arguments):
        """Runs what must fail: with this status, a message with these words, one line that starts
        with the tool's name, and nothing on standard output."""
        got, out, err = quern(*arguments)
        self.assertEqual(got, status, err)
        self.assertTrue(err.startswith("quern"), err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(out, "")


def main():
    """Runs the tests of the file that calls; its first argument is the tool."""
    global QUERN
    if len(sys.argv) < 2:
        raise SystemExit(f"usage: {os.path.basename(sys.argv[0])} QUERN [TEST...]")
    QUERN = os.path.abspath(sys.argv.pop(1))
    unittest.main("__main__")

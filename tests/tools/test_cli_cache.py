#!/usr/bin/env python3
"""quern cache: options that mean nothing are refused before anything is removed; places that are
none, and files that stay, are named with the reason.

usage: test_cli_cache.py QUERN. Python's standard library only.
"""

import os
import unittest

import tool_case
from tool_case import DIGITS, Case, quern

ENTRY = "0123456789abcdef" * 2 + ".qnc"
EXPLAIN_ONLY = (["--target", "sm_80"], ["--pack", "p.qp"], ["--records", "r.qnr"], ["--dim", "N=3"],
                ["--shape", "x=3"])


class Options(Case):
    def test_refused(self):
        kept = self.path("kept/" + ENTRY, b"x" * 10)
        place = ["--cache-dir", os.path.dirname(kept)]
        for option in EXPLAIN_ONLY:
            for what in ("list", "path", "clear"):
                with self.subTest(what=what, option=option):
                    self.refused(2, [option[0], "explain", what], "cache", what, *place, *option)
        self.refused(2, ["not both"], "cache", "list", self.path("p.qp"), *place)
        self.assertTrue(os.path.exists(kept))


class Places(Case):
    def test_link_to_nothing(self):
        link = self.path("link")
        os.symlink("gone", link)
        for what in ("list", "clear"):
            self.refused(1, [link], "cache", what, "--cache-dir", link)
        status, _, err = quern("run", DIGITS, "--fill", "zeros", "--dim", "N=1", "--cache-dir", link)
        self.assertEqual(status, 0)
        self.assertIn(f"{link}: Not a directory", err)

    def test_no_default(self):
        """Why there is none; a run says that it keeps nothing, and runs."""
        os.environ.pop("HOME", None)
        for value, why in (("/" + "a" * 5000, "too long"), ("relative", "absolute"), ("", "absolute")):
            os.environ["XDG_CACHE_HOME"] = value
            self.refused(1, [why], "cache", "path")
            line = ["run", DIGITS, "--fill", "zeros", "--dim", "N=1"]
            status, _, err = quern(*line)
            self.assertEqual(status, 0)
            self.assertRegex(err, f"^quern: warning: compiled programs are not kept: .*{why}.*\n$")
            self.assertEqual(quern(*line, "--no-cache")[2], "")

    @unittest.skipIf(os.geteuid() == 0, "who may do everything removes it")
    def test_read_only(self):
        kept = self.path("kept/" + ENTRY, b"x" * 10)
        os.chmod(os.path.dirname(kept), 0o500)
        self.addCleanup(os.chmod, os.path.dirname(kept), 0o700)
        status, out, err = quern("cache", "clear", "--cache-dir", os.path.dirname(kept))
        self.assertEqual(status, 1)
        self.assertIn("removed 0 entries", out)
        self.assertIn(f"{kept}: Permission denied; 1 entries", err)


if __name__ == "__main__":
    tool_case.main()

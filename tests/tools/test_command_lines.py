#!/usr/bin/env python3
"""Command lines that are wrong, for every verb and every option that its help names: a message that
names the option, status 2 (1 where only the system can tell), nothing that looks like a result and
nothing written.

usage: test_command_lines.py QUERN. Python's standard library only.
"""

import os
import re

import tool_case
from tool_case import DIGITS, NEST, VERBS, Case, quern

LONG = "9" * 20  # beyond 64 bits
REAL = ("-1", "nan", "inf", "1e999", "1e300", "3x", "x", " 1")

# What the help says follows an option: values that are wrong before anything is opened.
WRONG = {
    "N": ("0", "-1", LONG, "3x", "x", "+3", " 3", "0x10", "1.5"),
    "SECONDS": REAL,
    "X": REAL,
    "20s": ("0", "-1s", "5h", "s", "soon", "nan", "1e999m", "100000m"),
    "SYMBOL=N": ("n", "n=", "=3", "n=3x", "n=-1", "n= 3", "n=1.5", "n=" + LONG),
    "INPUT=1x3x8x8": ("x", "=1", "x=1xx2", "x=1x-2", "x=1x2x", "x=x", "x=1x" + LONG,
                      "x=" + "x".join("1" * 13)),
    "NAME=FILE": ("x", "=f", "x="),
    "LEVEL": ("soup", "Tile"),
    "random|zeros": ("ones", "Random"),
    "NAME": (), "FILE": (), "DIR": (), "TEXT": (),  # nothing is wrong before it is used
}


def options(verb):
    """(letter or "", name, what follows or "") by the verb's help."""
    text = quern(verb, "--help")[1]
    return re.findall(r"(?m)^  (?:-(\w), )?--([\w-]+)(?: (\S+))?  ", text)


class Lines(Case):
    def setUp(self):
        super().setUp()
        self.nest = self.path("n.nest", NEST)
        self.path("tests/none", b"")

    def files(self):
        """Everything in the test's folder but what drivers keep for themselves."""
        return {os.path.join(at, name) for at, folders, names in os.walk(self.folder.name)
                for name in folders + names
                if os.sep + "pocl" not in os.path.join(at, name) and name != "cache"}

    def refused(self, status, words, *arguments):
        before = self.files()
        super().refused(status, words, *arguments)
        self.assertEqual(self.files(), before)

    def begin(self, verb):
        """What is right, for options to stand behind."""
        return [verb, *{"devices": [], "cache": ["list"], "opt": [self.nest],
                        "kernel": [self.nest], "check": [self.path("tests")]}.get(verb, [DIGITS])]

    def test_help(self):
        status, out, err = quern("--help")
        self.assertEqual((status, err), (0, ""))
        self.assertGreaterEqual(len(VERBS), 11)
        for verb in VERBS:
            self.assertRegex(out, rf"(?m)^  {verb} ")
            status, text, err = quern(verb, "--help")
            self.assertEqual((status, err), (0, ""), verb)
            self.assertTrue(text.startswith(f"usage: quern {verb} "), text)
            self.assertIn(("", "help", ""), options(verb))
            self.assertEqual(quern(verb, "-h"), (0, text, ""))
            self.assertEqual(quern(*self.begin(verb), "--help"), (0, text, ""))

    def test_nothing(self):
        status, out, err = quern()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("usage:", err)
        for verb in VERBS:
            if verb != "devices":
                self.refused(2, [f"quern {verb}: ", "--help"], verb)

    def test_version(self):
        status, out, _ = quern("--version")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"^quern \d+\.\d+\.\d+\n$")

    def test_unknown(self):
        self.refused(2, ["no verb 'mill'"], "mill")
        self.refused(2, ["no verb ''"], "")
        self.refused(2, ["'melt'"], "cache", "melt")
        for verb in VERBS:
            hint = f"`quern {verb} --help`"
            self.refused(2, ["'--frobnicate'", hint], *self.begin(verb), "--frobnicate")
            self.refused(2, ["'--frobnicate=3'", hint], *self.begin(verb), "--frobnicate=3")
            self.refused(2, ["'-z'", hint], *self.begin(verb), "-z")

    def test_options_that_contradict(self):
        output = self.path("out")
        for given in (["--dim", "N=1"], ["--shape", "image=1x1x8x8"]):
            self.refused(2, ["--generic", given[0]], "export", DIGITS, "-o", output, "--generic", *given)
        for order in ((0, 1), (1, 0)):
            pair = (["--device", "cpu"], ["--target", "sm_80"])
            self.refused(2, ["--device cpu", "--target sm_80"], "inspect", DIGITS,
                         *pair[order[0]], *pair[order[1]])

    def test_too_many(self):
        for verb in VERBS:
            if verb not in ("bench", "check", "prewarm", "kernel"):
                self.refused(2, [f"quern {verb}: "], *self.begin(verb), DIGITS, DIGITS)

    def test_values(self):
        for verb in VERBS:
            for letter, name, takes in options(verb):
                given = [f"--{name}"] + ([f"-{letter}"] if letter else [])
                with self.subTest(verb=verb, option=name):
                    if not takes:
                        self.refused(2, [f"--{name}", "no value"], *self.begin(verb), f"--{name}=1")
                        continue
                    for option in given:
                        self.refused(2, [f"'{option}", "needs a value"], *self.begin(verb), option)
                        self.refused(2, [option], *self.begin(verb), option, "")
                    self.refused(2, [f"--{name}"], *self.begin(verb), f"--{name}=")
                    for value in WRONG[takes]:
                        self.refused(2, [f"--{name}", value], *self.begin(verb), f"--{name}", value)

    def test_empty_argument(self):
        for verb in VERBS:
            self.refused(2, ["argument", "empty"], verb, "")
            self.refused(2, ["argument", "empty"], *self.begin(verb), "")

    def bad_files(self):
        """Paths that cannot be read, or whose contents mean nothing, by what is wrong."""
        os.mkdir(self.path("folder"))
        os.symlink("loop", self.path("loop"))
        bad = {kind: self.path(kind) for kind in ("folder", "loop", "gone")}
        bad["under a file"] = self.path("n.nest/x")
        bad["noise"] = self.path("noise", bytes(i * 37 % 256 for i in range(5000)))
        bad["empty"] = self.path("nothing", b"")
        secret = self.path("secret", NEST)
        os.chmod(secret, 0)
        if not os.access(secret, os.R_OK):  # who may do everything reads it
            bad["secret"] = secret
        return bad

    def test_files(self):
        """Each place of a file, each wrong file; some take what others do not."""
        bad = self.bad_files()
        out = ["-o", self.path("out")]
        places = [([verb, "@"], ()) for verb in ("run", "bench", "inspect", "tune", "opt", "kernel")]
        places += [(["cache", "explain", "@"], ()), (["cache", "list", "@"], ("folder",)),
                   (["check", "@"], ()), (["export", "@", *out], ()), (["prewarm", "@", *out], ()),
                   (["run", DIGITS, "--input", "image=@"], ())]
        for verb in VERBS:
            names = {name for _, name, takes in options(verb) if takes == "FILE"} - {"output"}
            begin = ["cache", "explain", DIGITS] if verb == "cache" else self.begin(verb)
            begin += out if verb == "prewarm" else []
            begin += ["--to", "asm"] if verb == "opt" else []
            places += [([*begin, f"--{name}", "@"], ("empty",) if name == "records" else ())
                       for name in sorted(names)]
        for arguments, good in places:
            for kind, path in bad.items():
                if kind not in good:
                    with self.subTest(arguments=arguments, kind=kind):
                        self.refused(1, [path], *(a.replace("@", path) for a in arguments))

    def test_outputs(self):
        """What cannot be written fails; what was there is as it was."""
        os.mkdir(self.path("folder"))
        sizes = ["--dim", "N=1"]
        before = self.files()
        for path in (self.path("folder"), self.path("gone/out"), self.path("n.nest/out")):
            for line in (["export", "--no-cache"], ["prewarm", "--no-cache"], ["tune"]):
                with self.subTest(line=line, path=path):
                    status, out, err = quern(line[0], DIGITS, *sizes, *line[1:], "-o", path)
                    self.assertEqual(status, 1)
                    self.assertTrue(err.startswith(f"quern {line[0]}: {path}"), err)
                    self.assertNotIn(path, out)
                    self.assertEqual(self.files(), before)
        for path in (self.nest, self.nest + "/x"):
            self.refused(1, [path], "run", DIGITS, *sizes, "--fill", "zeros", "--no-cache",
                         "--output-dir", path)
            self.refused(1, [path], "tune", DIGITS, *sizes, "--cache-dir", path)
        for what in ("list", "clear"):
            self.refused(1, [self.nest], "cache", what, "--cache-dir", self.nest)
        soup = self.path("soup.qnr", b"soup\n")
        self.refused(1, [soup, "left alone"], "tune", DIGITS, *sizes, "-o", soup)


if __name__ == "__main__":
    tool_case.main()

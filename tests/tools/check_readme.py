#!/usr/bin/env python3
"""Checks what README.md says of the tree: its C program is examples/first.c (which is built and run
by another test), its links lead somewhere, the verbs and scripts it names are there.

usage: check_readme.py ROOT
"""

import os
import re
import sys


def problems(root):
    def read(path):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            return file.read()

    text = read("README.md")
    programs = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if programs != [read("examples/first.c")]:
        yield "the C program is not examples/first.c"
    if any(program.count("\n") > 30 for program in programs):
        yield "the C program has more than 30 lines"
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not os.path.exists(os.path.join(root, link)):
            yield f"a link leads nowhere: {link}"
    for script in set(re.findall(r"\bscripts/\w+", text)):
        if not os.access(os.path.join(root, script), os.X_OK):
            yield f"there is no {script}"
    verbs = set(re.findall(r"^VERB\((\w+),", read("tools/verbs.def"), re.MULTILINE))
    for verb in set(re.findall(r"(?:tools/|`)quern ([a-z]+)\b", text)) - verbs:
        yield f"quern has no verb '{verb}'"
    presets = set(re.findall(r'"name": "(\w+)"', read("CMakePresets.json")))
    for line in re.findall(r"other presets are ([^.]*)\.", text):
        for preset in set(re.findall(r"`(\w+)`", line)) - presets:
            yield f"there is no preset '{preset}'"


def main(root):
    found = list(problems(root))
    for problem in found:
        print(f"README.md: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

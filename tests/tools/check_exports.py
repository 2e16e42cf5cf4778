#!/usr/bin/env python3
"""Checks what the installed libraries export: exactly the functions that quern.h declares, each one
of them. Usage: check_exports.py NM HEADER LIBRARY..."""

import re
import subprocess
import sys

DECLARED = re.compile(r"^QN_API\b[^;(]*?\b(qn_[a-z0-9_]+)\(", re.MULTILINE)


def exported(nm, library):
    text = subprocess.run([nm, "-D", "--defined-only", library], check=True, capture_output=True,
                          text=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if line.strip()}


def main(nm, header, *libraries):
    with open(header, encoding="utf-8") as file:
        declared = set(DECLARED.findall(file.read()))
    bad = 0
    if not declared or not libraries:
        print("nothing to check")
        bad = 1
    for library in libraries:
        found = exported(nm, library)
        for name in sorted(found - declared):
            print(f"{library}: exports {name}, which {header} does not declare")
        for name in sorted(declared - found):
            print(f"{library}: {name} is declared in {header} and not exported")
        bad |= found != declared
    return bad


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

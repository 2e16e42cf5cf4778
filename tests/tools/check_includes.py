#!/usr/bin/env python3
"""Checks the include arrows between folders: a file may include only what stands below it.

    base  <--  ir  <--  frontend, passes, codegen  <--  jit
      ^                                              |
      +-----  runtime  <-----------------------------+

runtime and jit implement the public header; bindings, bench and examples see nothing else of the
library; the tool also sees the compiler's folders; tests see everything. A quoted include is looked
up as the compiler does: beside the file, then from the root, then in include/. The public header
includes no internal one.
"""

import os
import re
import sys

BELOW = {
    "base": set(),
    "ir": {"base"},
    "frontend": {"base", "ir"},
    "passes": {"base", "ir"},
    "codegen": {"base", "ir"},
    "runtime": {"base", "include"},
    "jit": {"base", "ir", "frontend", "passes", "codegen", "runtime", "include"},
    "include": set(),
    # The tool shows what is inside: kernels and passes on their own, test data read by the model
    # reader, the measured peak. What runs models in it goes through the public header like any user.
    "tools": {"base", "ir", "frontend", "passes", "codegen", "jit", "include"},
    "bindings": {"include"},
    "bench": {"include"},
    "examples": {"include"},
}
TESTS = "tests"
# Made by the build, so not in the tree: whose they are.
GENERATED = {".pb-c.h": "frontend", "jit/source_hash.h": "jit"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def sources(root):
    """Every C file of the known folders, relative to the root."""
    for top in sorted([*BELOW, TESTS]):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".def", ".inc")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def owner(root, source, target):
    """The top folder a quoted include comes from, or None when nothing is found."""
    for base in (os.path.dirname(source), "", "include"):
        path = os.path.normpath(os.path.join(base, target))
        if os.path.isfile(os.path.join(root, path)):
            return path.split(os.sep)[0]
    for suffix, folder in GENERATED.items():
        if target.endswith(suffix):
            return folder
    return None


def check_file(root, source):
    """The messages about one file."""
    top = source.split(os.sep)[0]
    with open(os.path.join(root, source), encoding="utf-8") as file:
        # A comment keeps its lines, so that the numbers stay right.
        text = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), file.read())
    wrong = []
    for match in INCLUDE.finditer(text):
        bracket, target = match.groups()
        where = f"{source}:{text.count(chr(10), 0, match.start()) + 1}"
        if bracket == "<" and not os.path.isfile(os.path.join(root, "include", target)) \
                and target.split("/")[0] not in BELOW:
            continue  # the system's, or a library's
        folder = owner(root, source, target)
        if folder is None:
            wrong.append(f'{where}: no "{target}" in the tree')
        elif top != TESTS and folder != top and folder not in BELOW[top]:
            allowed = ", ".join(sorted(BELOW[top])) or "nothing else"
            wrong.append(f'{where}: {top}/ may not include "{target}" of {folder}/ '
                         f"(only itself and: {allowed})")
    return wrong


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../.."))
    files = list(sources(root))
    if not files:
        print(f"check_includes: no C files under {root}", file=sys.stderr)
        return 1
    wrong = [message for source in files for message in check_file(root, source)]
    for message in wrong:
        print(message)
    print(f"check_includes: {len(files)} files, {len(wrong)} wrong includes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

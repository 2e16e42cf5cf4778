#!/usr/bin/env python3
"""Checks the folder map of docs/architecture.md against the tree, both ways.

The map is the tables of the sections whose heading holds the word "folder"; a row names its folder
first, as `name/`. Every top folder must have a row, and every row a folder. Hidden folders and what
git ignores (build*) are left out.
"""

import os
import re
import subprocess
import sys

ROW = re.compile(r"^\|\s*`([^`/]+)/`")
HEADING = re.compile(r"^#+\s+(.*)")


def named(path):
    """The folders the map names."""
    found, inside = [], False
    with open(path, encoding="utf-8") as file:
        for line in file:
            heading = HEADING.match(line)
            if heading:
                inside = "folder" in heading.group(1).lower()
            row = ROW.match(line)
            if inside and row:
                found.append(row.group(1))
    return found


def tops(root):
    """The top folders that hold files: tracked ones, or all but build* outside a checkout."""
    try:
        listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True,
                                capture_output=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = []
    if listed and listed[0]:
        names = {path.split("/")[0] for path in listed if "/" in path}
    else:
        names = {n for n in os.listdir(root)
                 if os.path.isdir(os.path.join(root, n)) and not n.startswith("build")}
    return {n for n in names if not n.startswith(".")}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../.."))
    page = os.path.join(root, "docs", "architecture.md")
    rows, folders = named(page), tops(root)
    wrong = []
    if not rows:
        wrong.append(f"{page}: no folder map (a table under a heading with the word folder)")
    wrong += [f"{page}: the folder map does not name {f}/" for f in sorted(folders - set(rows))]
    wrong += [f"{page}: the folder map names {f}/, which does not exist"
              for f in sorted(set(rows) - folders)]
    wrong += [f"{page}: the folder map names {f}/ twice" for f in sorted(set(rows))
              if rows.count(f) > 1]
    for message in wrong:
        print(message)
    print(f"check_folders: {len(folders)} folders, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Runs `quern check` over the official tests and holds every tier to its floor.

tiers.txt names, a line each: tier, device, folder, the least number of tests that must pass, and
where not the whole folder is meant a part of the tests' names (`quern check --filter`). Fewer is a
failure; more prints a reminder to raise the floor, so that what passes once stays passing.
A folder NAME-open is NAME with every dim open (open_dims.py), made when it is missing or older than
that, and run by `quern check --generic`. What is not supported there fails to compile; a wrong value or a crash, in
any folder, does not hold whatever the floor.
The last line of `quern check` must be `passed N, failed N, skipped N`; a crash has none and fails.
"""

import argparse
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIERS = ("quick", "full")
WRONG = re.compile(r"^FAILED \S+: (wrong|crash).*", re.MULTILINE)
OPEN = "-open"
LAST = re.compile(r"passed (\d+), failed (\d+), skipped (\d+)")


def read_tiers(path):
    """[(tier, device, folder, floor, filter or '')]"""
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.split("#")[0].split()
            if not fields:
                continue
            if len(fields) not in (4, 5) or fields[0] not in TIERS or not fields[3].isdigit():
                raise SystemExit(f"{path}:{number}: expected: quick|full DEVICE FOLDER FLOOR [NAME]")
            rows.append((*fields[:3], int(fields[3]), fields[4] if len(fields) == 5 else ""))
    return rows


def make_open(options, folder):
    path = os.path.join(options.tests, folder)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "open_dims.py")
    if not os.path.isdir(path) or os.path.getmtime(path) < os.path.getmtime(script):
        subprocess.run([sys.executable, script, path.removesuffix(OPEN), path], check=True)


def check(options, device, folder, floor, name):
    """Runs one row; True when it holds."""
    if folder.endswith(OPEN):
        make_open(options, folder)
    log = os.path.join(options.logs, "-".join(filter(None, ("check", device, folder, name))) + ".log")
    command = [options.quern, "check", os.path.join(options.tests, folder), "--device", device,
               "--jobs", str(options.jobs)]
    if name:
        command += ["--filter", name]
    if folder.endswith(OPEN):
        command += ["--generic"]
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        try:
            status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT,
                                    timeout=options.timeout).returncode
        except subprocess.TimeoutExpired:
            print(f"{device} {folder}: more than {options.timeout:g} s; see {log}")
            return False
    with open(log, encoding="utf-8", errors="replace") as file:
        output = file.read()
    lines = output.strip().splitlines()
    found = LAST.search(lines[-1]) if lines else None
    if not found:
        print(f"{device} {folder}: ended with status {status} and no count; see {log}")
        return False
    passed, failed, skipped = map(int, found.groups())
    text = (f"{device} {folder}: passed {passed}, failed {failed}, skipped {skipped} "
            f"(floor {floor}, {time.monotonic() - start:.0f} s)")
    wrong = WRONG.search(output)
    if wrong:
        print(f"{text}: {wrong.group()}; see {log}")
        return False
    if passed < floor:
        print(f"{text}: FEWER than the floor; see {log}")
        return False
    print(text + ("; raise the floor in tests/conformance/tiers.txt" if passed > floor else ""))
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tier", choices=TIERS, default="quick",
                        help="quick (the default), or full: both")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"))
    parser.add_argument("--tests", default=os.path.join(ROOT, "build/onnx-tests"),
                        help="what fetch.py laid out")
    parser.add_argument("--logs", default=os.path.join(ROOT, "build"), help="folder for the logs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds a row (900)")
    options = parser.parse_args()
    if not os.access(options.quern, os.X_OK):
        print(f"conformance: no tool at {options.quern}", file=sys.stderr)
        return 1
    rows = read_tiers(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiers.txt"))
    held = True
    for tier, *row in rows:
        if tier == "quick" or options.tier == "full":
            held = check(options, *row) and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

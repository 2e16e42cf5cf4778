#!/usr/bin/env python3
"""Writes docs/operators.md: what ONNX has, from which version Quern has it, and what it is made of.

    list_operators.py ROOT            checks that the page is what the sources give
    list_operators.py ROOT --write    writes it

Rows come from frontend/onnx.def. What an operator is made of is read from its importer: the host
operations that it, or a function it calls, names; kernels when it builds any other operation of the
graph. The operators of ONNX and their versions come from the `onnx` package where that is installed;
else from the page itself, so that the check needs nothing but Python.
"""

import glob
import os
import re
import sys

DOMAINS = {"AI": "ai.onnx", "ML": "ai.onnx.ml", "PREVIEW": "ai.onnx.preview",
           "TRAINING": "ai.onnx.preview.training", "MS": "com.microsoft"}
ROW = re.compile(r"^ONNX\((\w+),\s*(\w+),\s*(\d+),\s*(\w+),", re.MULTILINE)
# A function at file level: whether it is static, its name and body.
FUNCTION = re.compile(r"^(static )?[A-Za-z][\w \*]*?\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
HOST = re.compile(r"\b(?:graph_host\(im->graph|host\(im),\s*([^,]*),")
TEXT = re.compile(r'"(\w+)"')
CALL = re.compile(r"\b([a-z]\w+)\(")
# Nodes that are no kernels: constants, and the host step itself.
NO_KERNEL = {"graph_host", "graph_constant", "graph_poison", "graph_elements", "graph_elements_of",
             "graph_same_dim", "graph_broadcast", "graph_fresh_dim", "graph_scalar"}
# Where the road of one importer ends and the driver's begins.
DRIVER = {"import_nodes", "weight", "import_subgraph", "import_moved_texts", "moves_texts", "call_function"}
VERSION = "1.22"
PAGE = "docs/operators.md"
LINE = re.compile(r"^\| (\w+) \| ([\d, ]+)(, deprecated)? \|")
HEAD = re.compile(r"^## (\S+)$")


class Function:
    """A function of the frontend: what it calls, the texts in it, the host operations it names."""

    def __init__(self, path, body):
        self.path = path
        self.calls = set(CALL.findall(body))
        self.texts = set(TEXT.findall(body))
        self.hosts = {op for use in HOST.findall(body) for op in TEXT.findall(use)}
        self.takes_name = "host(im, name" in body


def functions(root):
    """By name, and by (file, name) for those of one file only."""
    found = {}
    for path in sorted(glob.glob(os.path.join(root, "frontend", "*.c"))):
        with open(path, encoding="utf-8") as file:
            for static, name, body in FUNCTION.findall(file.read()):
                found[(path, name) if static else name] = Function(path, body)
    return found


def made_of(known, importer, hosts):
    """Whether kernels are built, and which host operations, in all that an importer reaches."""
    seen, todo, kernels, named = set(), [(None, importer)], False, set()
    while todo:
        path, name = todo.pop()
        key = (path, name) if (path, name) in known else name
        if key in seen or name in DRIVER:
            continue
        seen.add(key)
        kernels |= name.startswith("graph_") and name not in NO_KERNEL
        if key not in known:
            continue
        function = known[key]
        called = [known.get((function.path, call), known.get(call)) for call in function.calls]
        todo += [(function.path, call) for call in function.calls]
        named |= function.hosts
        if any(other and other.takes_name for other in called):
            named |= function.texts & hosts
    return kernels, named


def text_of(kernels, named):
    parts = ["kernels"] if kernels else []
    if named:
        word = "host operation" if len(named) == 1 else "host operations"
        parts.append(word + " " + ", ".join(f"`{name}`" for name in sorted(named)))
    return " and ".join(parts) or "no step"


def from_package():
    """{(domain, name): ([version...], deprecated)}, or None without the package."""
    try:
        from onnx import __version__, defs
    except ImportError:
        return None
    if not __version__.startswith(VERSION + "."):
        print(f"onnx {__version__} is not {VERSION}: the operators stay as the page has them")
        return None
    found = {}
    for schema in defs.get_all_schemas_with_history():
        versions, _ = found.setdefault((schema.domain or "ai.onnx", schema.name), ([], False))
        versions.append(schema.since_version)
    for (domain, name), (versions, _) in found.items():
        last = defs.get_schema(name, max(versions), "" if domain == "ai.onnx" else domain)
        found[domain, name] = (sorted(versions), last.deprecated)
    return found


def from_page(root):
    found, domain = {}, None
    with open(os.path.join(root, PAGE), encoding="utf-8") as file:
        for line in file:
            if HEAD.match(line):
                domain = HEAD.match(line).group(1)
            match = LINE.match(line)
            if match and domain:
                versions = [int(word) for word in match.group(2).split(",")]
                found[domain, match.group(1)] = (versions, match.group(3) is not None)
    return found


def page(root, schemas):
    known = functions(root)
    with open(os.path.join(root, "runtime/host.def"), encoding="utf-8") as file:
        hosts = set(re.findall(r"^HOST\((\w+)\)", file.read(), re.MULTILINE))
    rows = {}
    with open(os.path.join(root, "frontend/onnx.def"), encoding="utf-8") as file:
        for domain, name, since, importer in ROW.findall(file.read()):
            rows.setdefault((DOMAINS[domain], name), []).append((int(since), importer))
    missing = sorted(key for key in schemas if key not in rows)
    new = [key for key in missing if not schemas[key][1]]
    out = ["# Operators", "",
           "Made by `tests/tools/list_operators.py --write` from `frontend/onnx.def`, the importers "
           f"and the schemas of onnx {VERSION}; a test fails when it is stale.", "",
           f"Of {len(schemas)} operators of ONNX, {len(schemas) - len(missing)} are there; "
           f"{len(new)} are missing, and {len(missing) - len(new)} more that ONNX itself has given "
           "up. *From*: the first versions of a meaning that Quern has; models of an older one are "
           "refused by name. An operator that is not here can be given to a context "
           "(`qn_custom_operator`).", ""]
    for domain in sorted({key[0] for key in schemas} | {key[0] for key in rows}):
        out += [f"## {domain}", "", "| operator | versions in ONNX | from | made of |",
                "| --- | --- | --- | --- |"]
        names = {key[1] for key in (*schemas, *rows) if key[0] == domain}
        for name in sorted(names):
            versions, deprecated = schemas.get((domain, name), ([], False))
            ours = rows.get((domain, name), [])
            kernels, named = False, set()
            for _, importer in ours:
                more = made_of(known, importer, hosts)
                kernels, named = kernels | more[0], named | more[1]
            listed = ", ".join(map(str, versions)) + (", deprecated" if deprecated else "")
            since = ", ".join(str(since) for since, _ in sorted(ours))
            how = text_of(kernels, named) if ours else "**missing**"
            out.append(f"| {name} | {listed or 'none'} | {since or 'none'} | {how} |")
        out.append("")
    return "\n".join(out[:-1]) + "\n"


def main(root, *options):
    path = os.path.join(root, PAGE)
    schemas = from_package()
    if schemas is None and not os.path.exists(path):
        print(f"onnx {VERSION} is needed to write the first page")
        return 1
    text = page(root, from_page(root) if schemas is None else schemas)
    if "--write" in options:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return 0
    with open(path, encoding="utf-8") as file:
        before = file.read()
    if before == text:
        return 0
    old, new = set(before.splitlines()), set(text.splitlines())
    for line in sorted(old - new)[:5]:
        print("- " + line)
    for line in sorted(new - old)[:5]:
        print("+ " + line)
    print(f"{PAGE} is stale: python3 tests/tools/list_operators.py . --write")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

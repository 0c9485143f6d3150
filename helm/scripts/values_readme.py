"""Prints helm/claviger/README.md: each value of values.yaml with the line above it. `make chart-docs` keeps it."""

import re
import sys

HEAD = """# Chart of Claviger

One Claviger on Kubernetes 1.30 or newer: nodes on a PostgreSQL that is there (and a Redis, if wanted), or one node on SQLite. How it is
installed is in [docs/install.md](../../docs/install.md). This file is made from `values.yaml`.

| value | default | |
|---|---|---|"""


def rows(lines):
    path, said = [], ""
    for number, line in enumerate(lines):
        text = line.strip()
        if text.startswith("#"):
            said = text[1:].strip()
            continue
        found = re.match(r"^( *)([A-Za-z_]+):(?: (.*))?$", line)
        if not found:
            said = ""
            continue
        depth, name, value = len(found[1]) // 2, found[2], found[3]
        path = path[:depth] + [name]
        if said:
            if value is None:
                inner = (inner.strip() for inner in lines[number + 1 :])
                value = next(inner) + (" …" if name == "resources" else "")
            yield f"| `{'.'.join(path)}` | `{value}` | {said} |"
        said = ""


if __name__ == "__main__":
    print(HEAD)
    for row in rows(open(sys.argv[1], encoding="utf-8").read().splitlines()):
        print(row)

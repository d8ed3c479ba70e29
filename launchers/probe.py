"""Compares the environment that was asked for with the one that is here, once on every node.

It runs inside the step, in the container where there is one, as ``python probe.py POLICY
[SECRET]…`` in the run's folder, so it needs nothing but an old Python. It writes
logs/NODE/environment.json and fails where something differs, if POLICY is ``fail``. Secrets are
looked for, never written.
"""

from __future__ import annotations

import glob
import json
import os
import socket
import sys

IMAGE_FILES = ("/etc/environment", "/.singularity.d/env/*.sh")
"""Where enroot and apptainer keep what an image wants set."""


def compare(
    asked: list[dict[str, str]], effective: dict[str, str], secrets: tuple[str, ...] = ()
) -> list[dict[str, str | None]]:
    """One record for each variable: name, asked, effective, changed_by (null where they agree)."""
    records: list[dict[str, str | None]] = []
    for variable in asked:
        name, value = variable["name"], variable["value"]
        there = effective.get(name)
        culprit = None if there == value else changed_by(name, there)
        records.append({"name": name, "asked": value, "effective": there, "changed_by": culprit})
    for name in secrets:
        there = "<secret>" if effective.get(name) else None
        culprit = None if there else changed_by(name, None)
        records.append(
            {"name": name, "asked": "<secret>", "effective": there, "changed_by": culprit}
        )
    return records


def changed_by(name: str, value: str | None, patterns: tuple[str, ...] = IMAGE_FILES) -> str:
    """Who took the variable away or changed it, as far as can be seen from inside."""
    if value is None:
        return "dropped on the way: by srun, its prolog or the container's list of names"
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):
            if _sets(path, name, value):
                return f"the image ({path})"
    return "the node: a prolog, a hook of the container runtime or a start-up file"


def _sets(path: str, name: str, value: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    wanted = name + "=" + value
    return any(
        line.replace("export ", "").replace('"', "").replace("'", "").strip() == wanted
        for line in lines
    )


def main(arguments: list[str]) -> int:
    """Compare, write, and say whether the ranks may start."""
    policy, secrets = arguments[0], tuple(arguments[1:])
    with open("env.json", encoding="utf-8") as file:
        records = compare(json.load(file), dict(os.environ), secrets)
    different = [record for record in records if record["changed_by"]]
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    folder = os.path.join("logs", node)
    os.makedirs(folder, exist_ok=True)
    found = {"node": node, "ok": not different, "variables": records}
    with open(os.path.join(folder, "environment.json"), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2)
        file.write("\n")
    for record in different:
        shown = f"asked {record['asked']!r}, is {record['effective']!r}; {record['changed_by']}"
        sys.stderr.write(f"llmtrain: {node}: {record['name']}: {shown}\n")
    return 5 if different and policy == "fail" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

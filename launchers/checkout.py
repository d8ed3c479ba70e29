"""Compares the checkout of the program with the version whose flags were rendered, on every node.

It runs inside the step, in the container where there is one, as ``python checkout.py POLICY`` in
the run's folder, so it needs nothing but an old Python. It reads checkout.json and fails where the
program is missing or another one, if POLICY is ``fail``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

PACKAGE = os.path.join("megatron", "core", "package_info.py")
"""Where a checkout without its history still tells its release."""


def head_of(path: str) -> str | None:
    """The commit of a checkout, read from git's files: git may be missing in a container."""
    folder = os.path.join(path, ".git")
    if os.path.isfile(folder):
        # A worktree or a submodule keeps its history elsewhere.
        folder = os.path.join(path, _read(folder).partition(":")[2].strip())
    head = _read(os.path.join(folder, "HEAD")).strip()
    if not head.startswith("ref:"):
        return head or None
    name = head.partition(":")[2].strip()
    common = os.path.join(folder, _read(os.path.join(folder, "commondir")).strip())
    for place in (folder, common):
        found = _read(os.path.join(place, name)).strip()
        packed = re.search(r"^([0-9a-f]{40}) " + re.escape(name) + "$", _packed(place), re.M)
        if found or packed:
            return found or (packed[1] if packed else None)
    return None


def release_of(path: str) -> str | None:
    """``0.16`` of megatron-core, from the file that every copy of it holds."""
    text = _read(os.path.join(path, PACKAGE))
    found = [re.search(rf"^{name} *= *(\d+)", text, re.M) for name in ("MAJOR", "MINOR")]
    return ".".join(each[1] for each in found if each) if all(found) else None


def different(wanted: dict[str, str]) -> tuple[str, str]:
    """What is wrong, and what is only worth a word; empty strings where nothing is."""
    path, version = wanted["path"], f"{wanted['program']} {wanted['version']}"
    if not os.path.exists(os.path.join(path, "pretrain_gpt.py")):
        return f"there is no pretrain_gpt.py in {path}, which `backend.path` names", ""
    head = head_of(path)
    if head == wanted["commit"]:
        return "", ""
    hint = "set `backend.version` to what is there, or check that version out"
    if head and _is_behind(path, wanted["commit"]):
        return "", f"{path} is at {head[:10]}, which has commits on top of {version}"
    if head:
        return f"{path} is at {head[:10]}, not at {version} ({wanted['commit'][:10]}): {hint}", ""
    release = release_of(path)
    if release and wanted["release"] and release != wanted["release"]:
        return f"{path} is megatron-core {release}, not {wanted['release']}: {hint}", ""
    return "", f"{path} has no git history: it cannot be told whether it is {version}"


def _is_behind(path: str, commit: str) -> bool:
    """Whether ``commit`` is an ancestor of what is checked out; False where git cannot tell."""
    command = ["git", "-C", path, "merge-base", "--is-ancestor", commit, "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _packed(folder: str) -> str:
    return _read(os.path.join(folder, "packed-refs"))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def main(arguments: list[str]) -> int:
    """Compare, and say whether the ranks may start."""
    wrong, remark = different(json.loads(_read("checkout.json")))
    if wrong or remark:
        sys.stderr.write(f"llmtrain: {wrong or remark}\n")
    return 5 if wrong and arguments[0] == "fail" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Settings of a node that NCCL and its shared memory depend on. None: it cannot be read here."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .finding import Finding, finding, shown
from .machine import Machine
from .promise import Limits

SYSTEM = "/etc/nccl.conf"
LOGIND = ("usr/lib/systemd", "etc/systemd")
"""Where logind's settings lie; the last one wins, those in ``logind.conf.d`` are behind."""


class Settings(NamedTuple):
    """Of the node."""

    stack: int
    """Bytes of a process' stack; -1: no limit."""
    huge_pages: str | None
    """Transparent ones: always, madvise or never."""
    remove_ipc: str | None
    """yes: who logs out loses the shared memory of his jobs."""
    nccl_conf: Mapping[str, tuple[str, ...]]
    """By file, what it sets where the environment does not."""


def read_settings(machine: Machine) -> Settings:
    """From the limits of this process, and files."""
    pages = machine.text("sys/kernel/mm/transparent_hugepage/enabled")
    chosen = re.search(r"\[(\w+)\]", pages or "")
    return Settings(
        stack=resource.getrlimit(resource.RLIMIT_STACK)[0],
        huge_pages=chosen.group(1) if chosen else None,
        remove_ipc=_remove_ipc(machine),
        nccl_conf=_nccl_conf(machine),
    )


def judge_settings(settings: Settings, nccl: str | None, limits: Limits) -> Iterator[Finding]:
    """``nccl``: its version; newer ones mind the stack themselves."""
    limit = limits["stack"]["value"]
    minds = nccl is not None and _numbers(nccl) >= _numbers(limit)
    says = "no limit; `ulimit -s 8192`" if settings.stack < 0 else f"{settings.stack} bytes"
    yield finding(limits, "stack", settings.stack >= 0 or minds, f"stack: {says}")
    for check in ("huge_pages", "remove_ipc"):
        value = getattr(settings, check)
        good = None if value is None else value in limits[check]["value"]
        yield finding(limits, check, good, f"{check}: {shown(value)}")
    listed = limits["nccl_conf"]["value"]
    pairs = [(path, each) for path, lines in settings.nccl_conf.items() for each in lines]
    odd = [pair for pair in pairs if pair[0] != SYSTEM or pair[1].partition("=")[0] in listed]
    says = "; ".join(f"{each} in {path}" for path, each in odd or pairs) or "no file sets anything"
    yield finding(limits, "nccl_conf", not odd, f"NCCL, where the environment does not: {says}")


def nccl_lines(text: str | None) -> tuple[str, ...]:
    """What a file of NCCL's sets, ``NAME=VALUE``."""
    found = re.findall(r"^\s*(NCCL_\w+)\s*=\s*(.*?)\s*$", text or "", re.M)
    return tuple(f"{name}={value}" for name, value in found)


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)[:2]]


def _remove_ipc(machine: Machine) -> str | None:
    """A line that is commented out shows what is so without one; an image's file says nothing."""
    if not (machine.root / "run/systemd/system").is_dir():
        return None
    files = [f"{folder}/logind.conf" for folder in LOGIND]
    parts = [
        (name, folder) for folder in LOGIND for name in machine.names(f"{folder}/logind.conf.d")
    ]
    files += [f"{folder}/logind.conf.d/{name}" for name, folder in sorted(parts)]
    text = "\n".join(machine.text(path) or "" for path in files)
    said = re.findall(r"^\s*RemoveIPC\s*=\s*(\w+)", text, re.M)
    default = re.findall(r"^\s*#\s*RemoveIPC\s*=\s*(\w+)", text, re.M)
    found = said[-1:] or default[:1]
    return found[0].lower() if found else None


def _nccl_conf(machine: Machine) -> dict[str, tuple[str, ...]]:
    """As NCCL reads them (src/misc/param.cc): a file that is named takes the home file's place."""
    own = os.environ.get("NCCL_CONF_FILE") or os.path.expanduser("~/.nccl.conf")
    found = {}
    for path in (SYSTEM, os.path.abspath(own)):
        lines = nccl_lines(machine.text(path.lstrip("/")))
        if lines:
            found[path] = lines
    return found

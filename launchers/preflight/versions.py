"""Versions that have to be the same on all nodes of a job, read without importing anything."""

from __future__ import annotations

import platform
from importlib import metadata

from .gpus import GpuNode
from .machine import Machine
from .nics import HCA, NET
from .settings import nccl_lines

NCCL_PACKAGES = ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11")
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/local/lib")


def read_versions(machine: Machine, graphics: GpuNode) -> dict[str, str]:
    """By name: driver, kernel, python, torch, nccl, ofed, firmware, MTU, nccl.conf; those there."""
    found = {
        "driver": graphics.gpus[0].driver if graphics.gpus else None,
        "kernel": machine.text("proc/sys/kernel/osrelease"),
        "python": platform.python_version(),
        "torch": _package("torch"),
        "nccl": _nccl(machine),
        "ofed": machine.text("sys/module/mlx5_core/version"),
        "firmware": _firmware(machine),
        "mtu": _mtu(machine),
        "nccl_conf": ", ".join(sorted(nccl_lines(machine.text("etc/nccl.conf")))),
    }
    return {name: version for name, version in found.items() if version}


def _package(name: str) -> str | None:
    try:
        return metadata.version(name)
    except Exception:  # not there, or its files are broken: then a rank says so
        return None


def _nccl(machine: Machine) -> str | None:
    """Of the package beside torch, else of the library that the loader would find."""
    for name in NCCL_PACKAGES:
        version = _package(name)
        if version:
            return version
    for folder in LIBRARIES:
        target = machine.target(f"{folder}/libnccl.so.2")
        if target:
            return target.partition(".so.")[2]
    return None


def _mtu(machine: Machine) -> str | None:
    """Of the interfaces on RDMA devices that are up."""
    names = [
        name
        for device in machine.names(HCA)
        for name in machine.names(f"{HCA}/{device}/device/net")
        if machine.text(f"{NET}/{name}/operstate") == "up"
    ]
    sizes = {machine.text(f"{NET}/{name}/mtu") or "" for name in names} - {""}
    return ", ".join(sorted(sizes)) or None


def _firmware(machine: Machine) -> str | None:
    kinds = {
        f"{machine.text(f'{HCA}/{name}/board_id')} {version}"
        for name in machine.names(HCA)
        for version in (machine.text(f"{HCA}/{name}/fw_ver"),)
        if version
    }
    return ", ".join(sorted(kinds)) or None

"""What is read of a node. None: it cannot be read here."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .gpus import GpuNode, read_gpus
from .machine import Machine
from .versions import read_versions

HCA = "sys/class/infiniband"


class NicFacts(NamedTuple):
    """The first port of one RDMA device."""

    name: str
    """Device."""
    state: str
    """ACTIVE, DOWN, …"""
    rate_gbit_per_s: float | None
    """Of the port."""
    link_layer: str
    """InfiniBand or Ethernet."""
    numa_node: int | None
    """-1: the firmware does not say."""
    link_downed: int | None
    """Times since the counters were cleared."""
    symbol_error: int | None
    """Of the physical layer."""
    receive_errors: int | None
    """Packets with errors."""
    joined: bool | None
    """The port is a full member of a partition of the fabric."""


class Facts(NamedTuple):
    """One node."""

    host: str
    """Its name."""
    graphics: GpuNode
    """Its GPUs."""
    nics: tuple[NicFacts, ...]
    """RDMA devices."""
    peer_memory: bool | None
    """GPUs and NICs can exchange memory by a module of the kernel."""
    locked_memory: int
    """Bytes a process may lock; -1: all."""
    open_files: int
    """Files a process may open; -1: all."""
    shared_memory_bytes: int | None
    """Free in /dev/shm."""
    numa_balancing: str | None
    """0: off."""
    governor: str | None
    """Of the first CPU's clock."""
    clock_seconds: float | None
    """Off the time servers."""
    free_bytes: Mapping[str, int]
    """On the file systems that were asked for."""
    read_only: tuple[str, ...]
    """Of the folders that were asked for, those that take no file."""
    versions: Mapping[str, str]
    """What has to be the same on all nodes of a job."""

    def as_json(self) -> dict[str, Any]:
        """For ``--json`` and a job's record."""
        gpus = self.graphics.gpus
        graphics = {
            **self.graphics._asdict(),
            "gpus": None if gpus is None else [each._asdict() for each in gpus],
        }
        return {**self._asdict(), **graphics, "nics": [each._asdict() for each in self.nics]}


def node_name() -> str:
    """The node, as Slurm calls it where it does."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def read_facts(machine: Machine, folders: Sequence[Path] = ()) -> Facts:
    """Read the node; ``folders``: whose file systems are asked for room."""
    graphics = read_gpus(machine)
    return Facts(
        host=node_name(),
        graphics=graphics,
        nics=tuple(_nic(machine, name) for name in machine.names(HCA)),
        peer_memory=_peer_memory(machine),
        locked_memory=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        shared_memory_bytes=_free(machine.root / "dev/shm"),
        numa_balancing=machine.text("proc/sys/kernel/numa_balancing"),
        governor=machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clock_seconds=_clock(machine.run(("chronyc", "-n", "tracking"))),
        free_bytes={str(each): free for each in folders if (free := _free(each)) is not None},
        read_only=tuple(str(each) for each in folders if _takes_no_file(each)),
        versions=read_versions(machine, graphics),
    )


def _nic(machine: Machine, name: str) -> NicFacts:
    port = f"{HCA}/{name}/ports/1"
    rate = re.match(r"[\d.]+", machine.text(f"{port}/rate") or "")
    return NicFacts(
        name=name,
        state=(machine.text(f"{port}/state") or "").rpartition(": ")[2],
        rate_gbit_per_s=float(rate.group()) if rate else None,
        link_layer=machine.text(f"{port}/link_layer") or "",
        numa_node=machine.number(f"{HCA}/{name}/device/numa_node"),
        link_downed=machine.number(f"{port}/counters/link_downed"),
        symbol_error=machine.number(f"{port}/counters/symbol_error"),
        receive_errors=machine.number(f"{port}/counters/port_rcv_errors"),
        joined=_joined(machine, port),
    )


def _joined(machine: Machine, port: str) -> bool | None:
    """The highest bit of a key says that the member is a full one."""
    keys = [machine.text(f"{port}/pkeys/{name}") for name in machine.names(f"{port}/pkeys")]
    known = [int(key, 16) for key in keys if key and re.fullmatch(r"0x[\da-fA-F]+", key)]
    return any(key & 0x8000 for key in known) if known else None


def _peer_memory(machine: Machine) -> bool | None:
    if machine.names("sys/kernel/mm/memory_peers"):
        return True
    modules = machine.text("proc/modules")
    if modules is None:
        return None
    return bool(re.search(r"^(?:nvidia_peermem|nv_peer_mem) ", modules, re.MULTILINE))


def _folder(path: Path) -> Path | None:
    """The nearest folder above that is there."""
    return next((each for each in (path, *path.parents) if each.is_dir()), None)


def _free(path: Path) -> int | None:
    folder = _folder(path)
    return None if folder is None else shutil.disk_usage(str(folder)).free


def _takes_no_file(path: Path) -> bool:
    folder = _folder(path)
    if folder is None:
        return False
    try:
        with tempfile.NamedTemporaryFile(dir=str(folder), prefix=".llmtrain-") as file:
            file.write(b"\n" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return True
    return False


def _clock(text: str | None) -> float | None:
    found = re.search(r"System time\s*: ([\d.]+) seconds", text or "")
    return float(found.group(1)) if found else None

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
from .nics import NicFacts, changed, read_carriers, read_link_downs, read_nics
from .pcie import PcieFacts, read_pcie
from .settings import Settings, read_settings
from .versions import read_versions


class Facts(NamedTuple):
    """One node."""

    host: str
    """Its name."""
    graphics: GpuNode
    """Its GPUs."""
    nics: tuple[NicFacts, ...]
    """RDMA devices."""
    link_downs: tuple[tuple[str, float | None], ...] | None
    """Network interface and age in hours of each loss of a link in the kernel's log."""
    carriers: Mapping[str, int]
    """By network interface, how often its link came or went while the node was read."""
    pcie: PcieFacts
    """The buses between them."""
    settings: Settings
    """What NCCL depends on."""
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
        found: dict[str, Any] = _plain(self)
        graphics = found.pop("graphics")
        return {**found, **graphics}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def node_name() -> str:
    """The node, as Slurm calls it where it does."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def read_facts(machine: Machine, folders: Sequence[Path] = ()) -> Facts:
    """Read the node; ``folders``: whose file systems are asked for room."""
    before, graphics = read_carriers(machine), read_gpus(machine)
    return Facts(
        host=node_name(),
        graphics=graphics,
        nics=read_nics(machine),
        link_downs=read_link_downs(machine),
        pcie=read_pcie(machine, graphics),
        settings=read_settings(machine),
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
        carriers=changed(before, read_carriers(machine)),
    )


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

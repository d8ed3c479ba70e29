"""What is read of a node. None: it cannot be read here."""

import os
import re
import resource
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmtrain.runs.preflight.machine import Machine

QUERY = (
    "index,name,pci.bus_id,memory.total,ecc.errors.uncorrected.volatile.total,"
    "pcie.link.width.current,persistence_mode,driver_version"
)
XID = re.compile(r"NVRM: Xid \(PCI:([\da-fA-F:.]+)\): (\d+)")
HCA = "sys/class/infiniband"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuFacts:
    """One GPU, as nvidia-smi shows it."""

    index: int
    """On the node."""
    name: str
    """As the driver has it."""
    pci: str
    """Address."""
    memory_bytes: int | None
    """Of the whole GPU."""
    ecc_uncorrected: int | None
    """Since the driver was loaded."""
    pcie_width: int | None
    """Lanes in use."""
    persistent: bool | None
    """Persistence mode."""
    driver: str
    """Version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NicFacts:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """One node."""

    host: str
    """Its name."""
    kernel: str
    """Version."""
    gpus: tuple[GpuFacts, ...] | None
    """None: no nvidia-smi, or it does not answer."""
    remap_trouble: bool | None
    """A row remapping is pending or has failed."""
    nvlinks: tuple[int, ...] | None
    """Active links of each GPU."""
    fabric: str | None
    """State of the NVSwitch fabric; N/A where there is none."""
    xids: tuple[tuple[str, int], ...] | None
    """PCI address and number of each in the kernel's log."""
    nics: tuple[NicFacts, ...]
    """RDMA devices."""
    peer_memory: bool
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

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def read_facts(machine: Machine, folders: Sequence[Path] = ()) -> Facts:
    """Read the node; ``folders``: whose file systems are asked for free space."""
    details = machine.run(("nvidia-smi", "-q"))
    return Facts(
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        kernel=machine.text("proc/sys/kernel/osrelease") or "",
        gpus=_gpus(machine.run(("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"))),
        remap_trouble=_remap_trouble(details),
        nvlinks=_nvlinks(machine.run(("nvidia-smi", "nvlink", "-s"))),
        fabric=_fabric(details),
        xids=_xids(machine.run(("dmesg",))),
        nics=tuple(_nic(machine, name) for name in machine.names(HCA)),
        peer_memory=_peer_memory(machine),
        locked_memory=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        shared_memory_bytes=_free(machine.root / "dev/shm"),
        numa_balancing=machine.text("proc/sys/kernel/numa_balancing"),
        governor=machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clock_seconds=_clock(machine.run(("chronyc", "-n", "tracking"))),
        free_bytes={str(each): free for each in folders if (free := _free(each)) is not None},
    )


def _gpus(text: str | None) -> tuple[GpuFacts, ...] | None:
    if text is None:
        return None
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return tuple(_gpu(row) for row in rows if len(row) == len(QUERY.split(",")))


def _gpu(row: Sequence[str]) -> GpuFacts:
    index, name, pci, memory, ecc, width, persistence, driver = row
    mebibytes = _whole(memory)
    return GpuFacts(
        index=_whole(index) or 0,
        name=name,
        pci=pci,
        memory_bytes=None if mebibytes is None else mebibytes * 2**20,
        ecc_uncorrected=_whole(ecc),
        pcie_width=_whole(width),
        persistent={"Enabled": True, "Disabled": False}.get(persistence),
        driver=driver,
    )


def _whole(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found.group()) if found else None


def _remap_trouble(details: str | None) -> bool | None:
    said = re.findall(r"(?:Pending|Remapping Failure Occurred)\s*: (Yes|No)", details or "")
    return "Yes" in said if said else None


def _fabric(details: str | None) -> str | None:
    states = re.findall(r"Fabric\n\s+State\s*: (.+)", details or "")
    odd = [state for state in states if state not in ("Completed", "N/A")]
    return odd[0] if odd else (states[0] if states else None)


def _nvlinks(text: str | None) -> tuple[int, ...] | None:
    """Of each GPU's part the lines with a rate; ``<inactive>`` has none."""
    if text is None:
        return None
    parts = re.split(r"^GPU \d+:.*$", text, flags=re.MULTILINE)[1:]
    return tuple(len(re.findall(r"Link \d+: [\d.]+ GB/s", part)) for part in parts)


def _xids(text: str | None) -> tuple[tuple[str, int], ...] | None:
    if text is None:
        return None
    return tuple((found[0], int(found[1])) for found in XID.findall(text))


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
    )


def _peer_memory(machine: Machine) -> bool:
    modules = machine.text("proc/modules") or ""
    loaded = re.search(r"^(?:nvidia_peermem|nv_peer_mem) ", modules, re.MULTILINE)
    return bool(loaded) or bool(machine.names("sys/kernel/mm/memory_peers"))


def _free(path: Path) -> int | None:
    """Of the nearest folder above that is there."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None


def _clock(text: str | None) -> float | None:
    found = re.search(r"System time\s*: ([\d.]+) seconds", text or "")
    return float(found.group(1)) if found else None

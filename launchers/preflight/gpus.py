"""What NVIDIA's tools say of a node's GPUs. None: it cannot be read here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .machine import Machine

QUERY = (
    "index,name,pci.bus_id,memory.total,ecc.errors.uncorrected.volatile.total,"
    "pcie.link.width.current,persistence_mode,driver_version"
)
XID = re.compile(r"^(?:\[ *([\d.]+)\])?.*NVRM: Xid \(PCI:([\da-fA-F:.]+)\): (\d+)", re.MULTILINE)
SLOWDOWNS = ("HW Slowdown", "HW Thermal Slowdown", "HW Power Brake Slowdown")
"""Reasons of ``nvidia-smi -q -d PERFORMANCE`` for which a GPU's clock is held low by its board."""


class GpuFacts(NamedTuple):
    """One GPU, as nvidia-smi shows it."""

    number: int
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


class GpuNode(NamedTuple):
    """All GPUs of a node."""

    gpus: tuple[GpuFacts, ...] | None
    """None: no nvidia-smi, or it does not answer."""
    remap_trouble: bool | None
    """A row remapping is pending or has failed."""
    remapped_rows: int | None
    """After uncorrectable errors, of the GPU with the most."""
    ecc_corrected: Mapping[str, int]
    """By kind of memory (dram, sram), of the GPU with the most, since the driver was loaded."""
    pcie_generation: int | None
    """That GPU and slot can, of the GPU with the least."""
    nvlinks: tuple[int, ...] | None
    """Active links of each GPU."""
    fabric: str | None
    """State of the NVSwitch fabric; N/A where there is none."""
    slowdown: tuple[str, ...] | None
    """Why clocks are held low now, by the board."""
    xids: tuple[tuple[str, int, float | None], ...] | None
    """PCI address, number and age in hours of each in the kernel's log."""


def read_gpus(machine: Machine) -> GpuNode:
    """Ask nvidia-smi and the kernel's log."""
    details = machine.run(("nvidia-smi", "-q"))
    query = ("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader")
    return GpuNode(
        gpus=_gpus(machine.run(query)),
        remap_trouble=_remap_trouble(details),
        remapped_rows=max(
            _numbers(details, r"Remapped Rows\s+Correctable.*\s+Uncorr.*?"), default=None
        ),
        ecc_corrected=_ecc_corrected(details),
        pcie_generation=min(_numbers(details, r"PCIe Generation\s+Max\s*"), default=None),
        nvlinks=_nvlinks(machine.run(("nvidia-smi", "nvlink", "-s"))),
        fabric=_fabric(details),
        slowdown=_slowdown(details),
        xids=_xids(machine.run(("dmesg",)), machine.uptime()),
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
        number=_whole(index) or 0,
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


def _numbers(details: str | None, before: str) -> list[int]:
    return [int(each) for each in re.findall(rf"{before}: (\d+)", details or "")]


def _ecc_corrected(details: str | None) -> dict[str, int]:
    """Newer drivers count SRAM and DRAM apart; the sums over a GPU's life stand behind."""
    parts = re.findall(r"Volatile\n(.*?)Aggregate", details or "", re.DOTALL)
    counts = {
        kind: [each for part in parts for each in _numbers(part, rf"{kind.upper()} Correctable\s*")]
        for kind in ("dram", "sram")
    }
    return {kind: max(found) for kind, found in counts.items() if found}


def _fabric(details: str | None) -> str | None:
    states = re.findall(r"Fabric\n\s+State\s*: (.+)", details or "")
    odd = [state for state in states if state not in ("Completed", "N/A")]
    return odd[0] if odd else (states[0] if states else None)


def _slowdown(details: str | None) -> tuple[str, ...] | None:
    said = re.findall(rf"({'|'.join(SLOWDOWNS)})\s*: (Active|Not Active)", details or "")
    return tuple(sorted({why for why, how in said if how == "Active"})) if said else None


def _nvlinks(text: str | None) -> tuple[int, ...] | None:
    """Of each GPU's part the lines with a rate; ``<inactive>`` has none."""
    if text is None:
        return None
    parts = re.split(r"^GPU \d+:.*$", text, flags=re.MULTILINE)[1:]
    return tuple(len(re.findall(r"Link \d+: [\d.]+ GB/s", part)) for part in parts)


def _xids(
    text: str | None, uptime: float | None
) -> tuple[tuple[str, int, float | None], ...] | None:
    if text is None:
        return None
    return tuple(
        (pci, int(number), (uptime - float(when)) / 3600 if when and uptime else None)
        for when, pci, number in XID.findall(text)
    )

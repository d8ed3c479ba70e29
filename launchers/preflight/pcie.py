"""What is read of the buses between GPUs, NICs and memory. None: it cannot be read here."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar

from .gpus import GpuNode
from .machine import Machine
from .nics import HCA

DEVICES = "sys/bus/pci/devices"
Number = TypeVar("Number", int, float)


class Device(NamedTuple):
    """A GPU or a NIC on its bus; what it can is what its slot lets it."""

    name: str
    """GPU's address, NIC's name."""
    numa_node: int | None
    """-1: the firmware does not say."""
    gt_per_s: float | None
    """Rate of a lane now: 16 is generation 4, 32 is generation 5."""
    most_gt_per_s: float | None
    """That it can."""
    lanes: int | None
    """In use."""
    most_lanes: int | None
    """That it can."""


class PcieFacts(NamedTuple):
    """The buses of a node."""

    virtual: bool | None
    """A virtual machine: what it shows of its buses is made up."""
    numa_nodes: int
    """Of the machine; 0: not known."""
    gpus: tuple[Device, ...]
    """In the order of nvidia-smi."""
    nics: tuple[Device, ...]
    """RDMA devices."""
    iommu: str | None
    """off, passthrough or translated, of GPUs and NICs."""
    acs: bool | None
    """A bridge sends what one device sends to another up to the root first."""


def read_pcie(machine: Machine, graphics: GpuNode) -> PcieFacts:
    """From sysfs, the kernel's command line and, where it may see that, lspci."""
    gpus = [f"{DEVICES}/{gpu.pci[-12:].lower()}" for gpu in graphics.gpus or ()]
    nics = [f"{HCA}/{name}/device" for name in machine.names(HCA)]
    nodes = machine.names("sys/devices/system/node")
    cpu = machine.text("proc/cpuinfo")
    guest = r"^(?:flags|Features)\s*:.*\bhypervisor\b"
    return PcieFacts(
        virtual=None if cpu is None else bool(re.search(guest, cpu, re.MULTILINE)),
        numa_nodes=sum(bool(re.fullmatch(r"node\d+", each)) for each in nodes),
        gpus=tuple(_device(machine, each, each.rpartition("/")[2]) for each in gpus),
        nics=tuple(_device(machine, each, each.split("/")[-2]) for each in nics),
        iommu=_iommu(machine, [*gpus, *nics]),
        acs=_acs(machine.run(("lspci", "-vvv"))) if gpus else None,
    )


def _device(machine: Machine, folder: str, name: str) -> Device:
    # A folder of sysfs is a link: the one above its target is the bridge's.
    own, above = (machine.text(f"{folder}/{up}max_link_speed") for up in ("", "../"))
    wide, slot = (machine.number(f"{folder}/{up}max_link_width") for up in ("", "../"))
    return Device(
        name=name,
        numa_node=machine.number(f"{folder}/numa_node"),
        gt_per_s=_rate(machine.text(f"{folder}/current_link_speed")),
        most_gt_per_s=_least(_rate(own), _rate(above)),
        lanes=machine.number(f"{folder}/current_link_width") or None,
        most_lanes=_least(wide or None, slot or None),
    )


def _rate(text: str | None) -> float | None:
    """``32.0 GT/s PCIe``; of a virtual function ``Unknown``."""
    found = re.match(r"([\d.]+) GT/s", text or "")
    return float(found.group(1)) if found else None


def _least(own: Number | None, above: Number | None) -> Number | None:
    return own if own is None or above is None else min(own, above)


def _iommu(machine: Machine, folders: list[str]) -> str | None:
    """By the groups of the devices, else as the kernel was told, else whether there is any."""
    kinds = {kind for each in folders if (kind := machine.text(f"{each}/iommu_group/type"))}
    if any(kind.startswith("DMA") for kind in kinds):
        return "translated"
    words = (machine.text("proc/cmdline") or "").split()
    if kinds or {"iommu=pt", "iommu.passthrough=1"} & set(words):
        return "passthrough"
    if {"iommu=off", "intel_iommu=off", "amd_iommu=off"} & set(words):
        return "off"
    there = (machine.root / "sys/class/iommu").is_dir()
    return "off" if there and not machine.names("sys/class/iommu") else None


def _acs(text: str | None) -> bool | None:
    """Who is not root sees none of these lines."""
    controls = re.findall(r"ACSCtl:(.*)", text or "")
    return any("SrcValid+" in each for each in controls) if controls else None

"""What is read of a node's RDMA devices and their interfaces. None: it cannot be read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .machine import Machine

HCA = "sys/class/infiniband"
NET = "sys/class/net"
DOWN = re.compile(
    r"^(?:\[ *([\d.]+)\])?.*?(\S+): (?:(?:NIC )?link (?:is )?down|lost carrier)",
    re.MULTILINE | re.IGNORECASE,
)
"""Of the kernel's log: when, and the interface."""


class NicFacts(NamedTuple):
    """The first port of one RDMA device."""

    name: str
    """Device."""
    state: str
    """ACTIVE, DOWN, …"""
    phys_state: str | None
    """LinkUp, Polling, Disabled, …"""
    rate_gbit_per_s: float | None
    """Of the port."""
    link_layer: str
    """InfiniBand or Ethernet."""
    link_downed: int | None
    """Times since the counters were cleared."""
    symbol_error: int | None
    """Of the physical layer."""
    receive_errors: int | None
    """Packets with errors."""
    transmit_discards: int | None
    """Packets that were thrown away at the exit."""
    joined: bool | None
    """The port is a full member of a partition of the fabric."""
    roce_gid: bool | None
    """There is an address of RoCE v2 that holds one of IPv4."""
    mtu_bytes: int | None
    """In use on the port."""
    most_mtu_bytes: int | None
    """What the port can."""
    interfaces: tuple[str, ...]
    """Network interfaces on the device."""
    net_mtu_bytes: int | None
    """The smallest of these."""


def read_nics(machine: Machine) -> tuple[NicFacts, ...]:
    """Every RDMA device."""
    names = machine.names(HCA)
    sizes = _mtus(machine.run(("ibv_devinfo",))) if names else {}
    return tuple(_nic(machine, name, sizes.get(name)) for name in names)


def read_link_downs(machine: Machine) -> tuple[tuple[str, float | None], ...] | None:
    """Interface and age in hours of each loss of a link in the kernel's log."""
    text, uptime = machine.run(("dmesg",)), machine.uptime()
    if text is None:
        return None
    return tuple(
        (name, (uptime - float(when)) / 3600 if when and uptime else None)
        for when, name in DOWN.findall(text)
    )


def read_carriers(machine: Machine) -> dict[str, int]:
    """How often each interface has lost or found its carrier since it was made."""
    counts = {name: machine.number(f"{NET}/{name}/carrier_changes") for name in machine.names(NET)}
    return {name: count for name, count in counts.items() if count is not None}


def changed(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """How often in between; of the interfaces that were there both times."""
    return {name: after[name] - count for name, count in before.items() if name in after}


def _nic(machine: Machine, name: str, sizes: tuple[int, int] | None) -> NicFacts:
    port = f"{HCA}/{name}/ports/1"
    rate = re.match(r"[\d.]+", machine.text(f"{port}/rate") or "")
    counters = f"{port}/counters"
    interfaces = tuple(machine.names(f"{HCA}/{name}/device/net"))
    mtus = [machine.number(f"{NET}/{each}/mtu") for each in interfaces]
    return NicFacts(
        name=name,
        state=_word(machine, f"{port}/state"),
        phys_state=_word(machine, f"{port}/phys_state") or None,
        rate_gbit_per_s=float(rate.group()) if rate else None,
        link_layer=machine.text(f"{port}/link_layer") or "",
        link_downed=machine.number(f"{counters}/link_downed"),
        symbol_error=machine.number(f"{counters}/symbol_error"),
        receive_errors=machine.number(f"{counters}/port_rcv_errors"),
        transmit_discards=machine.number(f"{counters}/port_xmit_discards"),
        joined=_joined(machine, port),
        roce_gid=_roce_gid(machine, port),
        mtu_bytes=sizes and sizes[0],
        most_mtu_bytes=sizes and sizes[1],
        interfaces=interfaces,
        net_mtu_bytes=min((each for each in mtus if each is not None), default=None),
    )


def _word(machine: Machine, path: str) -> str:
    """``4: ACTIVE``."""
    return (machine.text(path) or "").rpartition(": ")[2]


def _joined(machine: Machine, port: str) -> bool | None:
    """The highest bit of a key says that the member is a full one."""
    keys = [machine.text(f"{port}/pkeys/{name}") for name in machine.names(f"{port}/pkeys")]
    known = [int(key, 16) for key in keys if key and re.fullmatch(r"0x[\da-fA-F]+", key)]
    return any(key & 0x8000 for key in known) if known else None


def _roce_gid(machine: Machine, port: str) -> bool | None:
    """The kernel gives an error for the type of an entry that is empty."""
    folder = f"{port}/gid_attrs/types"
    names = machine.names(folder)
    second = [name for name in names if machine.text(f"{folder}/{name}") == "RoCE v2"]
    found = [machine.text(f"{port}/gids/{name}") or "" for name in second]
    return any(re.match(r"(?:0000:){5}ffff:", each) for each in found) if names else None


def _mtus(text: str | None) -> dict[str, tuple[int, int]]:
    """By device, of the first port: bytes in use, and at most."""
    found = {}
    for part in re.split(r"^hca_id:", text or "", flags=re.MULTILINE)[1:]:
        port = re.split(r"^\s*port:", part, flags=re.MULTILINE)[1:2]
        sizes = dict(re.findall(r"(active|max)_mtu:\s*(\d+)", port[0] if port else ""))
        if len(sizes) == 2:
            found[part.split()[0]] = (int(sizes["active"]), int(sizes["max"]))
    return found

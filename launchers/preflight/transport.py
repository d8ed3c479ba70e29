"""What NCCL chose between nodes, read from its log (``NCCL_DEBUG=INFO``), against the fabric."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .finding import Finding, finding
from .promise import Promise

NETWORK = re.compile(
    r"NCCL INFO (?:Using network|Assigned NET plugin) (.+?)(?: to comm)?\s*$", re.M
)
CHANNEL = re.compile(r"via NET/([^/\n]+)/\S*")
PORTS = re.compile(r"NET/IB : Using ((?:\s*\[\d+\]\S+)+)")
PROVIDER = re.compile(r"NET/OFI Selected [Pp]rovider is ([\w;-]+)")
DIRECT = re.compile(r"via NET/[^/\n]+/\S*GDRDMA|GPU Direct RDMA Enabled|GDR 1")
INDIRECT = re.compile(r"via NET/|GPU Direct RDMA Disabled|GDR 0")


class Transport(NamedTuple):
    """How NCCL sends between nodes, as one rank's log says."""

    network: str | None
    """Name of what sends: IB, Socket, a plugin's; None: the log does not say."""
    ports: tuple[str, ...]
    """Device, port and layer of each that NCCL's own InfiniBand code uses: ``mlx5_0:1/IB``."""
    provider: str | None
    """Of libfabric: efa, cxi, tcp."""
    direct: bool | None
    """NICs read and write GPU memory by themselves; None: the log does not say."""


def read_transport(log: str) -> Transport:
    """From the log of one rank."""
    named = NETWORK.findall(log) or CHANNEL.findall(log)
    ports = PORTS.search(log)
    provider = PROVIDER.findall(log)
    direct = bool(DIRECT.search(log))
    return Transport(
        network=named[-1] if named else None,
        ports=tuple(re.findall(r"\[\d+\](\S+)", ports.group(1))) if ports else (),
        provider=provider[-1] if provider else None,
        direct=direct if direct or INDIRECT.search(log) else None,
    )


def judge_transport(log: str, promise: Promise) -> list[Finding]:
    """Whether NCCL uses the fabric that the cluster promises; nothing where that is no fabric."""
    wanted = promise.limits["transport"]["value"].get(promise.network)
    return list(_judged(log, read_transport(log), promise, wanted)) if wanted else []


def _judged(
    log: str, found: Transport, promise: Promise, wanted: dict[str, str]
) -> Iterator[Finding]:
    limits = promise.limits
    if found.network is None:
        yield finding(limits, "transport", None, "NCCL's log does not say how it sends")
        return
    good = re.fullmatch(wanted["network"], found.network) is not None
    says = f"NCCL sends by {found.network}; {promise.network} is promised"
    if good and "layer" in wanted and found.ports:
        good = all(port.endswith(f"/{wanted['layer']}") for port in found.ports)
        says = f"NCCL sends by {found.network} over {', '.join(found.ports)}"
    elif good and "provider" in wanted and found.provider:
        good = found.provider == wanted["provider"]
        says = f"NCCL sends by {found.network}, provider {found.provider}"
    if not good:
        says += "".join(f"; {cause}" for cause in causes(log, promise))
    yield finding(limits, "transport", good, says)
    if good and wanted.get("direct"):
        way = {True: "by itself", False: "through the host", None: "by a way that is not known"}
        says = f"GPU memory goes to the NICs {way[found.direct]}"
        yield finding(limits, "gpu_direct", found.direct, says)
    if good and found.ports:
        says = f"NCCL uses {len(found.ports)} of {promise.nics} ports"
        yield finding(limits, "ports", len(found.ports) >= promise.nics, says)


def causes(log: str, promise: Promise) -> list[str]:
    """What the log says of the reason, and the variables concerned."""
    known = promise.limits["transport"]["causes"]
    return [f"{each['says']} ({each['about']})" for each in known if re.search(each["log"], log)]

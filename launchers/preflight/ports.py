"""The ports of a node's fabric against what its cluster promises."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Facts, NicFacts
from .finding import Finding, finding, shown
from .promise import Limits, Promise

LAYERS = {"infiniband": "InfiniBand", "roce": "Ethernet"}
"""Link layer of a fabric's ports; the others have their own ways."""
DEVICES = ("infiniband", "roce", "efa", "slingshot")
"""Fabrics whose NICs are RDMA devices."""


def judge_ports(facts: Facts, promise: Promise) -> Iterator[Finding]:
    """Number, state, rate and errors of the ports, and how memory reaches them."""
    if promise.network in DEVICES:
        yield from _nics(facts, promise)
    if promise.network in LAYERS:
        yield from _transfer(facts, promise.limits)


def _nics(facts: Facts, promise: Promise) -> Iterator[Finding]:
    limits = promise.limits
    nics = [nic for nic in facts.nics if not promise.hcas or nic.name in promise.hcas]
    layer = LAYERS.get(promise.network)
    if layer:
        fabric = [nic for nic in nics if nic.link_layer == layer]
        says = f"{len(fabric)} ports of {promise.nics} are {layer}"
        yield finding(limits, "link_layer", len(fabric) >= promise.nics, says)
    else:
        fabric = nics
    active = [nic for nic in fabric if nic.state == "ACTIVE"]
    says = f"{len(active)} of {promise.nics} are active"
    down = ", ".join(nic.name for nic in fabric if nic.state != "ACTIVE")
    enough = len(active) >= promise.nics
    yield finding(limits, "nic_count", enough, says + (f"; not: {down}" if down else ""))
    for nic in active if layer else ():
        yield from _one_nic(nic, promise)


def _one_nic(nic: NicFacts, promise: Promise) -> Iterator[Finding]:
    limits, wanted = promise.limits, promise.nic_gbit_per_s
    if wanted and nic.rate_gbit_per_s is not None:
        good = nic.rate_gbit_per_s >= wanted * limits["nic_rate_percent"]["value"] / 100
        says = f"{nic.name}: {nic.rate_gbit_per_s:g} of {wanted:g} Gbit/s"
        yield finding(limits, "nic_rate_percent", good, says)
    counters = {
        "link_downed": nic.link_downed,
        "symbol_error": nic.symbol_error,
        "receive_errors": nic.receive_errors,
    }
    for check, count in counters.items():
        good_count = None if count is None else count <= limits[check]["value"]
        yield finding(limits, check, good_count, f"{nic.name}: {check} {shown(count)}")
    if promise.network == "infiniband":
        says = f"{nic.name}: full member of a partition: {shown(nic.joined)}"
        yield finding(limits, "partition", nic.joined, says)


def _transfer(facts: Facts, limits: Limits) -> Iterator[Finding]:
    ways = {
        True: "GPU memory for NICs",
        False: "no peer memory module; DMA-BUF, or slow",
        None: "module of peer memory: not known",
    }
    says = ways[facts.peer_memory]
    yield finding(limits, "peer_memory", facts.peer_memory, says)
    locked = facts.locked_memory
    says = "unlimited" if locked < 0 else f"{locked} bytes: `ulimit -l unlimited`"
    yield finding(limits, "locked_memory", locked < 0, f"locked memory {says}")

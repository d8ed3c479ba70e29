"""The ports of a node's fabric against what its cluster promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .facts import Facts
from .finding import Finding, finding, joint, shown
from .nics import NicFacts
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


def fabric_nics(facts: Facts, promise: Promise) -> list[NicFacts]:
    """Those that are promised, where that is certain, else all of the fabric's link layer."""
    nics = [nic for nic in facts.nics if not promise.hcas or nic.name in promise.hcas]
    layer = LAYERS.get(promise.network)
    return [nic for nic in nics if layer is None or nic.link_layer == layer]


def _nics(facts: Facts, promise: Promise) -> Iterator[Finding]:
    limits, layer = promise.limits, LAYERS.get(promise.network)
    fabric = fabric_nics(facts, promise)
    if layer:
        says = f"{len(fabric)} ports of {promise.nics} are {layer}"
        yield finding(limits, "link_layer", len(fabric) >= promise.nics, says)
    active = [nic for nic in fabric if nic.state == "ACTIVE"]
    says = f"{len(active)} of {promise.nics} are active"
    down = ", ".join(nic.name for nic in fabric if nic.state != "ACTIVE")
    enough = len(active) >= promise.nics
    yield finding(limits, "nic_count", enough, says + (f"; not: {down}" if down else ""))
    for nic in active if layer else ():
        yield from _one_nic(nic, promise)
    if layer:
        # A port that nobody needs may be without a cable.
        yield _physical(active if enough else fabric, limits)
        yield from _links(active, promise)
        yield from _losses(facts, fabric, limits)


def _physical(nics: list[NicFacts], limits: Limits) -> Finding:
    wanted = limits["phys_state"]["value"]
    states = {
        each.name: (each.phys_state == wanted if each.phys_state else None, shown(each.phys_state))
        for each in nics
    }
    return joint(limits, "phys_state", "physical state", states)


def _links(nics: list[NicFacts], promise: Promise) -> Iterator[Finding]:
    limits = promise.limits
    mtus = {each.name: _reaches(each.mtu_bytes, each.most_mtu_bytes) for each in nics}
    yield joint(limits, "mtu", "MTU", mtus)
    if promise.network == "roce":
        yield from _roce(nics, limits)


def _roce(nics: list[NicFacts], limits: Limits) -> Iterator[Finding]:
    says = {True: "there", False: "none", None: "not known"}
    gids = {each.name: (each.roce_gid, says[each.roce_gid]) for each in nics}
    yield joint(limits, "roce_gid", "address of RoCE v2 and IPv4", gids)
    least = limits["net_mtu"]["value"]
    mtus = {each.name: _reaches(each.net_mtu_bytes, least) for each in nics}
    yield joint(limits, "net_mtu", "MTU of the interface", mtus)


def _reaches(value: int | None, wanted: int | None) -> tuple[bool | None, str]:
    good = None if value is None or wanted is None else value >= wanted
    return good, f"{shown(value)} of {shown(wanted)}"


def _losses(facts: Facts, nics: list[NicFacts], limits: Limits) -> Iterator[Finding]:
    """Links that come and go: in the kernel's log, and while the node was read."""
    names = {name for nic in nics for name in nic.interfaces}
    hours, most = limits["flaps"]["hours"], limits["flaps"]["value"]
    downs = Counter(
        name
        for name, age in facts.link_downs or ()
        if name in names and age is not None and age <= hours
    )
    often = [f"{name} {count} times" for name, count in downs.items() if count >= most]
    good = None if facts.link_downs is None or not names else not often
    says = ", ".join(often) or ("not known" if good is None else f"fewer than {most} each")
    yield finding(limits, "flaps", good, f"links lost in {hours} hours: {says}")
    known = {name: facts.carriers[name] for name in names if name in facts.carriers}
    moved = sorted(name for name, count in known.items() if count > limits["carrier"]["value"])
    says = ", ".join(moved) or ("none" if known else "not known")
    steady = not moved if known else None
    yield finding(limits, "carrier", steady, f"links that come and go now: {says}")


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
        "transmit_discards": nic.transmit_discards,
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

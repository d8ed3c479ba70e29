"""What was measured on the nodes of a job, against the cluster's figures and beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from .finding import Finding, finding
from .promise import Promise


class Figures(NamedTuple):
    """Of one node; rates of all-reduces as nccl-tests' bus bandwidth, decimal GB/s."""

    node: str
    """Its name."""
    gemm: Mapping[str, float]
    """TFLOP/s by GPU."""
    bus_node: float | None
    """Among the node's GPUs; None: there is one."""
    bus_pairs: Mapping[str, float]
    """With one other node, by its name."""
    bus_all: float | None
    """Over all nodes."""
    error: str
    """Why something is missing; empty where nothing is."""


def judge_figures(nodes: Sequence[Figures], promise: Promise) -> dict[str, list[Finding]]:
    """By node. On a CPU there is nothing to hold the figures against: they are only said."""
    if promise.device != "cuda":
        return {each.node: list(_said(each, promise)) for each in nodes}
    found = {each.node: [*_missing(each, promise), *_own(each, promise)] for each in nodes}
    for rule in (_gpus_beside, _nodes_beside, _pairs):
        for node, each in rule(nodes, promise):
            found[node].append(each)
    return found


def _said(each: Figures, promise: Promise) -> Iterator[Finding]:
    yield from _missing(each, promise)
    rates = [f"{value * 1000:.0f}" for value in each.gemm.values()]
    if rates:
        yield finding(promise.limits, "gemm", True, f"{', '.join(rates)} GFLOP/s by rank")
    for check, value in (("bus_node", each.bus_node), ("bus_all", each.bus_all)):
        if value is not None:
            yield finding(promise.limits, check, True, f"all-reduce at {value:.2f} GB/s")
    for other, value in each.bus_pairs.items():
        yield finding(promise.limits, "bus_pair", True, f"{value:.2f} GB/s with {other}")


def _missing(each: Figures, promise: Promise) -> Iterator[Finding]:
    if each.error:
        yield finding(promise.limits, "measured", False, each.error)


def _own(each: Figures, promise: Promise) -> Iterator[Finding]:
    limits = promise.limits
    base = limits["gemm"]["value"].get(promise.gpu_name)
    for gpu, value in each.gemm.items():
        good = value >= base * (1 - limits["gemm"]["percent"] / 100) if base else None
        says = f"GPU {gpu}: {value:.0f} TFLOP/s, {base or 'nothing known'} is usual"
        yield finding(limits, "gemm", good, says)
    for check, measured, least in (
        ("bus_node", each.bus_node, promise.bus_node_gb_per_s),
        ("bus_all", each.bus_all, promise.bus_gb_per_s),
    ):
        if measured is not None:
            good = measured >= least if least else None
            says = f"all-reduce at {measured:.0f} GB/s; {least or 'no figure'} passes"
            yield finding(limits, check, good, says)


def _gpus_beside(nodes: Sequence[Figures], promise: Promise) -> Iterator[tuple[str, Finding]]:
    rates = [value for each in nodes for value in each.gemm.values()]
    if len(rates) < 3:
        return
    limit = promise.limits["gemm_beside"]["percent"]
    usual = median(rates)
    for each in nodes:
        for gpu, value in each.gemm.items():
            if value < usual * (1 - limit / 100):
                says = f"GPU {gpu}: {value:.0f} TFLOP/s, the median is {usual:.0f}"
                yield each.node, finding(promise.limits, "gemm_beside", False, says)


def _nodes_beside(nodes: Sequence[Figures], promise: Promise) -> Iterator[tuple[str, Finding]]:
    rates = {each.node: each.bus_node for each in nodes if each.bus_node is not None}
    if len(rates) < 3:
        return
    limit, usual = promise.limits["bus_node_beside"]["percent"], median(rates.values())
    for node, value in rates.items():
        if value < usual * (1 - limit / 100):
            says = f"all-reduce in the node at {value:.0f} GB/s, the median is {usual:.0f}"
            yield node, finding(promise.limits, "bus_node_beside", False, says)


def _pairs(nodes: Sequence[Figures], promise: Promise) -> Iterator[tuple[str, Finding]]:
    """A node is slow where all its pairs are: of one slow pair the fault may be the other's."""
    limits, least = promise.limits, promise.bus_gb_per_s
    rates = [value for each in nodes for value in each.bus_pairs.values()]
    usual = median(rates) if rates else 0.0
    floor = usual * (1 - limits["bus_pair_beside"]["percent"] / 100)
    for each in nodes:
        if not each.bus_pairs:
            continue
        best = max(each.bus_pairs.values())
        shown = ", ".join(f"{value:.0f} with {other}" for other, value in each.bus_pairs.items())
        good = best >= least if least else None
        says = f"GB/s: {shown}; {least or 'no figure'} passes"
        yield each.node, finding(limits, "bus_pair", good, says)
        if len(rates) > 2 and best < floor:
            says = f"GB/s: {shown}; the median is {usual:.0f}"
            yield each.node, finding(limits, "bus_pair_beside", False, says)

"""The nodes of one job beside each other: versions, clocks, and whether they reach the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from .finding import Finding, finding
from .promise import Limits


class Report(NamedTuple):
    """What one node adds to the comparison."""

    node: str
    """Its name."""
    versions: Mapping[str, str]
    """By what they are of."""
    ahead_seconds: float | None
    """Of its clock before the first node's; None: that was not asked."""
    reached: bool | None
    """The first node has answered at the address where the ranks will meet."""


def compare(reports: Sequence[Report], limits: Limits) -> dict[str, list[Finding]]:
    """By node, what most of the others do not have; the first report is the first node's."""
    found: dict[str, list[Finding]] = {report.node: [] for report in reports}
    for rule in (_versions, _clocks, _reached):
        for node, each in rule(reports, limits):
            found[node].append(each)
    return found


def _versions(reports: Sequence[Report], limits: Limits) -> Iterator[tuple[str, Finding]]:
    for name in sorted({name for report in reports for name in report.versions}):
        # Of as many, that of the first node: a counter keeps the order in which it met them.
        seen = Counter(report.versions.get(name, "none") for report in reports)
        usual = seen.most_common(1)[0][0]
        for report in reports:
            has = report.versions.get(name, "none")
            if has != usual:
                says = f"{name} {has}, on {seen[usual]} of {len(reports)} nodes {usual}"
                yield report.node, finding(limits, f"same_{name}", False, says)


def _clocks(reports: Sequence[Report], limits: Limits) -> Iterator[tuple[str, Finding]]:
    known = [each for each in reports if each.ahead_seconds is not None]
    if not known:
        return
    usual = median(each.ahead_seconds or 0 for each in known)
    for each in known:
        apart = (each.ahead_seconds or 0) - usual
        if abs(apart) > limits["clocks_apart"]["value"]:
            says = f"its clock is {apart:+.1f} s off the other nodes'"
            yield each.node, finding(limits, "clocks_apart", False, says)


def _reached(reports: Sequence[Report], limits: Limits) -> Iterator[tuple[str, Finding]]:
    """Where most cannot reach the first node, it is that one's fault."""
    asked = [each for each in reports if each.reached is not None]
    lost = [each.node for each in asked if not each.reached]
    if not lost:
        return
    if 2 * len(lost) > len(asked):
        says = f"{len(lost)} of {len(asked)} nodes do not reach it: its interface, or a firewall"
        yield reports[0].node, finding(limits, "first_node", False, says)
        return
    for node in lost:
        says = f"it does not reach {reports[0].node}, the first node: its network, or a firewall"
        yield node, finding(limits, "first_node", False, says)

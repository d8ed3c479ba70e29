"""What one check finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .promise import Limits

LEVELS = ("stop", "warn", "unknown", "pass")
"""The worst first."""


class Finding(NamedTuple):
    """One check."""

    check: str
    """Its name."""
    level: str
    """stop, warn, pass; unknown: it cannot be read here."""
    says: str
    """What was found, and what should be."""
    source: str
    """Where the limit was read."""


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """Sorted by level."""
    return sorted(found, key=lambda each: LEVELS.index(each.level))


def verdict(found: Iterable[Finding]) -> str:
    """Of the node: its worst level; what is not known does not count."""
    levels = {each.level for each in found}
    return "stop" if "stop" in levels else "warn" if "warn" in levels else "pass"


def finding(limits: Limits, check: str, good: bool | None, says: str) -> Finding:
    """What a check makes of ``good``, by its limit; None: it is not known."""
    limit = limits[check]
    level = "unknown" if good is None else "pass" if good else str(limit["level"])
    return Finding(check, level, says, limit["source"])


def joint(
    limits: Limits, check: str, what: str, found: Mapping[str, tuple[bool | None, str]]
) -> Finding:
    """One finding of several devices: those that are not well, else not known, are named."""
    for good in (False, None):
        some = {name: says for name, (each, says) in found.items() if each is good}
        if some:
            says = "; ".join(f"{name} {each}" for name, each in some.items())
            return finding(limits, check, good, f"{what}: {says}")
    return finding(
        limits, check, True if found else None, f"{what}: {shown('well' if found else None)}"
    )


def shown(value: Any) -> str:
    """A value that may not be known."""
    return "not known" if value is None else str(value)

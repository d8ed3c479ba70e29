"""Nested mappings as somebody else wrote them: DeepSpeed's JSON, NeMo's YAML."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any


def inner(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping below ``name``; empty where there is none."""
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def number(data: Mapping[str, Any], name: str) -> float | None:
    """The number below ``name``; None where there is none, or "auto", which others fill in."""
    found = data.get(name)
    return found if isinstance(found, (int, float)) and isfinite(found) else None


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, with its dotted key below ``path``."""
    if isinstance(data, Mapping):
        for name, item in data.items():
            yield from leaves(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, data

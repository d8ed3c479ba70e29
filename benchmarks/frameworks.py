"""What a row's framework does: its software stack and its habits (``data/frameworks.yaml``)."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.points import Point

FILE = Path(__file__).parent / "data" / "frameworks.yaml"


@lru_cache
def framework_rules() -> tuple[dict[str, Any], ...]:
    """Rules of ``data/frameworks.yaml``."""
    return tuple(yaml.safe_load(FILE.read_text(encoding="utf-8"))["rules"])


def rule_for(point: Point, gpu_arch: str) -> Mapping[str, Any]:
    """The first rule that fits a row: its ``stack`` and its ``fill``."""
    return next(rule for rule in framework_rules() if _fits(rule["when"], point, gpu_arch))


def _fits(when: Mapping[str, Any], point: Point, gpu_arch: str) -> bool:
    words = all(
        any(word.lower() in point.text(column).lower() for word in when[column])
        for column in NAMING
        if column in when
    )
    words = words and ("zero" not in when or stated_zero(point) in when["zero"])
    words = words and ("model" not in when or point.text("arch") in when["model"])
    words = words and ("gpu" not in when or point.text("gpu").lower() in when["gpu"])
    words = words and all(point.whole(name) in when[name] for name in SHAPE if name in when)
    years = "year" not in when or when["year"][0] <= year_of(point) <= when["year"][1]
    return words and years and ("arch" not in when or gpu_arch in when["arch"])


def year_of(point: Point) -> int:
    """The year of a row that was read: it is never blank."""
    return int(point.text("year"))


NAMING = ("framework", "notes", "family", "source")
"""Columns that name a program."""


SHAPE = ("hidden", "experts")
"""Columns that tell a model from another."""


def framework_note(point: Point, rule: Mapping[str, Any]) -> tuple[str, ...]:
    """Where no word of the row names a known program: the stack that stands in."""
    if any(column in rule["when"] for column in NAMING):
        return ()
    named = point.text("framework")
    said = f"framework: {rule['stack']}"
    return (f"{said}, for {named} that is not known" if named else said,)


def stated_zero(point: Point) -> int | None:
    """The stage that a row states, as it was read."""
    given = point.text("zero_stage")
    return int(given) if given else None

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
        for column in ("framework", "notes", "family", "source")
        if column in when
    )
    words = words and ("zero" not in when or stated_zero(point) in when["zero"])
    words = words and ("model" not in when or point.text("arch") in when["model"])
    year = point.number("year") or 2024
    years = "year" not in when or when["year"][0] <= year <= when["year"][1]
    return words and years and ("arch" not in when or gpu_arch in when["arch"])


def stated_zero(point: Point) -> int | None:
    """The stage that a row states; FSDP shards all."""
    given = point.text("zero_stage").lower()
    if any(word in given for word in ("fsdp", "full_shard", "hsdp")):
        return 3
    digits = [int(sign) for sign in given if sign.isdigit()]
    return min(3, digits[0]) if digits else None

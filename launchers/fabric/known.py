"""What is known of each environment variable. The facts are data: ``variables.csv``."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, cast

Status = Literal["", "old", "gone", "wrong"]

CLOSED = ("NCCL_", "TORCH_NCCL_", "TORCH_FR_", "OFI_NCCL_")
"""Families whose names are all known."""

PLUGINS = (
    "NCCL_FASTRAK_",
    "NCCL_GPUDIRECTTCPX_",
    "NCCL_SHIMNET_",
    "NCCL_SHARP_",
    "NCCL_UCX_",
    "NCCL_TESTS_",
    "NCCL_INSPECTOR_",
    "NCCL_PROFILE_",
    "NCCL_PROFILER_",
    "NCCL_EP_",
    "NCCL_RESHARD_",
)
"""Families within those that plugins and tools add names to."""

OPEN = ("UCX_", "FI_", "SHARP_", "HCOLL_", "NVTE_", "CUDA_", "PYTORCH_", "TORCH_", "GLOO_")
"""Families with more names than are known; only a slip of a letter is told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """One variable."""

    name: str
    """As it is exported."""
    of: str
    """The program that reads it; nobody: a name that is only ever mistaken."""
    default: str
    """Without it."""
    values: str
    """What it may be: numbers A..B, words A|B, bool, int, list: of words; empty: anything."""
    outside: str
    """What another value means."""
    first: str
    """The first version of NCCL that read it, as far as was looked."""
    status: Status
    """old: still read; gone: no longer; wrong: never."""
    since: str
    """The version that changed it."""
    instead: str
    """What takes its place."""
    says: str
    """What it does; empty: nobody documents it."""
    source: str
    """Where this was read."""


@cache
def known() -> Mapping[str, Known]:
    """Every variable by name."""
    path = files("llmtrain.launchers.fabric") / "variables.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    found = (_known(row) for row in rows)
    return MappingProxyType({each.name: each for each in found})


def _known(row: Mapping[str, str]) -> Known:
    values = {field.name: row[field.name] for field in fields(Known) if field.name != "status"}
    return Known(status=cast(Status, row["status"]), **values)


def is_closed(name: str) -> bool:
    """Whether a name of this family that is not known does not exist."""
    return name.startswith(CLOSED) and not name.startswith(PLUGINS)


def near(name: str) -> tuple[str, ...]:
    """Known names that are probably meant, the nearest first."""
    return tuple(get_close_matches(name, _read(), n=3, cutoff=0.8))


@cache
def _read() -> tuple[str, ...]:
    """Names that something reads."""
    return tuple(each.name for each in known().values() if each.status in ("", "old"))


def slip(name: str) -> str:
    """The known name that ``name`` is one letter away from; empty if there is none.

    In an open family a letter too few, too many or swapped is a slip, another letter is not:
    ``UCX_UD_TIMEOUT`` is as real as ``UCX_RC_TIMEOUT``.
    """
    if len(name) < 8:
        return ""
    return next((each for each in _read() if _one_letter(name, each)), "")


def _one_letter(name: str, other: str) -> bool:
    if abs(len(name) - len(other)) > 1 or name == other:
        return False
    if len(name) == len(other):
        places = [i for i, (a, b) in enumerate(zip(name, other, strict=True)) if a != b]
        if len(places) != 2 or places[1] != places[0] + 1:
            return False
        first, second = places
        return name[first] == other[second] and name[second] == other[first]
    short, long = sorted((name, other), key=len)
    place = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), -1)
    if place < 0 or long[place].isdigit():
        return place < 0 and not long[-1].isdigit()
    return short[place:] == long[place + 1 :]

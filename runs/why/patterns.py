"""The patterns of patterns.yaml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from llmtrain.config.yaml_reader import read_yaml

Role = Literal["cause", "death", "symptom", "end", "echo"]

ROLES: tuple[Role, ...] = ("cause", "death", "symptom", "end", "echo")
"""The first of these that any line has is the answer; an echo never is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """A line that programs print when they fail."""

    match: "re.Pattern[str]"
    """Groups host, rank, gpu and pci say where; missed is a rank that another one waits for."""
    kind: str
    """Its class."""
    role: Role
    """What it says of the run."""
    source: str
    """Where the signature was read."""
    do: str = ""
    """What to do, where that is not what the class says."""
    device: str = ""
    """host: memory of the host, not of a GPU."""
    exclude: bool | None = None
    """Whether the node is to be left out; None: as the class says."""
    traceback: bool = False
    """It only counts as the end of a traceback."""
    general: bool = False
    """It says that something failed and not what: its traceback, or what follows, may say more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Class:
    """A way to fail."""

    title: str
    """In words."""
    do: str
    """What to do."""
    restart: bool
    """Whether going on, as it is, can help."""
    exclude: bool
    """Whether the node is to be left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """All that is known of failures."""

    patterns: tuple[Pattern, ...]
    """The first that matches a line counts."""
    classes: Mapping[str, Class]
    """By name."""
    phases: tuple[tuple[str, "re.Pattern[str]"], ...]
    """What a frame of a traceback says about when memory ran out."""
    places: tuple[tuple["re.Pattern[str]", Pattern], ...]
    """What a general pattern means in the traceback that has such a frame."""
    words: tuple[bytes, ...]
    """In lower case; a line without any of these is passed over."""
    exits: Mapping[int, Pattern]
    """What the status of a process says."""
    progress: "re.Pattern[str]"
    """Lines of a run that lives."""


@cache
def book() -> Book:
    """patterns.yaml."""
    text = files("llmtrain.runs.why").joinpath("patterns.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = read_yaml(text)
    return Book(
        patterns=tuple(_pattern(each) for each in data["patterns"]),
        classes={name: Class(**said) for name, said in data["classes"].items()},
        phases=tuple((p["name"], re.compile("|".join(p["frames"]))) for p in data["phases"]),
        places=tuple(_place(each) for each in data["places"]),
        words=tuple(word.encode() for word in data["words"]),
        exits={code: _pattern({"match": "", **said}) for code, said in data["exits"].items()},
        progress=re.compile("|".join(data["progress"])),
    )


def _pattern(said: dict[str, Any]) -> Pattern:
    rest = {key: value for key, value in said.items() if key not in ("match", "class")}
    return Pattern(match=re.compile(said["match"]), kind=said["class"], **rest)


def _place(said: dict[str, Any]) -> tuple["re.Pattern[str]", Pattern]:
    rest = {key: value for key, value in said.items() if key != "frames"}
    return re.compile("|".join(said["frames"])), _pattern({"role": "cause", **rest})

"""The flags of one version of a program, as its own argument parser knows them.

The tables are data: ``flags/PROGRAM-VERSION.csv``, whose first line names commit and date.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

Kind = Literal["value", "true", "false"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One flag of a command line."""

    name: str
    """With its dashes."""
    dest: str
    """The attribute that the parser sets."""
    kind: Kind
    """value: takes arguments; true, false: sets its attribute to that."""
    type: str
    """Name of the function that reads an argument, empty for a plain string."""
    nargs: str
    """How many arguments: empty for one, else a number, ``+``, ``*`` or ``?``."""
    choices: tuple[str, ...]
    """What an argument may be; empty: anything of its type."""
    default: Any
    """What the attribute is without the flag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagTable:
    """Every flag of one version of a program."""

    program: str
    """Name of the backend."""
    version: str
    """Release or commit."""
    commit: str
    """The whole commit whose parser was read."""
    flags: Mapping[str, Flag]
    """By name."""

    def __contains__(self, name: str) -> bool:
        return name in self.flags

    def first_of(self, *names: str) -> str:
        """The first of ``names`` that this version has; the first of all if it has none."""
        return next((name for name in names if name in self.flags), names[0])


def read_flags(program: str, version: str) -> FlagTable:
    """Read the table of one version.

    Raises:
        FileNotFoundError: if there is no such table.
    """
    path = files("llmtrain.launchers.backends") / "flags" / f"{program}-{version}.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    flags = (_flag(row) for row in rows)
    return FlagTable(
        program=program,
        version=version,
        commit=lines[0].partition("commit ")[2][:40],
        flags={flag.name: flag for flag in flags},
    )


def _flag(row: Mapping[str, str]) -> Flag:
    return Flag(
        name=row["flag"],
        dest=row["dest"],
        kind=cast(Kind, row["kind"]),
        type=row["type"],
        nargs=row["nargs"],
        choices=tuple(row["choices"].split("|")) if row["choices"] else (),
        default=json.loads(row["default"]),
    )

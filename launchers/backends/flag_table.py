"""The flags of one version of a program, as its own argument parser knows them.

The tables are data: ``flags/PROGRAM-VERSION.csv``, whose first line names commit and date.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
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


def read_flags(program: str, version: str) -> FlagTable:
    """Read the table of one version.

    Raises:
        FileNotFoundError: if there is no such table.
    """
    head, rows = _table(f"{program}-{version}.csv")
    flags = (_flag(row) for row in rows)
    return FlagTable(
        program=program,
        version=version,
        commit=head.partition("commit ")[2][:40],
        flags={flag.name: flag for flag in flags},
    )


def _table(name: str) -> tuple[str, Iterable[dict[str, str]]]:
    """The first line of a file in ``flags/``, and its rows."""
    path = files("llmtrain.launchers.backends") / "flags" / name
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0], csv.DictReader(line for line in lines if not line.startswith("#"))


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced:
    """A flag of Megatron-LM that some version lacks, or reads no more."""

    flag: str
    """As older programs know it."""
    instead: str
    """The flag that takes its place; empty: there is none."""
    says: str
    """With which value, or why there is none."""


@cache
def replaced() -> Mapping[str, Replaced]:
    """Every such flag by name."""
    _, rows = _table("replaced.csv")
    names = ("flag", "instead", "says")
    return {row["flag"]: Replaced(**{name: row[name] for name in names}) for row in rows}


def in_place_of(flag: str, table: FlagTable) -> str:
    """What a version has in place of a flag that it lacks, in words; empty: nothing is known."""
    newer = replaced().get(flag)
    if newer is not None and (not newer.instead or newer.instead in table):
        if newer.instead:
            return f"use `{newer.instead}` {newer.says}".rstrip()
        return f"leave it out: {newer.says}"
    older = [each for each in replaced().values() if each.instead == flag and each.flag in table]
    return f"this version has `{older[0].flag}`" if older else ""

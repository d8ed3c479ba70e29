"""A command line read with the flags of the version that fits it best."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from llmtrain.config.errors import UsageError
from llmtrain.launchers.backends.flag_table import Flag, FlagTable, in_place_of, read_flags
from llmtrain.launchers.scripts.expand import is_open, shown
from llmtrain.planner.limits import VERSIONS

Keys = dict[str, Any]
"""Keys of a recipe, or of one of its groups, and their values."""

RENAMED = {
    "--tensor-model-parallel-size": ("--model-parallel-size", "--intra-layer-model-parallel-size"),
    "--recompute-activations": ("--checkpoint-activations-selective",),
    "--norm-epsilon": ("--layernorm-epsilon",),
}
"""Flags under older names, where the meaning has not changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """An argument without a place in a recipe."""

    flag: str
    """As it was given."""
    value: str = ""
    """What followed it."""
    why: str = ""
    """Why there is no place; empty: recipes have no key for it."""

    def __str__(self) -> str:
        text = f"{self.flag} {self.value}".strip()
        return f"{text} ({self.why})" if self.why else text


class Reading:
    """The arguments by flag; what nobody asks for is left over."""

    def __init__(self, table: FlagTable, words: Sequence[str]) -> None:
        self.table = table
        self._given = dict(_split(words, table))
        self._used: set[str] = set()
        self._notes: dict[str, str] = {}

    def has(self, *flags: str) -> bool:
        """Whether one of the flags was given; it counts as placed."""
        # A list, not a generator: every one that was given is placed.
        return any([self._take(flag) is not None for flag in flags])

    def get(self, *flags: str) -> Any:
        """The value of the first flag that was given, else the program's default."""
        for flag in flags:
            found = self._take(flag)
            if found is not None:
                return self._value(flag, found)
        known = (self.table.flags[flag] for flag in flags if flag in self.table)
        return next((flag.default for flag in known), None)

    def words(self, flag: str) -> tuple[str, ...] | None:
        """Everything that follows a flag; None if it was not given."""
        return self._take(flag)

    def note(self, flag: str, why: str) -> None:
        """Say that a flag has no place after all, and why."""
        self._notes[flag] = why

    def left(self) -> Iterator[Left]:
        """What was not asked for, in order."""
        for flag, values in self._given.items():
            if flag not in self._used or flag in self._notes:
                value = " ".join(shown(each) for each in values)
                yield Left(flag=shown(flag), value=value, why=self._notes.get(flag, ""))

    def unknown(self, flag: str) -> str:
        """Why a flag would end the program, with what takes its place; empty: it has the flag."""
        if flag in self.table or not flag.startswith("--"):
            return ""
        close = get_close_matches(flag, self.table.flags, n=1, cutoff=0.85)
        meant = f"did you mean `{close[0]}`?" if close else ""
        hint = in_place_of(flag, self.table) or meant
        says = f"{self.table.version} has no such flag"
        return f"{says}: {hint}" if hint else says

    def _take(self, flag: str) -> tuple[str, ...] | None:
        for name in (flag, *RENAMED.get(flag, ())):
            if name in self._given:
                self._used.add(name)
                return self._given[name]
        return None

    def _value(self, flag: str, words: tuple[str, ...]) -> Any:
        known = self.table.flags.get(flag)
        if known is not None and known.kind != "value":
            return known.kind == "true"
        if not words:
            return True
        if any(is_open(word) for word in words):
            self._notes[flag] = "known only when it runs"
            return known.default if known else None
        if known is None:
            return words[0]
        try:
            read = [_converted(word, known) for word in words]
        except ValueError:
            self._notes[flag] = f"the program's parser wants {known.type} here"
            return known.default
        return read if known.nargs else read[0]


def _converted(word: str, flag: Flag) -> Any:
    """A number where the parser wants one."""
    if flag.type == "int":
        return int(word)
    return float(word) if flag.type == "float" else word


def _split(words: Sequence[str], table: FlagTable) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each flag with what follows it, up to the next flag."""
    flag = ""
    values: list[str] = []
    for word in words:
        if word.startswith("--") and not word[2:3].isdigit():
            if flag:
                yield _whole(flag, values, table)
            flag, _, first = word.partition("=")
            values = [first] if "=" in word else []
        elif flag:
            values.append(word)
        elif word:
            yield word, ()
    if flag:
        yield _whole(flag, values, table)


def _whole(flag: str, values: list[str], table: FlagTable) -> tuple[str, tuple[str, ...]]:
    """Abbreviations as argparse allows them, where only one flag begins so."""
    if flag not in table:
        meant = [name for name in table.flags if name.startswith(flag)]
        if len(meant) == 1 and flag not in {old for olds in RENAMED.values() for old in olds}:
            flag = meant[0]
    return flag, tuple(values)


def best_version(
    program: str, words: Sequence[str], named: str | None = None
) -> tuple[str, FlagTable]:
    """The version that is named, or the one that knows most of the flags, the newest of several.

    Raises:
        UsageError: if the version that is named is not known.
    """
    if named is not None:
        if named not in VERSIONS[program]:
            known = ", ".join(VERSIONS[program])
            says = f"{named} is not a version of {program} that is known"
            raise UsageError(says, hint=f"known: {known}")
        return named, read_flags(program, named)
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    tables: Mapping[str, FlagTable] = {v: read_flags(program, v) for v in VERSIONS[program]}
    misses = {version: sum(f not in table for f in flags) for version, table in tables.items()}
    version = min(VERSIONS[program], key=lambda each: misses[each])
    return version, tables[version]

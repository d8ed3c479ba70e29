"""Composed recipes, and parsers built from the flags that a version has."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.arguments import Value
from llmtrain.launchers.backends.flag_table import Flag, FlagTable, read_flags
from llmtrain.planner.plan import Plan, make_plan

PLACES = ("backend.path=/opt/program",)
"""What a launch needs beside the recipe."""

TYPES: dict[str, Callable[[str], Any]] = {"int": int, "float": float}
"""How a parser reads an argument; other types are read as they stand."""


class Rendering:
    """What the tests of every backend do with a recipe."""

    def plan(self, *arguments: str) -> Plan:
        """The plan of ``recipe=NAME key=value…``."""
        return _plan(arguments)

    def recipe(self, *arguments: str) -> Recipe:
        """The recipe of ``recipe=NAME key=value…``."""
        return _plan(arguments).recipe

    def parsed(self, table: FlagTable, words: Sequence[str]) -> Namespace:
        """What a parser with the flags of ``table`` makes of a command line."""
        return _parser(table.program, table.version).parse_args(words)

    def expected(self, table: FlagTable, wanted: dict[str, Value]) -> dict[str, Any]:
        """What the parser should find, by destination."""
        given = ((table.flags[name], value) for name, value in wanted.items() if _is_given(value))
        return {flag.dest: _read(flag, value) for flag, value in given}


@pytest.fixture(scope="session")
def rendering() -> Rendering:
    """Composes, plans and parses."""
    return Rendering()


@cache
def _plan(arguments: tuple[str, ...]) -> Plan:
    return make_plan(compose([*PLACES, *arguments]))


@cache
def _parser(program: str, version: str) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for flag in read_flags(program, version).flags.values():
        parser.add_argument(flag.name, dest=flag.dest, default=flag.default, **_options(flag))
    return parser


def _options(flag: Flag) -> dict[str, Any]:
    if flag.kind != "value":
        return {"action": f"store_{flag.kind}"}
    convert = TYPES.get(flag.type, str)
    nargs = int(flag.nargs) if flag.nargs.isdigit() else flag.nargs or None
    choices = [convert(choice) for choice in flag.choices] or None
    return {"type": convert, "nargs": nargs, "choices": choices}


def _is_given(value: Value) -> bool:
    return value is not None and value is not False


def _read(flag: Flag, value: Value) -> Any:
    if flag.kind != "value":
        return flag.kind == "true"
    convert = TYPES.get(flag.type, str)
    if not flag.nargs:
        return value if convert is str else convert(str(value))
    return [convert(str(item)) for item in (value if isinstance(value, tuple) else (value,))]

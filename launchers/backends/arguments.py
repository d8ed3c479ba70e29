"""A command line from named values, checked against the flags that a version has."""

from collections.abc import Iterator, Mapping

from llmtrain.config.errors import PlanError, Problem
from llmtrain.launchers.backends.flag_table import Flag, FlagTable, in_place_of, read_flags
from llmtrain.planner.limits import VERSIONS

Scalar = str | int | float
Value = Scalar | bool | tuple[Scalar, ...] | None
"""True: the flag alone; False and None: not on the command line; a tuple: several arguments."""

Arguments = Mapping[str, Value]
"""Values by flag. The order is that of the command line."""


def command_line(wanted: Arguments, table: FlagTable) -> tuple[str, ...]:
    """The arguments of ``wanted``, unquoted.

    Raises:
        PlanError: with one problem for each flag or value that this version does not have.
    """
    # By identity: a value of 0 is on the command line.
    given = {
        name: value for name, value in wanted.items() if value is not None and value is not False
    }
    problems = [problem for item in given.items() for problem in _refused(*item, table)]
    if problems:
        raise PlanError(problems)
    return tuple(word for name, value in given.items() for word in _words(name, value))


def _refused(name: str, value: Value, table: FlagTable) -> Iterator[Problem]:
    flag = table.flags.get(name)
    if flag is None:
        says = f"{table.program} {table.version} has no flag `{name}`, which this recipe needs"
        hint = "; ".join(filter(None, (in_place_of(name, table), _who_has(name, None, table))))
        yield Problem(code="flag_unknown", says=says, hint=hint)
        return
    for word in _words(name, value)[1:]:
        if flag.choices and word not in flag.choices:
            known = ", ".join(f"`{choice}`" for choice in flag.choices)
            says = f"`{name}` of {table.program} {table.version} knows {known}, not `{word}`"
            yield Problem(code="flag_unknown", says=says, hint=_who_has(name, word, table))


def _who_has(name: str, word: str | None, table: FlagTable) -> str:
    """Which other versions of the program accept it."""
    others = [version for version in VERSIONS[table.program] if version != table.version]
    flags = {version: read_flags(table.program, version).flags.get(name) for version in others}
    able = [version for version, flag in flags.items() if _accepts(flag, word)]
    return " or ".join(f"`backend.version={version}` has it" for version in able)


def _accepts(flag: Flag | None, word: str | None) -> bool:
    return flag is not None and (word is None or not flag.choices or word in flag.choices)


def _words(name: str, value: Value) -> tuple[str, ...]:
    if value is True:
        return (name,)
    values = value if isinstance(value, tuple) else (value,)
    return (name, *(_word(item) for item in values if item is not None))


def _word(value: Scalar) -> str:
    """Floats as short as they stay exact, whole ones without a point: ``5e-05``, ``1``."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)

"""Plain data to frozen dataclasses: types are checked, and every mistake is reported at once."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from llmtrain.config.errors import Problem, RecipeError

T = TypeVar("T")

_FAILED = object()
"""Stands for a value that could not be made; unknown keys beside it do not make it fail."""

WHOLE, NUMBER, FLAG, TEXT = "a whole number", "a number", "true or false", "text"


def key_of(name: str) -> str:
    """The recipe key of a field: ``global_`` stands for ``global``, a Python keyword."""
    return name.rstrip("_")


def build(cls: type[T], data: Any) -> T:
    """Make ``cls`` from nested mappings.

    Raises:
        RecipeError: with one problem for each wrong, missing or unknown key.
    """
    value, problems = _dataclass(cls, data, "")
    if problems:
        raise RecipeError(problems)
    return cast(T, value)


def plain(value: Any) -> Any:
    """The inverse of :func:`build`: nested mappings and lists, ready for YAML or JSON."""
    if is_dataclass(value):
        return {key_of(field.name): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def keys(cls: type, prefix: str = "") -> Iterator[str]:
    """Every dotted key below ``cls``, groups included."""
    for field in fields(cls):
        key = prefix + key_of(field.name)
        yield key
        for inner in members_of(field.type):
            if is_dataclass(inner):
                yield from keys(cast(type, inner), f"{key}.")


def members_of(kind: Any) -> tuple[Any, ...]:
    """The types of a union; any other type alone."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _dataclass(cls: type, data: Any, path: str) -> tuple[Any, list[Problem]]:
    if not isinstance(data, Mapping):
        return _FAILED, [_wrong(path, data, f"a group of keys: {', '.join(_names(cls))}")]
    problems = [_unknown(cls, str(key), path) for key in data if str(key) not in _names(cls)]
    values: dict[str, Any] = {}
    complete = True
    for field in fields(cls):
        value, found = _field(field, data, path)
        problems += found
        if value is _FAILED:
            complete = False
        elif value is not MISSING:
            values[field.name] = value
    if not complete:
        return _FAILED, problems
    try:
        return cls(**values), problems
    except RecipeError as error:
        return _FAILED, problems + [_inside(problem, path) for problem in error.problems]


def _names(cls: type) -> list[str]:
    return [key_of(field.name) for field in fields(cls)]


def _inside(problem: Problem, path: str) -> Problem:
    return problem.inside(path) if path else problem


def _field(field: "Field[Any]", data: Mapping[Any, Any], path: str) -> tuple[Any, list[Problem]]:
    key = key_of(field.name)
    full = f"{path}.{key}" if path else key
    if key in data:
        return _convert(field.type, data[key], full)
    if field.default is MISSING and field.default_factory is MISSING:
        return _FAILED, [Problem(code="missing", key=full, says="is needed")]
    return MISSING, []


def _convert(kind: Any, value: Any, path: str) -> tuple[Any, list[Problem]]:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None, []
        return _convert(next(k for k in get_args(kind) if k is not NoneType), value, path)
    if origin is Literal:
        return _choice(get_args(kind), value, path)
    if origin is tuple:
        return _tuple(get_args(kind), value, path)
    if origin is not None:
        return _mapping(get_args(kind)[1], value, path)
    if is_dataclass(kind):
        return _dataclass(cast(type, kind), value, path)
    return _scalar(kind, value, path)


def _scalar(kind: type, value: Any, path: str) -> tuple[Any, list[Problem]]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        # 270e9 is a float to YAML, yet a count to its writer.
        if number and value % 1 == 0:
            return int(value), []
        return _FAILED, [_wrong(path, value, WHOLE)]
    if kind is float:
        finite = number and abs(value) <= sys.float_info.max
        return (float(value), []) if finite else (_FAILED, [_wrong(path, value, NUMBER)])
    if kind is bool:
        return (value, []) if isinstance(value, bool) else (_FAILED, [_wrong(path, value, FLAG)])
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        # YAML reads an unquoted 22 or 1e5 as a number where text is meant.
        return (str(value), []) if _is_text(str(value)) else (_FAILED, [_not_text(path, value)])
    return _FAILED, [_wrong(path, value, TEXT)]


def _is_text(value: str) -> bool:
    """Whether files, arguments and environments can hold it: UTF-8 without NUL."""
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _not_text(path: str, value: Any) -> Problem:
    return Problem(code="not_text", key=path, says=f"= {value!r} is not UTF-8 text without NUL")


def _choice(valid: tuple[Any, ...], value: Any, path: str) -> tuple[Any, list[Problem]]:
    if value in valid:
        return value, []
    close = get_close_matches(str(value), [str(item) for item in valid], n=1)
    meant = f"Did you mean `{close[0]}`? " if close else ""
    problem = Problem(
        code="invalid_choice",
        key=path,
        says=f"cannot be {value!r}",
        hint=f"{meant}valid: {', '.join(str(item) for item in valid)}",
    )
    return _FAILED, [problem]


def _tuple(kinds: tuple[Any, ...], value: Any, path: str) -> tuple[Any, list[Problem]]:
    if not isinstance(value, (list, tuple)):
        return _FAILED, [_wrong(path, value, "a list")]
    each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else list(kinds)
    if len(each) != len(value):
        return _FAILED, [_wrong(path, value, f"a list of {len(each)}")]
    pairs = [_convert(kind, item, path) for kind, item in zip(each, value, strict=True)]
    return _whole(tuple(item for item, _ in pairs), pairs)


def _mapping(kind: Any, value: Any, path: str) -> tuple[Any, list[Problem]]:
    if not isinstance(value, Mapping):
        return _FAILED, [_wrong(path, value, "a group of names and values")]
    pairs = {str(key): _convert(kind, item, f"{path}.{key}") for key, item in value.items()}
    return _whole({key: item for key, (item, _) in pairs.items()}, list(pairs.values()))


def _whole(value: Any, parts: list[tuple[Any, list[Problem]]]) -> tuple[Any, list[Problem]]:
    found = [problem for _, problems in parts for problem in problems]
    return _FAILED if any(item is _FAILED for item, _ in parts) else value, found


def _wrong(path: str, value: Any, wanted: str) -> Problem:
    shown = "null" if value is None else repr(value)
    says = f"{'' if path else 'a recipe '}must be {wanted}, not {shown}"
    return Problem(code="wrong_type", key=path, says=says)


def _unknown(cls: type, name: str, path: str) -> Problem:
    key = f"{path}.{name}" if path else name
    names = _names(cls)
    close = [] if path else _elsewhere(cls, name)
    close = close or get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    meant = f"Did you mean `{f'{path}.' if path else ''}{close[0]}`? " if close else ""
    return Problem(
        code="unknown_key",
        key=key,
        says="is not a recipe key",
        hint=f"{meant}{'in ' + path if path else 'top level'}: {', '.join(names)}",
    )


def _elsewhere(cls: type, name: str) -> list[str]:
    """A key of a group that was written without its group: ``tp`` for ``parallel.tp``."""
    found = [key for key in keys(cls) if key.rpartition(".")[2] == name.lower()]
    return sorted(found, key=len)[:1]

"""A recipe with some of its keys changed."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from llmtrain.config.build import key_of
from llmtrain.config.errors import RecipeError
from llmtrain.config.recipe import Recipe

Changes = Mapping[str, Any]
"""Dotted recipe keys and their new values."""


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """``recipe`` with ``changes`` applied.

    Raises:
        RecipeError: if a concern refuses its new values.
        KeyError: if a key does not exist.
    """
    nested: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    mended: Recipe = _replaced(recipe, nested)
    return mended


def changed_if_valid(recipe: Recipe, changes: Changes) -> Recipe | None:
    """The same, or None where a concern refuses its new values."""
    try:
        return changed(recipe, changes)
    except RecipeError:
        return None


def _replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    by_key = {key_of(field.name): field.name for field in fields(value)}
    new: dict[str, Any] = {}
    for key, change in changes.items():
        old = getattr(value, by_key[key])
        inner = is_dataclass(old) and isinstance(change, Mapping)
        new[by_key[key]] = _replaced(old, change) if inner else change
    return replace(value, **new)


def value_of(recipe: Recipe, key: str) -> Any:
    """What ``recipe`` says at a dotted key; None below a group that is null."""
    value: Any = recipe
    for part in key.split("."):
        by_key = {key_of(field.name): field.name for field in fields(value)}
        value = getattr(value, by_key[part])
        if value is None:
            break
    return value


def as_overrides(changes: Changes) -> tuple[str, ...]:
    """The same changes as overrides to paste."""
    return tuple(f"{key}={_shown(value)}" for key, value in changes.items())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{','.join(_shown(part) for part in value)}]"
    return "null" if value is None else str(value)

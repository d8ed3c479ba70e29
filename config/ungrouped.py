"""A choice of a group where the recipe has no such group: a resolved recipe holds values alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from llmtrain.config.change import as_overrides
from llmtrain.config.errors import Problem
from llmtrain.config.overrides import is_plain, key
from llmtrain.config.search import SearchPath
from llmtrain.config.yaml_reader import read_yaml

REFUSED = re.compile(r"Could not override '([^'@]+)")
"""Hydra's answer to the first of them."""

MOST_KEYS = 12
"""Of a group's file, that are named one by one."""


def ungrouped(
    error: Exception, overrides: Sequence[Override], path: SearchPath, name: str
) -> list[Problem]:
    """Every such choice in ``overrides``, if that is what Hydra refused; else none.

    ``name``: of the recipe, which is in the first folder of ``path`` that has it.
    """
    refused = REFUSED.match(str(error))
    if refused is None:
        return []
    file = path.find(name)
    data = read_yaml(file.read_text(encoding="utf-8")) if file else {}
    groups = path.groups() if "defaults" not in data else (refused[1],)
    chosen = [each for each in overrides if key(each) in groups and is_plain(each)]
    return [_problem(each, path, name, data) for each in chosen if isinstance(each.value(), str)]


def _problem(override: Override, path: SearchPath, name: str, data: Mapping[str, Any]) -> Problem:
    group, option = key(override), str(override.value())
    kind = "it is resolved" if "defaults" not in data else f"its `defaults` do not name {group}"
    says = f"= {option} chooses a group, and the recipe holds none: {kind}"
    keys = list(_keys(group, path.options(group).get(option)))
    if keys and len(keys) <= MOST_KEYS:
        return Problem(code="ungrouped", key=group, says=says, hint=f"say `{' '.join(keys)}`")
    made_of = str(data.get("name", name))
    hint = f"single keys can be changed: `{group}.KEY=VALUE`"
    if made_of in path.recipes():
        hint = (
            f"choose it where the recipe is composed: `recipe={made_of} {group}={option}`; {hint}"
        )
    return Problem(code="ungrouped", key=group, says=says, hint=hint)


def _keys(group: str, file: Path | None) -> Iterator[str]:
    """The values of a group's file as overrides; none if it is made of others."""
    data = read_yaml(file.read_text(encoding="utf-8")) if file else {}
    if "defaults" not in data:
        yield from _leaves(group, data)


def _leaves(at: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _leaves(f"{at}.{name}", each)
    else:
        yield from as_overrides({at: value})

"""The ``key=value`` arguments of the command line, before anything is composed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from llmtrain.config.errors import Problem, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """What the user asked for."""

    recipe: str | None
    """Value of ``recipe=``: a name or a path."""
    overrides: tuple[Override, ...]
    """Every other argument, parsed by Hydra's grammar."""


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Split ``recipe=NAME key=value…``.

    Raises:
        UsageError: for an argument without ``=``, an override that Hydra cannot read, a sweep.
    """
    recipes = [text.partition("=")[2] for text in arguments if text.startswith("recipe=")]
    problems = [_no_equals(text, recipes) for text in arguments if not _looks_right(text)]
    if problems:
        raise UsageError(problems)
    if len(set(recipes)) > 1:
        raise UsageError(f"`recipe=` was given {len(recipes)} times: {', '.join(recipes)}")
    texts = [text for text in arguments if not text.startswith("recipe=")]
    overrides = tuple(_parsed(text) for text in texts)
    return Arguments(recipe=recipes[0] if recipes else None, overrides=overrides)


def _looks_right(text: str) -> bool:
    return text.startswith("~") or ("=" in text and not text.startswith("="))


def _no_equals(text: str, recipes: Sequence[str]) -> Problem:
    said = (
        f"a key is set with `{text}=VALUE`"
        if recipes
        else f"a recipe is chosen with `recipe={text}`"
    )
    hint = said if re.match(r"[\w./]", text) and text != "recipe" else ""
    return Problem(code="usage", says=f"`{text}` is not `key=value`", hint=hint)


def _parsed(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = str(error).strip().splitlines()[0]
        hint = "quote text with special characters for both shells: 'key=\"a value\"'"
        raise UsageError(f"cannot read `{text}`: {reason}", hint=hint) from error
    if override.is_sweep_override():
        hint = "`llmtrain tune` searches; a list is written [a,b]"
        raise UsageError(f"`{text}` gives several values", hint=hint)
    return override


def is_plain(override: Override) -> bool:
    """A ``key=value`` without Hydra's ``+``, ``++``, ``~`` or ``@package``."""
    return override.type is not None and override.type.name == "CHANGE" and not override.package


def key(override: Override) -> str:
    """The dotted key that an override names."""
    return str(override.key_or_group)

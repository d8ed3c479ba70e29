"""Completion of recipes, groups, their choices, keys, and runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from llmtrain.config.build import keys
from llmtrain.config.errors import LlmtrainError
from llmtrain.config.recipe import Recipe
from llmtrain.config.search import SearchPath, search_path
from llmtrain.runs.folder import run_folders, run_roots


def complete_argument(
    incomplete: str, before: Sequence[str] = (), folders: Sequence[Path] = ()
) -> list[str]:
    """``recipe=NAME``, ``GROUP=CHOICE`` or a recipe key with its ``=``; nothing on a mistake.

    bash ends a word at ``=`` and asks only for the rest; the key is among the words ``before``.
    """
    start = _key_before(before, incomplete)
    try:
        offered = _offered(start + incomplete, search_path(folders))
    except LlmtrainError:
        return []
    return sorted({each.removeprefix(start) for each in offered})


def _offered(incomplete: str, path: SearchPath) -> Iterator[str]:
    key, equals, _ = incomplete.partition("=")
    if equals:
        options = path.recipes() if key == "recipe" else path.options(key)
        words = [f"{key}={name}" for name in options]
    else:
        words = [f"{name}=" for name in ("recipe", *path.groups(), *keys(Recipe))]
    return (word for word in words if word.startswith(incomplete))


def _key_before(before: Sequence[str], incomplete: str) -> str:
    """``KEY=`` if bash has cut it off; Typer passes on no ``=`` that nothing follows yet."""
    *others, last = ["", *before]
    if last == "=":
        return f"{others[-1]}="
    is_value = others[-1:] == ["="]
    return f"{last}=" if last and "=" not in last and not incomplete and not is_value else ""


def complete_run(incomplete: str) -> list[str]:
    """Names of runs, the newest first."""
    names = ["latest", *(folder.name for folder in run_folders(*run_roots()))]
    return [name for name in names if name.startswith(incomplete)]

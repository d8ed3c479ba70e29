"""A recipe being composed: what Hydra makes of its files and overrides, between our own checks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from llmtrain.config.build import build
from llmtrain.config.errors import Problem, RecipeError
from llmtrain.config.origin import Source, where_set
from llmtrain.config.overrides import Arguments, is_plain, key
from llmtrain.config.recipe import Recipe
from llmtrain.config.search import SearchPath, unknown_option
from llmtrain.config.ungrouped import ungrouped

HYDRA_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    OSError,
    ValueError,
    RecursionError,
)
"""What Hydra answers to a mistake: in an override, in a file, in the name of a file."""

REFUSALS = {
    r"Could not delete from config\. '([^']+)'": "is not set: there is nothing to take away",
    r"Could not override '([^']+)'": "is no group of the recipe; parts of a key are joined by dots",
    r"(\S+) appears more than once in the final": "is chosen already; leave out the `+`",
}
"""Hydra's answer to an override that does not suit the recipe, and ours about the key in it."""


class Composition:
    """One recipe being composed; Hydra stays initialised while it lives."""

    def __init__(self, path: SearchPath, name: str, asked: Arguments) -> None:
        self._path = path
        self._name = name
        self.overrides = asked.overrides
        self._groups = path.groups()

    def recipe(self) -> tuple[Recipe | None, list[Problem]]:
        """The recipe without the checks across concerns, or what is wrong with it."""
        problems, kept = [], []
        for override in self.overrides:
            problem = _of_hydra(override) or self._missing_option(override)
            kept += [] if problem else [override]
            problems += [problem] if problem else []
        try:
            recipe = build(Recipe, self._data(kept))
        except RecipeError as error:
            return None, problems + list(error.problems)
        return recipe, problems

    def built(self, overrides: Sequence[Override]) -> Recipe | None:
        """The recipe with these overrides instead, if there is one; its rules are not looked at."""
        try:
            return build(Recipe, self._data(overrides))
        except RecipeError:
            return None

    def value(self, name: str, overrides: Sequence[Override]) -> Any:
        """What a key has with these overrides instead; None where there is no such recipe."""
        try:
            return OmegaConf.select(OmegaConf.create(self._data(overrides)), name)
        except RecipeError:
            return None

    def _missing_option(self, override: Override) -> Problem | None:
        group, value = key(override), override.value()
        if group not in self._groups or override.is_delete() or isinstance(value, Mapping):
            return None
        name = value if isinstance(value, str) else override.get_value_string()
        options = self._path.options(group)
        return None if name in options else unknown_option(group, group, name, list(options))

    def _data(self, overrides: Sequence[Override]) -> dict[str, Any]:
        lines = [*self._search(), *(self._line(override) for override in overrides)]
        try:
            config = hydra_compose(self._name, lines)
            _no_resolvers(config)
            data = OmegaConf.to_container(config, resolve=True)
        except HYDRA_ERRORS as error:
            found = ungrouped(error, overrides, self._path, self._name)
            raise RecipeError(found or [_said(error)]) from error
        if not isinstance(data, dict):
            raise RecipeError(f"recipe {self._name} is not a group of keys")
        data.setdefault("name", self._name)
        return {str(name): value for name, value in data.items()}

    def _search(self) -> Iterator[str]:
        folders = [str(folder).replace('"', r"\"") for folder in self._path.folders[1:]]
        if folders:  # reading an override takes Hydra a while
            yield "hydra.searchpath=[" + ",".join(f'"file://{each}"' for each in folders) + "]"

    def _line(self, override: Override) -> str:
        """The override for Hydra; a key is forced in, so that our own check answers."""
        text = str(override.input_line)
        group = key(override)
        added = override.is_add() and not override.package
        if not (is_plain(override) or added) or "/" in group:
            return text
        chosen = group in self._groups and not isinstance(override.value(), Mapping)
        return text if chosen else f"++{text.lstrip('+')}"

    def located(self, problems: Sequence[Problem]) -> list[Problem]:
        """The problems with where each was set."""
        try:
            sources = list(self._sources())
        except HYDRA_ERRORS:
            sources = []
        return [
            replace(p, where=where_set(p.at or p.key, self.overrides, sources)) for p in problems
        ]

    def _sources(self) -> Iterator[Source]:
        chosen = [o for o in self.overrides if not (_of_hydra(o) or self._missing_option(o))]
        lines = [*self._search(), *(self._line(o) for o in chosen if key(o) in self._groups)]
        loader = GlobalHydra.instance().config_loader()
        listed = loader.compute_defaults_list(self._name, lines, RunMode.RUN)
        for default in listed.defaults:
            path = self._path.find(default.config_path or "")
            if path is not None and not (default.package or "").startswith("hydra"):
                yield Source(path=path.resolve(), package=default.package or "")


def _of_hydra(override: Override) -> Problem | None:
    """Hydra's own keys are not the user's: its search path, say, is ``--recipes``."""
    if re.split("[./]", key(override))[0] != "hydra":
        return None
    return Problem(code="unknown_key", key=key(override), says="is not a recipe key")


def _no_resolvers(config: DictConfig) -> None:
    """A recipe reads nothing but itself: no environment, no secrets, no code.

    Raises:
        RecipeError: if a value asks a resolver, such as ``${oc.env:TOKEN}``.
    """
    problems = []
    for name, value in _leaves(OmegaConf.to_container(config, resolve=False), ""):
        if isinstance(value, str) and "${" in value and ":" in value.partition("${")[2]:
            says = f"= {value!r} asks for something outside the recipe"
            problems.append(Problem(code="resolver", key=name, says=says))
    if problems:
        raise RecipeError(problems)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value


def _said(error: Exception) -> Problem:
    """Hydra's, OmegaConf's or the YAML reader's own answer, in one line."""
    if isinstance(error, RecursionError):
        says = "the `defaults` of its files name each other without end"
        return Problem(code="composition", says=says)
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        says = f"{mark.name}:{mark.line + 1} is not YAML: {error.problem}"
        return Problem(code="composition", says=says)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for pattern, says in REFUSALS.items():
        if refused := re.match(pattern, lines[0] if lines else ""):
            return Problem(code="composition", key=refused[1], says=says)
    return Problem(code="composition", says=lines[0] if lines else type(error).__name__)

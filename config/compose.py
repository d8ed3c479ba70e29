"""The one function that composes a recipe: Hydra's compose API between our own checks.

Hydra merges; what it would answer to a mistake is answered here, with every mistake at once.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc
from yaml import MarkedYAMLError, YAMLError

from llmtrain.config.build import build
from llmtrain.config.change import as_overrides
from llmtrain.config.errors import Problem, RecipeError, Repair, UsageError
from llmtrain.config.origin import Source, where_set
from llmtrain.config.overrides import Arguments, is_plain, key, parse_arguments
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import RULES, Judge, mending, with_repairs
from llmtrain.config.rules import violations
from llmtrain.config.search import SearchPath, recipe_file, search_path, unknown_option
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

DECISIVE = ("model", "cluster", "backend", "site")
"""Groups without which no rule can be judged."""

REFUSALS = {
    r"Could not delete from config\. '([^']+)'": "is not set: there is nothing to take away",
    r"Could not override '([^']+)'": "is no group of the recipe; parts of a key are joined by dots",
    r"(\S+) appears more than once in the final": "is chosen already; leave out the `+`",
}
"""Hydra's answer to an override that does not suit the recipe, and ours about the key in it."""


def compose(
    arguments: Sequence[str],
    folders: Sequence[Path] = (),
    judge: Judge = RULES,
    mended: Container[str] = (),
) -> Recipe:
    """Compose ``recipe=NAME key=value…`` into a checked :class:`Recipe`.

    Args:
        arguments: as on the command line; one of them is ``recipe=``.
        folders: folders that are searched first.
        judge: what counts as a valid repair.
        mended: codes of rules that the recipe may break, because the caller mends them.

    Raises:
        UsageError: if an argument cannot be read.
        RecipeError: with every mistake, where it was set, and repairs that are valid.
    """
    asked = parse_arguments(arguments)
    if asked.recipe is None:
        raise UsageError("no recipe: say `recipe=NAME`", hint="`llmtrain recipes` lists them")
    path = search_path(folders)
    with _opened(path, asked.recipe) as (opened, name):
        return _checked(_Composition(opened, name, asked), judge, mended)


def _checked(composition: "_Composition", judge: Judge, mended: Container[str]) -> Recipe:
    recipe, problems = composition.recipe()
    if recipe is not None and not problems:
        broken = tuple(each for each in violations(recipe) if each.code not in mended)
        if not broken:
            return recipe
        raise RecipeError(composition.located(with_repairs(recipe, broken, judge)))
    repaired = [composition.repaired(problem, judge) for problem in problems]
    hidden = [each for each in composition.hidden(problems) if each.code not in mended]
    if not any(problem.repairs for problem in repaired):
        # As where several rules are broken: what mends all of it stands with the first.
        offers = composition.together(problems, judge)
        repaired[0] = replace(repaired[0], repairs=offers)
    raise RecipeError(composition.located([*repaired, *hidden]))


@contextmanager
def _opened(path: SearchPath, recipe: str) -> Iterator[tuple[SearchPath, str]]:
    """Hydra initialised on the folder of ``recipe``, which is a name or a path."""
    file = recipe_file(recipe, path)
    if file.parent not in path.folders:
        path = SearchPath(folders=(file.parent, *path.folders))
    with TemporaryDirectory() as folder:
        if path.folders[0] != file.parent:
            # Hydra looks for the recipe itself in one folder, and only then searches.
            (Path(folder) / file.name).symlink_to(file)
            path = SearchPath(folders=(Path(folder), *path.folders))
        with (
            initialize_config_dir(str(path.folders[0]), version_base="1.3"),
            _without_environment(),
        ):
            yield path, file.stem


@contextmanager
def _without_environment() -> Iterator[None]:
    """No ``${oc.env:…}`` while composing: Hydra resolves a defaults list before we see it."""
    OmegaConf.clear_resolver("oc.env")
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env)


class _Composition:
    """One recipe being composed; Hydra stays initialised while it lives."""

    def __init__(self, path: SearchPath, name: str, asked: Arguments) -> None:
        self._path = path
        self._name = name
        self._overrides = asked.overrides
        self._groups = path.groups()

    def recipe(self) -> tuple[Recipe | None, list[Problem]]:
        """The recipe without the checks across concerns, or what is wrong with it."""
        problems, kept = [], []
        for override in self._overrides:
            problem = _of_hydra(override) or self._missing_option(override)
            kept += [] if problem else [override]
            problems += [problem] if problem else []
        try:
            recipe = build(Recipe, self._data(kept))
        except RecipeError as error:
            return None, problems + list(error.problems)
        return recipe, problems

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

    def hidden(self, problems: Sequence[Problem]) -> list[Problem]:
        """The rules that are broken whatever was meant where ``problems`` are."""
        unclear = {problem.key for problem in problems if problem.code != "unknown_key"}
        if any(name.partition(".")[0] in DECISIVE for name in unclear):
            return []
        clear = [problem for problem in problems if problem.key not in unclear]
        recipe = self._with(problems, self._meant_texts(clear))
        if recipe is None:
            return []
        # What was said of another name is found there.
        places = {text.partition("=")[0]: p.key for p in clear for text in self._meant_texts([p])}
        broken = [each for each in violations(recipe) if not unclear & mending(recipe, each.code)]
        keys = [each.at or each.key for each in broken]
        return [replace(p, at=places.get(at, at)) for p, at in zip(broken, keys, strict=True)]

    def together(self, problems: Sequence[Problem], judge: Judge) -> tuple[Repair, ...]:
        """What mends them all: each as it was probably meant, and then the rules."""
        texts = self._meant_texts(problems)
        recipe = self._with(problems, texts) if all(map(self._meant, problems)) else None
        if recipe is None:
            return ()
        broken = with_repairs(recipe, violations(recipe), judge)
        offers = next((each.repairs for each in broken if each.repairs), ())
        tried = [_followed(texts, offer) for offer in offers or (Repair(overrides=()),)]
        return tuple(r for r in tried if self._mends(self._others(problems), r, judge))

    def _meant(self, problem: Problem) -> list[Repair]:
        blamed = self._blamed(problem)
        return [*problem.repairs, *(each for o in blamed for each in self._instead(o, problem))]

    def _meant_texts(self, problems: Sequence[Problem]) -> list[str]:
        """The first thing that each may have been meant to be."""
        first = [repair for problem in problems for repair in self._meant(problem)[:1]]
        return [text for repair in first for text in repair.overrides]

    def _others(self, problems: Sequence[Problem]) -> list[Override]:
        blamed = [override for problem in problems for override in self._blamed(problem)]
        return [each for each in self._overrides if all(each is not other for other in blamed)]

    def _with(self, problems: Sequence[Problem], texts: Sequence[str]) -> Recipe | None:
        """The recipe with ``texts`` in place of what made the problems, if it can be built."""
        return self._built([*self._others(problems), *parse_arguments(texts).overrides])

    def repaired(self, problem: Problem, judge: Judge) -> Problem:
        """``problem`` with what leaves a valid recipe: its own repairs, another command line."""
        tried = [(list(self._overrides), repair) for repair in problem.repairs]
        for override in self._blamed(problem):
            others = [other for other in self._overrides if other is not override]
            tried += [(others, repair) for repair in self._instead(override, problem)]
        found = [repair for others, repair in tried if self._mends(others, repair, judge)]
        once = {repair.overrides: repair for repair in reversed(found)}
        return replace(problem, repairs=tuple(reversed(once.values()))[:3])

    def _blamed(self, problem: Problem) -> list[Override]:
        """The overrides of its key; where there is none, those of the same group."""
        keys = {key(override): override for override in self._overrides}
        at = [o for name, o in keys.items() if f"{problem.key}.".startswith(f"{name}.")]
        group = problem.key.partition(".")[0]
        return at or [o for name, o in keys.items() if name.startswith(f"{group}.")]

    def _instead(self, override: Override, problem: Problem) -> Iterator[Repair]:
        meant = _quoted(problem.hint.partition("?")[0]) if "Did you mean" in problem.hint else []
        value = str(override.input_line).partition("=")[2]
        for text in meant:
            if problem.code == "unknown_key":
                yield Repair(overrides=(f"{text}={value}",))
            elif problem.code == "invalid_choice":
                yield Repair(overrides=(f"{problem.key}={text}",))
            else:
                yield Repair(overrides=(text,))
        yield from self._own_value(override)

    def _own_value(self, override: Override) -> Iterator[Repair]:
        others = [other for other in self._overrides if other is not override]
        try:
            node = OmegaConf.create(self._data(others))
        except RecipeError:
            return
        value = OmegaConf.select(node, key(override))
        if isinstance(value, (int, float, str, bool)):
            whole = isinstance(value, float) and value.is_integer()  # 270e9 is a count
            own = as_overrides({key(override): int(value) if whole else value})
            yield Repair(overrides=own, why="the recipe's own value")

    def _mends(self, others: Sequence[Override], repair: Repair, judge: Judge) -> bool:
        recipe = self._built([*others, *parse_arguments(repair.overrides).overrides])
        return recipe is not None and judge.accepts(recipe)

    def _built(self, overrides: Sequence[Override]) -> Recipe | None:
        try:
            return build(Recipe, self._data(overrides))
        except RecipeError:
            return None

    def located(self, problems: Sequence[Problem]) -> list[Problem]:
        """The problems with where each was set."""
        try:
            sources = list(self._sources())
        except HYDRA_ERRORS:
            sources = []
        return [
            replace(p, where=where_set(p.at or p.key, self._overrides, sources)) for p in problems
        ]

    def _sources(self) -> Iterator[Source]:
        chosen = [o for o in self._overrides if not (_of_hydra(o) or self._missing_option(o))]
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


def _quoted(text: str) -> list[str]:
    return text.split("`")[1::2]


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


def _followed(texts: Sequence[str], repair: Repair) -> Repair:
    """``texts``, and then a repair, which has the last word on its keys."""
    later = {text.partition("=")[0] for text in repair.overrides}
    first = [text for text in texts if text.partition("=")[0] not in later]
    return replace(repair, overrides=(*first, *repair.overrides))


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

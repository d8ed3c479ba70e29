"""Why a plan cannot be launched, with repairs that were tried: each leaves no other problem."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from llmtrain.config.change import Changes, as_overrides, changed_if_valid, value_of
from llmtrain.config.errors import Problem, Repair
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import Judge, with_repairs
from llmtrain.config.rules import violations
from llmtrain.planner.expressible import inexpressible
from llmtrain.planner.memory import Peak, peak_memory
from llmtrain.planner.verdict import fits, out_of_memory


def problems_of(recipe: Recipe, peaks: tuple[Peak, ...]) -> tuple[Problem, ...]:
    """What the backend cannot express and what does not fit."""
    cannot = inexpressible(recipe)
    if not cannot:
        return out_of_memory(recipe, peaks, is_expressible)
    together = {key: value for problem in cannot for key, value in _first(recipe, problem).items()}
    together |= _within_the_rules(recipe, together)
    mended = _expressed(recipe, together)
    rest = () if mended is None else out_of_memory(mended, peak_memory(mended), is_expressible)
    more = [repair for problem in rest for repair in problem.repairs]
    found = [_mended(recipe, problem, together, more) for problem in cannot]
    memory = out_of_memory(recipe, peaks)
    return (*found, *(_mended(recipe, problem, together, more) for problem in memory))


def is_launchable(recipe: Recipe) -> bool:
    """Whether ``recipe`` breaks no rule, its backend can express it, and it fits its GPUs."""
    return is_expressible(recipe) and fits(recipe)


def is_expressible(recipe: Recipe) -> bool:
    """Whether ``recipe`` breaks no rule and its backend can express it."""
    return not violations(recipe) and not inexpressible(recipe)


def _completed(recipe: Recipe) -> Changes:
    """The first repair of what else is wrong with a recipe that breaks no rule."""
    problems = problems_of(recipe, peak_memory(recipe))
    return next((_first(recipe, problem) for problem in problems if problem.repairs), {})


LAUNCH = Judge(accepts=is_launchable, completes=_completed)
"""A repair leaves a recipe that can be launched."""


def _mended(recipe: Recipe, problem: Problem, together: Changes, more: Sequence[Repair]) -> Problem:
    """The problem with the first of its repairs that leaves a recipe which can be launched."""
    for changes, why in _tries(_first(recipe, problem), together, more):
        tried = changed_if_valid(recipe, changes)
        if tried is not None and is_launchable(tried):
            return replace(problem, repairs=(Repair(overrides=as_overrides(changes), why=why),))
    return replace(problem, repairs=())


def _tries(
    own: Changes, together: Changes, more: Sequence[Repair]
) -> Iterator[tuple[Changes, str]]:
    """A problem's own repair, all problems' together, and these with what makes the recipe fit."""
    if own:
        yield own, ""
    if together:
        yield together, ""
    for repair in more:
        yield {**together, **read(repair.overrides)}, repair.why


def _first(recipe: Recipe, problem: Problem) -> Changes:
    """What the first repair of a problem would change."""
    said = read(problem.repairs[0].overrides) if problem.repairs else {}
    return {key: value for key, value in said.items() if value != value_of(recipe, key)}


def read(overrides: Sequence[str]) -> dict[str, Any]:
    """What the overrides of a repair say."""
    found = {}
    for text in overrides:
        key, _, value = text.partition("=")
        said = yaml.safe_load(value)
        found[key] = tuple(said) if isinstance(said, list) else said
    return found


def _within_the_rules(recipe: Recipe, changes: Changes) -> Changes:
    """What a recipe needs that breaks a rule by ``changes``; rather not another batch."""
    tried = changed_if_valid(recipe, changes)
    broken = violations(tried) if tried is not None else ()
    if tried is None or not broken:
        return {}
    offered = [
        read(repair.overrides) for each in with_repairs(tried, broken) for repair in each.repairs
    ]
    return min(offered, key=lambda more: "batch.global" in more or "gpus" in more, default={})


def _expressed(recipe: Recipe, changes: Changes) -> Recipe | None:
    tried = changed_if_valid(recipe, changes) if changes else None
    return tried if tried is not None and is_expressible(tried) else None

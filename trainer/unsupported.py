"""What the trainer cannot do, said before anything starts. Imports no torch."""

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import missing, trains
from llmtrain.config.rules import violations


def unsupported(recipe: Recipe) -> tuple[Problem, ...]:
    """Every reason why the reference trainer cannot run ``recipe``; empty if it can."""
    found = [
        _no(each.key, f"cannot be trained: {each.why}")
        for each in missing(recipe)
        if each.when(recipe)
    ]
    if not trains(recipe):
        found.append(_no("backend.name", f"= {recipe.backend.name} is not the reference trainer's"))
    return (*violations(recipe), *found)


def refuse(recipe: Recipe, world: int) -> None:
    """Raise for what the trainer cannot do, and for a number of processes that is not the recipe's.

    Raises:
        LaunchError: with one problem for each reason.
    """
    problems = list(unsupported(recipe))
    if world != recipe.gpus:
        problems.append(_no("gpus", f"= {recipe.gpus}, but {world} processes were started"))
    if problems:
        raise LaunchError(problems)


def _no(key: str, says: str) -> Problem:
    return Problem(code="unsupported", key=key, says=says)

"""What the program that trains cannot express, found before anything is launched."""

from dataclasses import is_dataclass
from importlib import import_module
from operator import attrgetter
from types import MappingProxyType

from llmtrain.config.errors import Problem
from llmtrain.config.limit import Limit
from llmtrain.config.recipe import Recipe
from llmtrain.planner.limits import VERSIONS, version_of

LIMITS = MappingProxyType(
    {
        "megatron-core": "llmtrain.config.reference",
        "megatron-core+deepspeed": "llmtrain.config.reference_deepspeed",
        "megatron-lm": "llmtrain.planner.megatron_lm_limits",
        "megatron-deepspeed": "llmtrain.planner.megatron_deepspeed_limits",
        "deepspeed": "llmtrain.planner.deepspeed_limits",
    }
)
"""Name of a backend -> the module whose ``LIMITS`` are its limits, imported when it is used."""


def inexpressible(recipe: Recipe) -> tuple[Problem, ...]:
    """What the recipe's backend cannot express, one problem for each reason.

    Where the program can come close, ``backend.approximate=true`` lets the recipe pass.
    """
    known = VERSIONS.get(recipe.backend.name)
    if known and version_of(recipe) not in known:
        return (_unknown_version(recipe, known),)
    accepted = recipe.backend.approximate
    asked = _asked(recipe)
    return tuple(_problem(recipe, limit) for limit in asked if not (accepted and limit.nearly))


def approximated(recipe: Recipe) -> tuple[Problem, ...]:
    """What the recipe's backend only comes close to, where the recipe accepts that."""
    if not recipe.backend.approximate:
        return ()
    return tuple(
        Problem(
            code="approximated",
            key=limit.key,
            says=f"{_value(recipe, limit.key)}is approximated by {limit.nearly}: {limit.why}",
        )
        for limit in _asked(recipe)
        if limit.nearly
    )


def _asked(recipe: Recipe) -> tuple[Limit, ...]:
    """The limits of its backend that the recipe meets."""
    return tuple(limit for limit in _limits(recipe.backend.name) if limit.when(recipe))


def _limits(name: str) -> tuple[Limit, ...]:
    limits: tuple[Limit, ...] = import_module(LIMITS[name]).LIMITS
    return limits


def _unknown_version(recipe: Recipe, known: tuple[str, ...]) -> Problem:
    backend = recipe.backend
    says = f"= {backend.version} is not a version of {backend.name} whose flags are known"
    versions = ", ".join(f"`{version}`" for version in known)
    return Problem(
        code="unknown_version", key="backend.version", says=says, hint=f"known: {versions}"
    )


def _problem(recipe: Recipe, limit: Limit) -> Problem:
    says = f"{_value(recipe, limit.key)}cannot be expressed by {recipe.backend.name}: {limit.why}"
    return Problem(
        code="backend_cannot",
        key=limit.key,
        says=says,
        hint=f"`backend.approximate=true` accepts {limit.nearly}" if limit.nearly else "",
        repairs=limit.repair(recipe),
    )


def _value(recipe: Recipe, key: str) -> str:
    """``= VALUE`` and a space, where the value says something within a sentence."""
    value = attrgetter(key)(recipe)
    if value is None or is_dataclass(value):
        return ""
    if isinstance(value, tuple):
        return f"= [{','.join(str(item) for item in value)}] "
    return f"= {str(value).lower() if isinstance(value, bool) else value} "

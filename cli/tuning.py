"""From the arguments of ``tune`` to its answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmtrain.config.compose import compose
from llmtrain.config.errors import Problem, UsageError
from llmtrain.planner.plan import is_launchable
from llmtrain.planner.search.rank import Limits, gpu_counts, search
from llmtrain.planner.search.result import Tuning
from llmtrain.planner.search.size import of_flops, of_tokens

LIMITS = {"days": "days", "gpu-hours": "gpu_hours", "money": "money", "memory": "memory"}


def one_of(option: str, value: str, valid: Sequence[str]) -> Any:
    """``value`` where it is valid.

    Raises:
        UsageError: with the valid values.
    """
    if value not in valid:
        says = f"{option} does not know {value!r}"
        raise UsageError(
            Problem(code="invalid_choice", says=says, hint=f"valid: {', '.join(valid)}")
        )
    return value


def limits_of(words: Sequence[str]) -> Limits:
    """``LIMIT=VALUE`` words as limits."""
    found: dict[str, float] = {}
    for word in words:
        name, _, text = word.partition("=")
        key = LIMITS[one_of("--within", name, tuple(LIMITS))]
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            says = f"--within {name} needs a number above 0, not {text!r}"
            raise UsageError(Problem(code="not_a_number", says=says))
        found[key] = value
    return Limits(**found)


def tuned(
    arguments: Sequence[str] | None,
    folders: Sequence[Path],
    *,
    top: int,
    keep: tuple[str, ...],
    objective: Any,
    limits: Limits,
    free: tuple[str, ...],
) -> Tuning:
    """Compose and search; the recipe's own layout need not be valid."""
    recipe = compose(arguments or (), folders, is_launchable)
    gpus = gpu_counts(recipe) if "gpus" in free else ()
    found = search(recipe, top=top, keep=keep, objective=objective, limits=limits, gpus=gpus)
    sizes: tuple[Any, ...] = ()
    if "size" in free:
        sizes = of_tokens(recipe.tokens) if recipe.tokens else ()
        if limits.gpu_hours is not None and found.offers:
            best = found.offers[0]
            from llmtrain.planner.flops import step_flops

            rate = step_flops(best.recipe).model / float(best.step.seconds) / best.recipe.gpus
            sizes = of_flops(rate * limits.gpu_hours * 3600.0)
    return Tuning(recipe=recipe.name, objective=objective, found=found, sizes=sizes)

"""From the arguments of ``tune`` to its answer."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llmtrain.config.change import value_of
from llmtrain.config.compose import compose
from llmtrain.config.errors import PlanError, Problem, UsageError
from llmtrain.config.recipe import Recipe
from llmtrain.config.rules import violations
from llmtrain.planner.calibration import calibrated
from llmtrain.planner.expressible import inexpressible
from llmtrain.planner.flops import step_flops
from llmtrain.planner.mending import LAUNCH
from llmtrain.planner.search.counts import gpu_counts
from llmtrain.planner.search.offers import Limits, Objective
from llmtrain.planner.search.rank import Found, search
from llmtrain.planner.search.result import Sized, Tuning
from llmtrain.planner.search.size import Size, of_flops, of_tokens
from llmtrain.planner.search.space import KEYS

LIMITS = {"days": "days", "gpu-hours": "gpu_hours", "money": "money", "memory": "memory"}
MENDED = frozenset(
    {
        "gpus_not_multiple",
        "expert_gpus_not_multiple",
        "batch_not_divisible",
        "microbatches_not_multiple",
        "layers_not_divisible",
        "vpp_needs_pp",
        "tp_not_divisor",
        "ep_not_divisor",
        "etp_not_divisor",
        "expert_biases",
        "sequence_needs_tp",
        "sequence_needed",
        "cp_not_divisor",
        "zero_with_pipeline",
    }
)
"""Rules of the layout: the recipe's own need not keep them, what is offered does."""


def one_of(option: str, value: str, valid: Sequence[str]) -> Any:
    """``value`` where it is valid.

    Raises:
        UsageError: with the valid values.
    """
    if value not in valid:
        close = get_close_matches(value, valid, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        says = f"{option} does not know {value!r}"
        raise UsageError(
            Problem(code="invalid_choice", says=says, hint=f"{meant}valid: {', '.join(valid)}")
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
            hint = f"for example `--within {name}={0.9 if name == 'memory' else 30}`"
            raise UsageError(Problem(code="not_a_number", says=says, hint=hint))
        found[key] = value
    return Limits(**found)


def checked_keys(recipe: Recipe, keep: Sequence[str]) -> tuple[str, ...]:
    """Keys to keep; those that no search changes may be named too.

    Raises:
        UsageError: if a key does not exist, with what was probably meant.
    """
    keys = [key for each in KEYS.values() for key in each]
    known = [*keys, *dict.fromkeys(key.partition(".")[0] for key in keys if "." in key)]
    for each in keep:
        if each not in known and not _exists(recipe, each):
            ends = [key for key in keys if key.rpartition(".")[2] == each]
            close = ends or get_close_matches(each, known, n=1, cutoff=0.5)
            meant = f"did you mean `--keep {close[0]}`? " if close else ""
            says = f"--keep {each}: there is no such recipe key"
            hint = f"{meant}a search changes: {', '.join(keys)}"
            raise UsageError(Problem(code="unknown_key", says=says, hint=hint))
    return tuple(keep)


def _exists(recipe: Recipe, key: str) -> bool:
    try:
        value_of(recipe, key)
    except (KeyError, TypeError):
        return False
    return True


def check_known(recipe: Recipe, objective: Objective, limits: Limits) -> None:
    """Refuse to compare what the recipe does not say.

    Raises:
        UsageError: if days or money are asked for and length or price are not given.
    """
    asked = {name for name in ("days", "gpu_hours", "money") if getattr(limits, name) is not None}
    if objective != "step":
        asked.add(objective.replace("-", "_"))
    if asked and recipe.tokens is None and recipe.run.steps is None:
        says = "days and cost need the length of the run: `tokens` or `run.steps`"
        raise UsageError(
            Problem(code="length_unknown", says=says, hint="for example `tokens=300e9`")
        )
    if "money" in asked and recipe.price.gpu_hour is None and recipe.site.gpu_hour_price is None:
        says = "money needs a price: `price.gpu_hour` or `site.gpu_hour_price`"
        raise UsageError(
            Problem(code="price_unknown", says=says, hint="for example `price.gpu_hour=2.5`")
        )


def check_expressible(recipe: Recipe) -> None:
    """Refuse what the backend cannot express in any layout.

    Raises:
        PlanError: with the reasons.
    """
    keys = {key for each in KEYS.values() for key in each}
    if any(each.code in MENDED for each in violations(recipe)):
        return
    always = tuple(each for each in inexpressible(recipe) if each.key not in keys)
    if always:
        raise PlanError(always)


def tuned(
    arguments: Sequence[str] | None,
    folders: Sequence[Path],
    *,
    top: int,
    keep: Sequence[str],
    objective: Objective,
    limits: Limits,
    free: Sequence[str],
) -> Tuning:
    """Compose and search; the recipe's own layout need not be valid."""
    recipe = calibrated(compose(arguments or (), folders, LAUNCH, MENDED), folders)
    kept = checked_keys(recipe, keep)
    check_known(recipe, objective, limits)
    check_expressible(recipe)
    gpus = gpu_counts(recipe) if "gpus" in free and "gpus" not in kept else ()
    # A budget for a size that is free is not one for the recipe's own.
    asked = replace(limits, gpu_hours=None) if "size" in free else limits
    found = search(recipe, top=top, keep=kept, objective=objective, limits=asked, gpus=gpus)
    sizes = _sized(recipe, limits, found) if "size" in free else ()
    return Tuning(
        recipe=recipe, objective=objective, limits=asked, keep=kept, found=found, sizes=sizes
    )


def _sized(recipe: Recipe, limits: Limits, found: Found) -> tuple[Sized, ...]:
    """Sizes for a budget of GPU-hours, else for the recipe's tokens.

    Operations a second are those that the best layout of the recipe's own model reaches.

    Raises:
        UsageError: if neither budget nor tokens are given.
    """
    best = found.offers[0] if found.offers else found.refused
    rate = None if best is None else step_flops(best.recipe).model / float(best.step.seconds)
    sizes: tuple[Size, ...] = ()
    if limits.gpu_hours is not None and best is not None and rate is not None:
        sizes = of_flops(rate / best.recipe.gpus * limits.gpu_hours * 3600.0)
    elif recipe.tokens is not None:
        sizes = of_tokens(recipe.tokens)
    else:
        says = "--free size needs `tokens` or `--within gpu-hours=N`"
        raise UsageError(Problem(code="missing", says=says, hint="for example `tokens=300e9`"))
    return tuple(
        Sized(size=size, days=None if rate is None else size.flops / rate / 86_400.0)
        for size in sizes
    )

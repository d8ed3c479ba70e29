"""What a search answers, as data."""

from dataclasses import asdict, dataclass
from typing import Any

from llmtrain.config.errors import Problem, Repair
from llmtrain.config.recipe import Recipe
from llmtrain.planner.search.offers import Limits, Objective, Offer, broken
from llmtrain.planner.search.rank import Found
from llmtrain.planner.search.size import Size
from llmtrain.planner.verdict import GIB

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Sized:
    """A compute-optimal size and how long the winner's GPUs would train it."""

    size: Size
    """What the law says."""
    days: float | None
    """At the winner's operations a second, failures left out; None: there is no winner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """A search with what was asked."""

    recipe: Recipe
    """What was asked about."""
    objective: Objective
    """What is least."""
    limits: Limits
    """What an offer keeps."""
    keep: tuple[str, ...]
    """Keys that stay."""
    found: Found
    """The answer."""
    sizes: tuple[Sized, ...] = ()
    """Compute-optimal sizes, where size was free."""

    @property
    def problem(self) -> Problem | None:
        """Why there is no offer; None where there is one."""
        if self.found.offers:
            return None
        if self.found.refused is not None:
            return _limited(self.limits, self.found.refused)
        if self.found.nearest is not None and self.found.pruned:
            return _too_large(self)
        return _none_legal(self)


def _limited(limits: Limits, best: Offer) -> Problem:
    name = broken(limits, best)[0]
    days, hours = best.costs()
    limit, has = getattr(limits, name), {"days": days, "gpu_hours": hours}.get(name)
    has = best.measure("money") if has is None else has
    unit = {"days": "days", "gpu_hours": "GPU-hours", "money": "of money"}[name]
    says = (
        f"no layout keeps {limit:,.4g} {unit}: the best needs {has:,.4g} on {best.recipe.gpus} GPUs"
    )
    hint = f"{_with(best.overrides)}; `--free gpus` tries other numbers of GPUs"
    return Problem(code="limit_broken", says=says, hint=hint)


def _with(overrides: tuple[str, ...]) -> str:
    return f"it is `{' '.join(overrides)}`" if overrides else "it is the recipe's own layout"


def _too_large(tuning: Tuning) -> Problem:
    nearest, limits = tuning.found.nearest, tuning.limits
    if nearest is None:
        return _none_legal(tuning)
    recipe = nearest.recipe
    gpu, parallel = recipe.cluster.gpu, recipe.parallel
    capacity = (gpu.memory_bytes or 0) * limits.memory
    says = (
        f"no layout fits {recipe.gpus} × {gpu.name}: the nearest needs "
        f"{nearest.needed_bytes / GIB:.1f} of {capacity / GIB:.1f} GiB "
        f"(tp {parallel.tp}, pp {parallel.pp}, cp {parallel.cp}, ep {parallel.ep}, "
        f"micro-batch {recipe.batch.micro}, {recipe.recompute.kind} recompute, "
        f"ZeRO {recipe.optim.zero})"
    )
    return Problem(
        code="out_of_memory", says=says, at="gpus", hint=_more(tuning), repairs=_more_gpus(tuning)
    )


def _more_gpus(tuning: Tuning) -> tuple[Repair, ...]:
    """The fewest GPUs, by doubling, on which something fits."""
    least = tuning.found.least
    if least is None:
        return ()
    return (Repair(overrides=least.overrides, why=f"{least.step.seconds:.3g} s a step"),)


def _more(tuning: Tuning) -> str:
    return "`--free gpus` tries other numbers of GPUs" + _let_go(tuning)


def _let_go(tuning: Tuning) -> str:
    kept = ", ".join(f"`--keep {key}`" for key in tuning.keep)
    return f"; let go of {kept}" if kept else ""


def _none_legal(tuning: Tuning) -> Problem:
    recipe = tuning.recipe
    says = (
        f"no layout of {recipe.gpus} GPUs keeps all rules and can be run by {recipe.backend.name}: "
        f"a global batch of {recipe.batch.global_} and {recipe.model.layers} layers must divide"
    )
    return Problem(code="no_legal_layout", says=says, at="gpus", hint=_more(tuning))


def why(found: Found, offer: Offer) -> dict[str, float]:
    """Seconds of a step that an offer saves against the recipe's own layout, by what they go to."""
    if found.own is None:
        return {}
    own = found.own.breakdown
    return {
        key: float(own.get(key, 0.0)) - float(value) for key, value in offer.step.breakdown.items()
    }


def tuning_json(tuning: Tuning) -> dict[str, Any]:
    """The object of ``tune --json``."""
    found, problem = tuning.found, tuning.problem
    return {
        "schema": SCHEMA,
        "recipe": tuning.recipe.name,
        "least": tuning.objective,
        "own": {
            "step_seconds": float(found.own.seconds) if found.own else None,
            "launchable": found.own_fits,
        },
        "candidates": {
            "legal": found.legal,
            "pruned": found.pruned,
            "slower": found.slower,
            "timed": found.timed,
        },
        "offers": [_offer_json(found, offer) for offer in found.offers],
        "front": [_offer_json(found, offer) for offer in found.front],
        "sizes": [{**asdict(one.size), "days": one.days} for one in tuning.sizes],
        "errors": [] if problem is None else [problem.as_json()],
    }


def _offer_json(found: Found, offer: Offer) -> dict[str, Any]:
    good, recipe = offer.outlook.goodput if offer.outlook else None, offer.recipe
    return {
        "overrides": list(offer.overrides),
        "gpus": recipe.gpus,
        "step_seconds": float(offer.step.seconds),
        "breakdown": {key: float(value) for key, value in offer.step.breakdown.items()},
        "saves_seconds": why(found, offer),
        "needed_bytes": offer.needed_bytes,
        "memory_share": offer.memory_share,
        "days": good.days if good else None,
        "gpu_hours": good.gpu_hours if good else None,
        "price": good.price if good else None,
    }

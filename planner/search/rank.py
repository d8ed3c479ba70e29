"""The search: every number of GPUs on its own; the best are checked one by one and ranked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmtrain.config.errors import Problem, UsageError
from llmtrain.config.recipe import Recipe
from llmtrain.config.rules import violations
from llmtrain.planner.curves import curves_of
from llmtrain.planner.mending import is_launchable
from llmtrain.planner.search.offers import Limits, Objective, Offer, allows, offer_of
from llmtrain.planner.search.space import differences, space_of
from llmtrain.planner.search.structures import row_of
from llmtrain.planner.search.timed import Timed, timed
from llmtrain.planner.step import StepTime, recipe_step

DOUBLINGS = 6
"""How far a number of GPUs that holds the model is looked for."""
SPARE_LAYOUTS = 10
"""Layouts kept beyond those asked for, should a check refuse some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """The candidate that needs least memory."""

    recipe: Recipe
    """The recipe with it."""
    needed_bytes: int
    """Of its worst rank."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The answer."""

    own: StepTime | None
    """The step of the recipe's own layout; None where it breaks a rule."""
    own_fits: bool
    """Whether that can be launched."""
    offers: tuple[Offer, ...]
    """The best first; they keep all limits."""
    refused: Offer | None
    """The best that breaks a limit of days or cost, where no offer keeps all."""
    front: tuple[Offer, ...]
    """Days against GPU-hours: none is beaten in both. Empty where GPUs are fixed."""
    nearest: Nearest | None
    """What fits least badly, where nothing fits."""
    least: Offer | None
    """Where nothing fits: the best on twice, four, … times the GPUs, the first that hold it."""
    legal: int
    """Candidates that break no rule, rank orders and overlaps not counted apart."""
    pruned: int
    """Of these: dropped before they were timed, because they do not fit."""
    slower: int
    """Not timed, because the same layout fits with less recompute."""
    timed: int
    """Candidates timed, rank orders and overlaps counted apart."""


def search(
    recipe: Recipe,
    *,
    top: int = 5,
    keep: Sequence[str] = (),
    objective: Objective = "step",
    limits: Limits = Limits(),  # noqa: B008
    gpus: Sequence[int] = (),
) -> Found:
    """The best layouts of ``recipe``.

    Args:
        recipe: what is trained, on which cluster; its own layout need not be valid.
        top: how many are offered.
        keep: dotted keys that stay.
        objective: what is least; money without a price is GPU-hours.
        limits: what an offer must keep.
        gpus: numbers of GPUs to choose from; empty: the recipe's.

    Raises:
        UsageError: if the machine's speed is not known.
    """
    if curves_of(recipe.cluster.gpu.arch) is None:
        says = f"the speed of {recipe.cluster.gpu.name} is not known: layouts cannot be compared"
        raise UsageError(Problem(code="speed_unknown", says=says))
    spaces = [space_of(replace(recipe, gpus=count), keep) for count in gpus or (recipe.gpus,)]
    every = [timed(space, limits.memory, top + SPARE_LAYOUTS) for space in spaces]
    best = [list(_offers(one, recipe, top, limits)) for one in every]
    ranked = sorted((o for each in best for o in each), key=lambda o: o.measure(objective))
    kept = [offer for offer in ranked if allows(limits, offer)]
    valid = not violations(recipe)
    return Found(
        own=recipe_step(recipe) if valid else None,
        own_fits=valid and is_launchable(recipe),
        offers=tuple(kept[:top]),
        refused=ranked[0] if ranked and not kept else None,
        front=_front([each[0] for each in best if each]) if len(best) > 1 else (),
        nearest=None if ranked else _nearest(every),
        least=None if ranked else _least(recipe, keep, limits),
        legal=sum(one.legal for one in every),
        pruned=sum(one.pruned for one in every),
        slower=sum(one.slower for one in every),
        timed=sum(one.timed for one in every),
    )


def _offers(one: Timed, asked: Recipe, top: int, limits: Limits) -> Iterator[Offer]:
    """The fastest layouts on one number of GPUs that pass the plan's own checks."""
    count = 0
    for place in range(len(one.seconds)):
        row = row_of(one.table, place)
        changes = differences(one.space, row)
        if one.space.gpus != asked.gpus:
            changes = {"gpus": one.space.gpus, **changes}
        offer = offer_of(one.space.candidate(row), changes, limits.memory)
        if offer is not None:
            yield offer
            count += 1
        if count == top:
            return


def _front(best: Sequence[Offer]) -> tuple[Offer, ...]:
    """Those that no other beats in both, the quickest first."""
    costs = [offer.costs() for offer in best]
    kept = [
        offer
        for offer, (days, hours) in zip(best, costs, strict=True)
        if not any(d <= days and h <= hours and (d, h) != (days, hours) for d, h in costs)
    ]
    return tuple(sorted(kept, key=lambda offer: offer.costs()[0]))


def _least(recipe: Recipe, keep: Sequence[str], limits: Limits) -> Offer | None:
    """The best layout on the first doubling of the GPUs on which one fits."""
    for power in range(1, DOUBLINGS + 1):
        count = recipe.gpus * 2**power
        per_node, nodes = recipe.cluster.gpus_per_node, recipe.cluster.nodes
        if count > per_node * (nodes or count) or (count > per_node and count % per_node):
            return None
        one = timed(space_of(replace(recipe, gpus=count), keep), limits.memory, 1 + SPARE_LAYOUTS)
        for offer in _offers(one, recipe, 1, limits):
            return offer
    return None


def _nearest(every: Sequence[Timed]) -> Nearest | None:
    """Of the largest number of GPUs: there most fits."""
    known = [one for one in every if one.nearest is not None]
    if not known:
        return None
    one = max(known, key=lambda each: each.space.gpus)
    recipe = one.space.candidate(one.nearest or {})
    return Nearest(recipe=recipe, needed_bytes=one.least_bytes)

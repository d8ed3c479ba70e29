"""The search: what fits is timed, the best are checked one by one and explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llmtrain.config.change import as_overrides, value_of
from llmtrain.config.errors import Problem, UsageError
from llmtrain.config.recipe import Recipe
from llmtrain.planner.outlook import Outlook, outlook_of
from llmtrain.planner.plan import is_launchable
from llmtrain.planner.search.expand import with_states, with_switches
from llmtrain.planner.search.fit import needed_bytes
from llmtrain.planner.search.layouts import step_seconds
from llmtrain.planner.search.space import Space, Table, rows, space_of, structures
from llmtrain.planner.step import StepTime, recipe_step

Objective = Literal["step", "days", "gpu-hours", "money"]
LOOKED_AT = 40
"""Candidates that are checked one by one for each that is offered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an offered layout must keep."""

    memory: float = 1.0
    """Share of the GPU's memory that may be needed."""
    days: float | None = None
    """Gross."""
    gpu_hours: float | None = None
    """Gross."""
    money: float | None = None
    """Gross."""

    def allow(self, outlook: Outlook | None) -> bool:
        """Whether a run of which this is known keeps them."""
        asked = (self.days, self.gpu_hours, self.money)
        if outlook is None:
            return all(limit is None for limit in asked)
        good = outlook.goodput
        pairs = zip(asked, (good.days, good.gpu_hours, good.price), strict=True)
        return all(limit is None or (has is not None and has <= limit) for limit, has in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A layout that passed every rule, fits and can be launched."""

    recipe: Recipe
    """The recipe with it."""
    changes: Mapping[str, Any]
    """Keys that differ from the recipe asked for."""
    step: StepTime
    """Its step."""
    outlook: Outlook | None
    """Its days and cost; None where the length is not given."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """To paste."""
        return as_overrides(self.changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The answer."""

    own: StepTime | None
    """The step of the recipe's own layout."""
    own_fits: bool
    """Whether that can be launched."""
    offers: tuple[Offer, ...]
    """The best first."""
    front: tuple[Offer, ...]
    """Days against GPU-hours: none is beaten in both. Empty where GPUs are fixed."""
    legal: int
    """Candidates that break no rule, switches not counted apart."""
    pruned: int
    """Of these: dropped before they were timed, because they do not fit."""
    timed: int
    """Candidates timed, every order and overlap counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """All candidates that fit."""

    table: Table
    """Rows of the space."""
    seconds: Any
    """Step time of each."""
    legal: int
    """See :class:`Found`."""
    pruned: int
    """See :class:`Found`."""


def timed(space: Space, memory: float = 1.0) -> Timed:
    """Prune by memory, then time what is left."""
    legal = with_states(space, structures(space))
    count = len(legal["tp"])
    capacity = space.recipe.cluster.gpu.memory_bytes
    if capacity is not None and count:
        legal = rows(legal, np.rint(needed_bytes(space, legal)) <= capacity * memory)
    table = with_switches(space, legal) if len(legal["tp"]) else legal
    return Timed(
        table=table,
        seconds=step_seconds(space, table),
        legal=count,
        pruned=count - len(legal["tp"]),
    )


def search(
    recipe: Recipe,
    *,
    top: int = 5,
    keep: Sequence[str] = (),
    objective: Objective = "step",
    limits: Limits = Limits(),
    gpus: Sequence[int] = (),
) -> Found:
    """The best layouts of ``recipe``.

    Args:
        recipe: what is trained, on which cluster.
        top: how many are offered.
        keep: dotted keys that stay.
        objective: what is least; with money the price decides.
        limits: what an offer must keep.
        gpus: numbers of GPUs to choose from; empty: the recipe's.

    Raises:
        UsageError: if the machine's speed is not known.
    """
    own = recipe_step(recipe)
    if own is None:
        name = recipe.cluster.gpu.name
        says = f"the speed of {name} is not known, so layouts cannot be compared"
        raise UsageError(Problem(code="speed_unknown", says=says))
    space = space_of(recipe, gpus, keep)
    every = timed(space, limits.memory)
    weight = every.seconds * (every.table["gpus"] if objective in ("gpu-hours", "money") else 1)
    offers = _offers(space, every, weight, top, limits, objective)
    front: tuple[Offer, ...] = ()
    if len(gpus) > 1:
        front = _front(space, every, limits)
    return Found(
        own=own,
        own_fits=is_launchable(recipe),
        offers=offers,
        front=front,
        legal=every.legal,
        pruned=every.pruned,
        timed=len(every.table["tp"]),
    )


def _offers(
    space: Space, every: Timed, weight: Any, top: int, limits: Limits, objective: Objective
) -> tuple[Offer, ...]:
    places = _best(space, every, weight, LOOKED_AT * top)
    found: list[Offer] = []
    for place in places:
        offer = _offer(space, every.table, place)
        if offer is not None and limits.allow(offer.outlook):
            found.append(offer)
        if len(found) == top:
            break
    return tuple(sorted(found, key=lambda offer: _measure(offer, objective)))


def _best(space: Space, every: Timed, weight: Any, count: int) -> list[int]:
    """The least; of equals the one that changes least."""
    if not len(weight):
        return []
    some = np.argpartition(weight, min(count, len(weight)) - 1)[:count]
    differs = [len(_differences(space, _row(every.table, place))) for place in some]
    rounded = np.array([float(f"{value:.6g}") for value in weight[some]])
    return [int(some[place]) for place in np.lexsort((np.array(differs), rounded))]


def _row(table: Table, place: int) -> dict[str, int]:
    return {name: int(column[place]) for name, column in table.items()}


def _differences(space: Space, row: Mapping[str, int]) -> dict[str, Any]:
    """Keys that a candidate changes; what only another kind of recompute reads is left out."""
    changes = dict(space.changes(row))
    kind = changes["recompute.kind"]
    if kind != "selective":
        del changes["recompute.modules"]
    if kind != "full":
        del changes["recompute.method"], changes["recompute.layers"]
    old = space.recipe
    return {key: value for key, value in changes.items() if value != value_of(old, key)}


def _offer(space: Space, table: Table, place: int) -> Offer | None:
    row = _row(table, place)
    recipe = space.candidate(row)
    step = recipe_step(recipe)
    if step is None or not is_launchable(recipe):
        return None
    return Offer(
        recipe=recipe, changes=_differences(space, row), step=step, outlook=outlook_of(recipe)
    )


def _measure(offer: Offer, objective: Objective) -> float:
    if objective == "step" or offer.outlook is None:
        return float(offer.step.seconds)
    good = offer.outlook.goodput
    if objective == "money" and good.price is not None:
        return good.price
    return good.days if objective == "days" else good.gpu_hours


def _front(space: Space, every: Timed, limits: Limits) -> tuple[Offer, ...]:
    """The fastest of each number of GPUs, without those that another beats in both."""
    best: list[Offer] = []
    for count in np.unique(every.table["gpus"]):
        places = np.flatnonzero(every.table["gpus"] == count)
        for place in places[np.argsort(every.seconds[places])[:LOOKED_AT]]:
            offer = _offer(space, every.table, int(place))
            if offer is not None and limits.allow(offer.outlook):
                best.append(offer)
                break
    costs = [_costs(offer) for offer in best]
    kept = [
        offer
        for offer, (days, hours) in zip(best, costs, strict=True)
        if not any(d <= days and h <= hours and (d, h) != (days, hours) for d, h in costs)
    ]
    return tuple(sorted(kept, key=lambda offer: _costs(offer)[0]))


def _costs(offer: Offer) -> tuple[float, float]:
    if offer.outlook is None:
        seconds = float(offer.step.seconds)
        return seconds, seconds * offer.recipe.gpus
    return offer.outlook.goodput.days, offer.outlook.goodput.gpu_hours


def gpu_counts(recipe: Recipe) -> tuple[int, ...]:
    """Numbers of GPUs to choose from: whole nodes, a quarter to four times the recipe's.

    A whole number of replicas of the global batch is what makes a number worth trying.
    """
    per_node, batch = recipe.cluster.gpus_per_node, recipe.batch.global_
    most = recipe.gpus * 4
    if recipe.cluster.nodes is not None:
        most = min(most, (recipe.cluster.nodes - recipe.nodes.spare) * per_node)
    unit = recipe.gpus // 4
    shapes = {tp * pp for tp in (1, 2, 4, 8) for pp in range(1, recipe.model.layers + 1)}
    replicas = {dp for dp in range(1, batch + 1) if batch % dp == 0}
    counts = {size * dp for size in shapes for dp in replicas}
    counts = {count for count in counts if unit <= count <= most and count % per_node == 0}
    ratio = sorted(counts, key=lambda count: abs(count / recipe.gpus - 1))
    doubled = {recipe.gpus * 2**power // 4 for power in range(5)} & counts
    return tuple(sorted({recipe.gpus, *doubled, *ratio[:8]}))

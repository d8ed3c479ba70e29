"""A published winner of a sweep whose losers were not published: where does the model rank it?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from benchmarks.express import Expressed
from benchmarks.peaks import peak_of
from benchmarks.points import Point
from llmtrain.config.recipe import Recipe
from llmtrain.config.rules import violations
from llmtrain.planner.step import recipe_step

TENSOR, MICRO, ZERO = (1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16), (0, 1)
"""What the playbook's sweep varied, with every pipeline that remains (its benchmark scripts)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Winner:
    """One published winner."""

    name: str
    """Model and GPUs."""
    layout: str
    """The published one."""
    layouts: int
    """Layouts of the same sweep that fit by the model."""
    rank: int
    """The winner's among them."""
    gap_percent: float
    """How much slower the model says it is than the model's first."""


def winners(point: Point, published: Expressed) -> Winner:
    """The rank of a published winner among the layouts of its sweep."""
    own = _seconds(published.recipe, published.stack)
    every = sorted(
        _seconds(recipe, published.stack)
        for recipe in _layouts(published.recipe)
        if peak_of(replace(published, recipe=recipe)).fits
    )
    parallel = published.recipe.parallel
    return Winner(
        name=f"nanotron {point.text('params_b')}B on {published.recipe.gpus}",
        layout=f"tp {parallel.tp} pp {parallel.pp} micro {published.recipe.batch.micro} "
        f"ZeRO {published.recipe.optim.zero}",
        layouts=len(every),
        rank=1 + sum(seconds < own * (1 - 1e-9) for seconds in every),
        gap_percent=100.0 * (own / min([*every, own]) - 1.0),
    )


def _seconds(recipe: Recipe, stack: str) -> float:
    step = recipe_step(recipe, stack)
    return float("inf") if step is None else float(step.seconds)


def _layouts(recipe: Recipe) -> Iterator[Recipe]:
    for tp, pp, micro, zero in product(TENSOR, range(1, 29), MICRO, ZERO):
        if recipe.gpus % (tp * pp) or recipe.model.layers % pp:
            continue
        one = replace(
            recipe,
            parallel=replace(recipe.parallel, tp=tp, pp=pp, vpp=1, sequence=tp > 1),
            batch=replace(recipe.batch, micro=micro),
            optim=replace(recipe.optim, zero=zero, overlap_param_gather=False),
        )
        if not violations(one):
            yield one

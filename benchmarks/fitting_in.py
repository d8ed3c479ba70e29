"""Blank micro-batches and recompute of a row: as large, and as little, as its memory allows.

A published run did run; what its table leaves out is what made it fit.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.fills import Filled
from benchmarks.points import Point
from llmtrain.config.errors import LlmtrainError
from llmtrain.config.numerics import Recompute
from llmtrain.config.recipe import Recipe
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.programs import program
from llmtrain.planner.verdict import verdict

CHEAP = Recompute(kind="selective", modules=("layernorm", "moe_act", "mla_up_proj"))
"""Modules that cost little to compute again (megatron-core ``recompute_modules``)."""


def as_it_fits(
    point: Point, recipe: Recipe, habits: str, layout: Filled
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with its blanks filled so that it fits, and what was filled.

    Where nothing fits it is left alone.
    """
    open_recompute = not point.text("recompute")
    if not (open_recompute or layout.open_micro):
        return recipe, ()
    for said, candidate in _candidates(recipe, layout, open_recompute=open_recompute):
        if _fits(candidate, habits):
            return candidate, said
    return recipe, ()


def _candidates(
    recipe: Recipe, layout: Filled, *, open_recompute: bool
) -> Iterator[tuple[tuple[str, ...], Recipe]]:
    """The likelier first: as filled, smaller micro-batches, then more recompute."""
    micros = [recipe.batch.micro]
    while layout.open_micro and micros[-1] % 2 == 0:
        micros.append(micros[-1] // 2)
    kinds = [recipe.recompute, *_more(recipe)] if open_recompute else [recipe.recompute]
    for kind in kinds:
        for micro in micros:
            said = []
            if micro != recipe.batch.micro:
                said.append(f"micro_batch: {micro}, so that it fits")
            if kind != recipe.recompute:
                said.append(f"recompute: {kind.kind}, so that it fits")
            batch = replace(recipe.batch, micro=micro)
            yield tuple(said), replace(recipe, batch=batch, recompute=kind)


def _more(recipe: Recipe) -> list[Recompute]:
    """Beside a Grace processor activations go to its memory in place of being computed again
    (``cpu_offloading`` in Megatron-Bridge's performance recipes)."""
    grace = recipe.cluster.name.startswith("gb")
    return [CHEAP] if grace else [CHEAP, Recompute(kind="full")]


def _fits(recipe: Recipe, habits: str) -> bool:
    try:
        return verdict(recipe, peak_memory(recipe, program(habits))) != "no"
    except (ArithmeticError, LookupError, LlmtrainError, ValueError):
        return True

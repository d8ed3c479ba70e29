"""Kinds of recompute that are worth a search."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from llmtrain.config.numerics import Recompute
from llmtrain.config.recipe import Recipe

GROUPS = (1, 2, 4)
"""Layers that full recompute drops together."""
BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Layers of a chunk that block recompute drops."""


def recomputes_of(recipe: Recipe, keep: Sequence[str]) -> tuple[Recompute, ...]:
    """The recipe's own and all others that leave the kept keys as they are."""
    return tuple(one for one in _recomputes(recipe) if _keeps(recipe, one, keep))


def _recomputes(recipe: Recipe) -> Iterator[Recompute]:
    """The recipe's own, none, every set of modules, and whole layers."""
    yield recipe.recompute
    base = replace(recipe.recompute, kind="none", method="uniform", layers=1)
    found = [base]
    for used in product((True, False), repeat=len(modules_of(recipe))):
        chosen = tuple(n for n, use in zip(modules_of(recipe), used, strict=True) if use)
        if chosen:
            found.append(replace(base, kind="selective", modules=chosen))
    found += [replace(base, kind="full", layers=layers) for layers in GROUPS]
    found += [replace(base, kind="full", method="block", layers=layers) for layers in BLOCKS]
    yield from (one for one in found if not _same(one, recipe.recompute))


def modules_of(recipe: Recipe) -> tuple[str, ...]:
    """Modules of this model that selective recompute can drop."""
    model = recipe.model
    feed_forward = ("moe_act", "moe") if model.experts else ("mlp",)
    return ("core_attn", "layernorm", *feed_forward, *(("mla_up_proj",) if model.mla else ()))


def _same(one: Recompute, other: Recompute) -> bool:
    """Whether two say the same; what only another kind reads is not looked at."""
    if one.kind != other.kind or one.kind == "none":
        return one.kind == other.kind
    if one.kind == "selective":
        return set(one.modules) == set(other.modules)
    return (one.method, one.layers) == (other.method, other.layers)


def _keeps(recipe: Recipe, one: Recompute, keep: Sequence[str]) -> bool:
    """Whether a kind of recompute leaves the kept keys as they are."""
    own = recipe.recompute
    if "recompute" in keep:
        return one == own
    read = {
        "recompute.kind": True,
        "recompute.modules": one.kind == "selective",
        "recompute.method": one.kind == "full",
        "recompute.layers": one.kind == "full",
    }
    return all(
        getattr(one, key.partition(".")[2]) == getattr(own, key.partition(".")[2])
        for key, matters in read.items()
        if key in keep and matters
    )

"""Pipelines: how many stages and chunks, and how layers are dealt to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from llmtrain.config.change import Changes, changed
from llmtrain.config.errors import RecipeError
from llmtrain.config.layout import chunk_layers
from llmtrain.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A way to deal layers to stages."""

    embedding: bool = False
    """The embedding counts as a layer."""
    loss: bool = False
    """The loss counts as a layer."""
    spread: bool = False
    """As even as it goes, the ends the lighter ones."""
    own: bool = False
    """As the recipe has it."""


SPLITS = (
    Split(),
    Split(embedding=True),
    Split(loss=True),
    Split(embedding=True, loss=True),
    Split(spread=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A pipeline: stages, chunks, and how layers are dealt."""

    pp: int
    """Stages."""
    vpp: int
    """Chunks of a stage."""
    split: Split
    """Layers."""

    def changes(self, layers: int) -> Changes:
        """The recipe's keys."""
        degrees = {"parallel.pp": self.pp, "parallel.vpp": self.vpp}
        if self.split.own:
            return degrees
        return {
            **degrees,
            "parallel.account_for_embedding": self.split.embedding,
            "parallel.account_for_loss": self.split.loss,
            "parallel.layers_per_stage": _spread(layers, self.pp) if self.split.spread else None,
        }

    def of(self, recipe: Recipe) -> Recipe:
        """``recipe`` with this pipeline."""
        return changed(recipe, self.changes(recipe.model.layers))


def _spread(layers: int, stages: int) -> tuple[int, ...]:
    small, more = divmod(layers, stages)
    counts = [small] * stages
    for place in range(more):
        counts[(place + 1) % stages] += 1
    return tuple(counts)


def divisors(number: int) -> tuple[int, ...]:
    """All divisors, smallest first."""
    return tuple(value for value in range(1, number + 1) if number % value == 0)


def cuts_of(recipe: Recipe, gpus: int, kept: Callable[[str], bool]) -> tuple[Cut, ...]:
    """Every pipeline on so many GPUs whose layers divide.

    Args:
        recipe: what is trained.
        gpus: how many GPUs.
        kept: whether ``pp``, ``vpp`` or ``split`` stays as the recipe has it.
    """
    own, layers = recipe.parallel, recipe.model.layers
    stages = (own.pp,) if kept("pp") else tuple(pp for pp in divisors(gpus) if pp <= layers + 2)
    splits: tuple[Split, ...] = SPLITS
    if kept("split") or own.layers_per_stage is not None:
        own_split = () if own.pp not in stages else (Split(own=True),)
        splits = own_split if kept("split") else own_split + SPLITS
    found = [
        Cut(pp=pp, vpp=vpp, split=split)
        for pp, split in product(stages, splits)
        for vpp in _chunks(recipe, pp, split)
        if not kept("vpp") or vpp == own.vpp
    ]
    return tuple(cut for cut in found if _divides(recipe, cut))


def _chunks(recipe: Recipe, pp: int, split: Split) -> Sequence[int]:
    """Numbers of chunks worth trying: one, or all that divide a stage's layers."""
    own, layers = recipe.parallel, recipe.model.layers
    if split.own and own.layers_per_stage is not None:
        return (own.vpp,) if pp == own.pp else ()
    if split.spread:
        return () if layers % pp == 0 or pp > layers else (1,)
    embedding = own.account_for_embedding if split.own else split.embedding
    loss = own.account_for_loss if split.own else split.loss
    counted = layers + embedding + loss
    if pp == 1:
        return (1,) if split.own or split == SPLITS[0] else ()
    return () if counted % pp else divisors(counted // pp)


def _divides(recipe: Recipe, cut: Cut) -> bool:
    try:
        counts = chunk_layers(cut.of(recipe))
    except RecipeError:
        return False
    return counts is not None and sum(counts) == recipe.model.layers

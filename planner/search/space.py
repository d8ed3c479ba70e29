"""The space: every value of every key that maps a run, and which combinations are legal.

Columns of whole numbers, one row a candidate. The rules are those of
:mod:`llmtrain.config.rules`, on arrays; a test compares them row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.config.change import Changes, changed
from llmtrain.config.errors import RecipeError
from llmtrain.config.layout import chunk_layers
from llmtrain.config.numerics import Recompute
from llmtrain.config.recipe import Recipe

Column = NDArray[np.int64]
Table = dict[str, Column]
"""Name of a key -> its value for every candidate."""

ORDERS = ("tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp")
OVERLAPS = ((False, False), (True, False), (True, True))
"""Of the gradients' reduction and of the weights' gathering."""
MOST_MICRO = 64
"""Sequences of a micro-batch at the most."""
BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Layers of a chunk that block recompute drops, or of a uniform group."""


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
        if self.split.own:
            return {"parallel.pp": self.pp, "parallel.vpp": self.vpp}
        return {
            "parallel.pp": self.pp,
            "parallel.vpp": self.vpp,
            "parallel.account_for_embedding": self.split.embedding,
            "parallel.account_for_loss": self.split.loss,
            "parallel.layers_per_stage": _spread(layers, self.pp) if self.split.spread else None,
        }


def _spread(layers: int, stages: int) -> tuple[int, ...]:
    small, more = divmod(layers, stages)
    counts = [small] * stages
    for place in range(more):
        counts[(place + 1) % stages] += 1
    return tuple(counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What may vary, and what a candidate's numbers mean."""

    recipe: Recipe
    """Where everything else is read."""
    cuts: tuple[Cut, ...]
    """Column ``cut`` counts these."""
    recomputes: tuple[Recompute, ...]
    """Column ``recompute`` counts these."""
    axes: Mapping[str, tuple[int, ...]]
    """Values of the other columns."""

    def changes(self, row: Mapping[str, int]) -> Changes:
        """A candidate as changes of the recipe."""
        recompute = self.recomputes[row["recompute"]]
        reduce, gather = OVERLAPS[row["overlap"]]
        etp = row["etp"]
        return {
            "gpus": row["gpus"],
            "parallel.tp": row["tp"],
            "parallel.cp": row["cp"],
            "parallel.ep": row["ep"],
            "parallel.etp": None if etp == row["tp"] else etp,
            **self.cuts[row["cut"]].changes(self.recipe.model.layers),
            "parallel.sequence": bool(row["sequence"]),
            "parallel.order": ORDERS[row["order"]],
            "batch.micro": row["micro"],
            "recompute.kind": recompute.kind,
            "recompute.modules": recompute.modules,
            "recompute.method": recompute.method,
            "recompute.layers": recompute.layers,
            "optim.zero": row["zero"],
            "optim.overlap_grad_reduce": reduce,
            "optim.overlap_param_gather": gather,
            "kernels.tp_overlap": bool(row["tp_overlap"]),
        }

    def candidate(self, row: Mapping[str, int]) -> Recipe:
        """The recipe of a candidate."""
        return changed(self.recipe, self.changes(row))


def divisors(number: int) -> tuple[int, ...]:
    """All divisors, smallest first."""
    return tuple(value for value in range(1, number + 1) if number % value == 0)


def space_of(recipe: Recipe, gpus: Sequence[int] = (), keep: Sequence[str] = ()) -> Space:
    """The space of a recipe.

    Args:
        recipe: the run.
        gpus: numbers of GPUs; empty: the recipe's.
        keep: dotted keys that stay as the recipe has them; ``parallel`` holds all of its keys.
    """
    counts = tuple(gpus) or (recipe.gpus,)
    model, per_node = recipe.model, recipe.cluster.gpus_per_node
    experts = model.experts or 1
    units = [gcd(recipe.batch.global_, *recipe.batch.sizes())]
    micros = tuple(size for size in divisors(units[0]) if size <= MOST_MICRO)
    free: dict[str, tuple[int, ...]] = {
        "gpus": counts,
        "tp": tuple(tp for tp in divisors(model.heads) if tp <= per_node),
        "cp": tuple(cp for cp in divisors(model.seq) if cp <= 32),
        "ep": divisors(experts),
        "etp": tuple(tp for tp in divisors(model.heads) if tp <= per_node) if experts > 1 else (0,),
        "micro": micros,
        "sequence": (0, 1),
        "zero": (0, 1, 2, 3),
        "order": (0, 1),
        "tp_overlap": (0, 1),
        "overlap": (0, 1, 2),
    }
    own = _own(recipe)
    axes = {name: (own[name],) if _kept(name, keep) else values for name, values in free.items()}
    return Space(
        recipe=recipe,
        cuts=_cuts(recipe, counts, keep),
        recomputes=_recomputes(recipe, keep),
        axes=axes,
    )


KEYS = {
    "gpus": "gpus",
    "tp": "parallel.tp",
    "cp": "parallel.cp",
    "ep": "parallel.ep",
    "etp": "parallel.etp",
    "micro": "batch.micro",
    "sequence": "parallel.sequence",
    "zero": "optim.zero",
    "order": "parallel.order",
    "tp_overlap": "kernels.tp_overlap",
    "overlap": "optim.overlap_grad_reduce",
    "pp": "parallel.pp",
    "vpp": "parallel.vpp",
    "split": "parallel.layers_per_stage",
    "recompute": "recompute",
}
"""Column -> the recipe key that ``--keep`` names; a group holds all its keys."""


def _kept(name: str, keep: Sequence[str]) -> bool:
    key = KEYS[name]
    return any(key == each or key.startswith(f"{each}.") for each in keep)


def _own(recipe: Recipe) -> dict[str, int]:
    parallel, optim = recipe.parallel, recipe.optim
    overlap = (optim.overlap_grad_reduce, optim.overlap_param_gather)
    return {
        "gpus": recipe.gpus,
        "tp": parallel.tp,
        "cp": parallel.cp,
        "ep": parallel.ep,
        "etp": parallel.expert_tp,
        "micro": recipe.batch.micro,
        "sequence": int(parallel.sequence),
        "zero": optim.zero,
        "order": ORDERS.index(parallel.order),
        "tp_overlap": int(recipe.kernels.tp_overlap),
        "overlap": OVERLAPS.index(overlap) if overlap in OVERLAPS else 0,
    }


def _cuts(recipe: Recipe, gpus: Sequence[int], keep: Sequence[str]) -> tuple[Cut, ...]:
    """Every pipeline whose layers divide."""
    own, layers = recipe.parallel, recipe.model.layers
    pps = sorted({pp for count in gpus for pp in divisors(count) if pp <= layers + 2})
    stages = (own.pp,) if _kept("pp", keep) else tuple(pps)
    splits = (Split(own=True),) if _kept("split", keep) else SPLITS
    found = []
    for pp, split in product(stages, splits):
        if split.own:
            found.append(Cut(pp=pp, vpp=own.vpp, split=split))
            continue
        even = layers % pp == 0
        if split.spread and (even or pp > layers):
            continue
        if pp == 1 and split != SPLITS[0]:
            continue
        counted = layers + split.embedding + split.loss
        each = () if counted % pp else divisors(counted // pp)
        chunks = (1,) if pp == 1 or split.spread else each
        chunks = tuple(v for v in chunks if v == own.vpp) if _kept("vpp", keep) else chunks
        found += [Cut(pp=pp, vpp=vpp, split=split) for vpp in chunks]
    return tuple(cut for cut in found if _divides(recipe, cut))


def _divides(recipe: Recipe, cut: Cut) -> bool:
    try:
        counts = chunk_layers(changed(recipe, cut.changes(recipe.model.layers)))
    except RecipeError:
        return False
    return counts is not None and sum(counts) == recipe.model.layers


def _recomputes(recipe: Recipe, keep: Sequence[str]) -> tuple[Recompute, ...]:
    if _kept("recompute", keep):
        return (recipe.recompute,)
    base = replace(recipe.recompute, kind="none", method="uniform", layers=1)
    whole = [replace(base, kind="full", layers=layers) for layers in (1, 2, 4)]
    whole += [replace(base, kind="full", method="block", layers=layers) for layers in BLOCKS]
    names = ["core_attn", "layernorm"]
    names += ["moe_act", "moe"] if recipe.model.experts else ["mlp"]
    names += ["mla_up_proj"] if recipe.model.mla else []
    some = [
        replace(base, kind="selective", modules=tuple(n for n, used in zip(names, use) if used))  # noqa: B905
        for use in product((True, False), repeat=len(names))
        if any(use)
    ]
    return (base, *some, *whole)


def structures(space: Space) -> Table:
    """Legal combinations of what cuts the model and the batch, recompute left out."""
    names = ("gpus", "tp", "cp", "ep", "etp", "micro", "sequence")
    columns = _product([np.array(space.axes[name], dtype=np.int64) for name in names])
    table = dict(zip(names, columns, strict=True))
    if space.axes["etp"] == (0,):
        table["etp"] = table["tp"]
    table = rows(table, _legal_shapes(space.recipe, table))
    cuts = np.arange(len(space.cuts), dtype=np.int64)
    count = len(table["tp"])
    wide = {name: np.repeat(column, len(cuts)) for name, column in table.items()}
    wide["cut"] = np.tile(cuts, count)
    wide["pp"] = np.array([cut.pp for cut in space.cuts], dtype=np.int64)[wide["cut"]]
    wide["vpp"] = np.array([cut.vpp for cut in space.cuts], dtype=np.int64)[wide["cut"]]
    return rows(wide, _legal_pipelines(space.recipe, wide))


def _product(columns: Sequence[Column]) -> list[Column]:
    return [grid.reshape(-1) for grid in np.meshgrid(*columns, indexing="ij")]


def rows(table: Table, kept: Any) -> Table:
    """The rows of ``kept``, a mask or places."""
    return {name: column[kept] for name, column in table.items()}


def _legal_shapes(recipe: Recipe, table: Table) -> Any:
    """tensors_divide, experts_divide, sequence_parallel_fits, sequences_divide, nodes."""
    model, tp, cp, etp = recipe.model, table["tp"], table["cp"], table["etp"]
    sequence, per_node, gpus = table["sequence"] > 0, recipe.cluster.gpus_per_node, table["gpus"]
    legal = (model.heads % tp == 0) & (model.ffn_size % tp == 0)
    if model.mla is None:
        legal &= model.kv_head_count % tp == 0
    legal &= ~sequence | (model.seq // cp % tp == 0)
    legal &= ~sequence | (tp > 1)
    legal &= (cp == 1) | (model.seq % (2 * cp) == 0)
    if model.experts is not None:
        legal &= model.experts % table["ep"] == 0
        legal &= model.expert_ffn_size % etp == 0
        legal &= (etp == 1) | (not model.bias)
        legal &= sequence | (tp == 1)
    legal &= (gpus <= per_node) | (gpus % per_node == 0)
    if recipe.cluster.nodes is not None:
        legal &= -(-gpus // per_node) + recipe.nodes.spare <= recipe.cluster.nodes
    return legal


def _legal_pipelines(recipe: Recipe, table: Table) -> Any:
    """replicas_are_whole, experts_are_whole, batches_divide, interleaving_divides."""
    gpus, pp, vpp = table["gpus"], table["pp"], table["vpp"]
    size = table["tp"] * pp * table["cp"]
    dp = np.maximum(gpus // size, 1)
    legal = (gpus % size == 0) & ((vpp == 1) | (pp > 1))
    legal &= (table["ep"] == 1) | (gpus % (table["etp"] * table["ep"] * pp) == 0)
    unit = table["micro"] * dp
    for batch in recipe.batch.sizes():
        legal &= batch % unit == 0
        legal &= (vpp == 1) | (pp == 1) | (batch // unit % pp == 0)
    return legal

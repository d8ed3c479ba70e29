"""The space: every value of every key that maps a run. One row of a table is a candidate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import gcd
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.config.change import Changes, changed, value_of
from llmtrain.config.numerics import Recompute
from llmtrain.config.recipe import Recipe
from llmtrain.planner.candidate import Stages, candidate_of
from llmtrain.planner.search.pipelines import Cut, cuts_of, divisors
from llmtrain.planner.search.recomputes import recomputes_of

Column = NDArray[np.int64]
Table = dict[str, Column]
"""Name of an axis -> its value for every candidate."""

ORDERS = ("tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp")
OVERLAPS = ((False, False), (True, False), (True, True))
"""Of the gradients' reduction and of the weights' gathering; more and more is hidden."""
STAGES = tuple(field.name for field in fields(Stages))
"""Numbers of layers that the step-time model reads."""
MOST_MICRO = 64
"""Sequences of a micro-batch at the most."""
MOST_CONTEXT = 32
"""Ranks that share a sequence at the most."""
KEYS = MappingProxyType(
    {
        "gpus": ("gpus",),
        "tp": ("parallel.tp",),
        "pp": ("parallel.pp",),
        "vpp": ("parallel.vpp",),
        "cp": ("parallel.cp",),
        "ep": ("parallel.ep",),
        "etp": ("parallel.etp",),
        "sequence": ("parallel.sequence",),
        "order": ("parallel.order",),
        "split": (
            "parallel.layers_per_stage",
            "parallel.account_for_embedding",
            "parallel.account_for_loss",
        ),
        "micro": ("batch.micro",),
        "recompute": (
            "recompute.kind",
            "recompute.modules",
            "recompute.method",
            "recompute.layers",
        ),
        "zero": ("optim.zero",),
        "overlap": ("optim.overlap_grad_reduce", "optim.overlap_param_gather"),
        "tp_overlap": ("kernels.tp_overlap",),
    }
)
"""Axis -> the recipe keys that it changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What may vary, and what a candidate's numbers mean."""

    recipe: Recipe
    """Where everything else is read."""
    cuts: tuple[Cut, ...]
    """Column ``cut`` counts these."""
    layers: tuple[tuple[float, ...], ...]
    """Of each cut: layers of its first, fullest other and last stage (:data:`STAGES`)."""
    recomputes: tuple[Recompute, ...]
    """Column ``recompute`` counts these."""
    axes: Mapping[str, tuple[int, ...]]
    """Values of the other columns."""
    own: Mapping[str, Any]
    """The recipe's own values of all keys that may change."""

    def changes(self, row: Mapping[str, int]) -> Changes:
        """A candidate as changes of the recipe."""
        recompute = self.recomputes[row["recompute"]]
        reduce, gather = OVERLAPS[row["overlap"]]
        etp = row["etp"]
        return {
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

    @property
    def base(self) -> Recipe:
        """The recipe with the first pipeline: its own may not divide the layers."""
        return self.cuts[0].of(self.recipe)

    @property
    def gpus(self) -> int:
        """GPUs that compute, the same for all candidates."""
        return self.recipe.gpus


def differences(space: Space, row: Mapping[str, int]) -> dict[str, Any]:
    """Keys that a candidate changes; what only another kind of recompute reads is left out."""
    changes = dict(space.changes(row))
    kind = changes["recompute.kind"]
    if kind != "selective":
        del changes["recompute.modules"]
    if kind != "full":
        del changes["recompute.method"], changes["recompute.layers"]
    return {key: new for key, new in changes.items() if new != space.own[key]}


def space_of(recipe: Recipe, keep: Sequence[str] = ()) -> Space:
    """The space of a recipe on its GPUs.

    Args:
        recipe: the run.
        keep: dotted keys that stay as the recipe has them; ``parallel`` holds all of its keys.
    """
    kept = partial(is_kept, keep=keep)
    own = _own(recipe)
    axes = {name: (own[name],) if kept(name) else values for name, values in _axes(recipe).items()}
    cuts = cuts_of(recipe, recipe.gpus, kept)
    dealt = [candidate_of(cut.of(recipe)).stages for cut in cuts]
    return Space(
        recipe=recipe,
        cuts=cuts,
        layers=tuple(tuple(float(getattr(one, name)) for name in STAGES) for one in dealt),
        recomputes=recomputes_of(recipe, keep),
        axes=axes,
        own={key: value_of(recipe, key) for keys in KEYS.values() for key in keys},
    )


def is_kept(axis: str, keep: Sequence[str]) -> bool:
    """Whether one of an axis' keys, or a group of it, is held. Recompute is held key by key."""
    keys = KEYS[axis]
    return any(key == each or key.startswith(f"{each}.") for key in keys for each in keep)


def _axes(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    model, per_node = recipe.model, recipe.cluster.gpus_per_node
    experts = model.experts or 1
    tensor = tuple(tp for tp in divisors(model.heads) if tp <= per_node)
    unit = gcd(recipe.batch.global_, *recipe.batch.sizes())
    return {
        "tp": tensor,
        "cp": tuple(cp for cp in divisors(model.seq) if cp <= MOST_CONTEXT),
        "ep": divisors(experts),
        "etp": tensor if experts > 1 else (0,),
        "micro": tuple(size for size in divisors(unit) if size <= MOST_MICRO),
        "sequence": (0, 1),
        "zero": (0, 1, 2, 3),
        "order": (0, 1),
        "tp_overlap": (0, 1),
        "overlap": (0, 1, 2),
    }


def _own(recipe: Recipe) -> dict[str, int]:
    parallel, optim = recipe.parallel, recipe.optim
    overlap = (optim.overlap_grad_reduce, optim.overlap_param_gather)
    return {
        "tp": parallel.tp,
        "cp": parallel.cp,
        "ep": parallel.ep,
        "etp": parallel.expert_tp if recipe.model.experts else 0,
        "micro": recipe.batch.micro,
        "sequence": int(parallel.sequence),
        "zero": optim.zero,
        "order": ORDERS.index(parallel.order),
        "tp_overlap": int(recipe.kernels.tp_overlap),
        "overlap": OVERLAPS.index(overlap) if overlap in OVERLAPS else 0,
    }

"""What is counted of the stages of a space: chunks in flight, parameters, what lies on the ends.

Counted once for each stage and each number that decides it, then laid out for every candidate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llmtrain.config.change import changed
from llmtrain.config.recipe import Recipe
from llmtrain.planner import memory
from llmtrain.planner.parameters import Count, cut_of, embedding_matrix, layer, rank_parameters
from llmtrain.planner.search.space import Space, Table
from llmtrain.planner.search.stages import Counts, Entry, entries_of, passes

MANY = 2**32
"""More than there are micro-batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """The stages of every pipeline of a space, and what was counted of them."""

    space: Space
    """Whose."""
    entries: tuple[Entry, ...]
    """Of all pipelines, those of a pipeline together."""
    passes: dict[tuple[int, int], Counts] = field(default_factory=dict)
    """By entry and micro-batches: chunks in flight, counted once."""
    parts: dict[tuple[int, ...], dict[str, float]] = field(default_factory=dict)
    """By ends and degrees: parameters, counted once."""


def stages_of(space: Space) -> Stages:
    """The stages of every pipeline."""
    found = [
        entry
        for number, cut in enumerate(space.cuts)
        for entry in entries_of(cut.of(space.recipe), number)
    ]
    return Stages(space=space, entries=tuple(found))


def passes_in_flight(stages: Stages, count: Any, table: Table) -> Any:
    """Rows of counts by kind for every stage with so many micro-batches, filled up with zeros."""
    code = table["entry"] * MANY + count.astype(np.int64)
    codes, place = np.unique(code, return_inverse=True)
    asked = [(int(code) // MANY, int(code) % MANY) for code in codes]
    missing: dict[int, list[int]] = {}
    for entry, number in asked:
        if (entry, number) not in stages.passes:
            missing.setdefault(entry, []).append(number)
    for entry, numbers in missing.items():
        found = passes(stages.entries[entry], numbers)
        stages.passes.update(zip(((entry, number) for number in numbers), found, strict=True))
    each = [stages.passes[one] for one in asked]
    wide = np.zeros((len(each), max(map(len, each)), each[0].shape[1]))
    for row, counts in enumerate(each):
        wide[row, : len(counts)] = counts
    return wide[place]


def columns_of(stages: Stages, table: Table) -> dict[str, Any]:
    """Of every row: parameters of the rank, and what lies on the stage."""
    code = ((table["entry"] * 256 + table["tp"]) * 4096 + table["ep"]) * 256 + table["etp"]
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    names = ("entry", "tp", "ep", "etp")
    found = [_numbers(stages, *(int(table[name][row]) for name in names)) for row in first]
    return {name: as_array([one[name] for one in found])[place] for name in found[0]}


def _numbers(stages: Stages, entry: int, tp: int, ep: int, etp: int) -> dict[str, float]:
    """Of one stage with these degrees."""
    one = stages.entries[entry]
    dense, moe = one.layers
    parts = _parts(stages, one, tp, ep, etp)
    return {
        "stage": one.stage,
        "first": one.ends[0],
        "last": one.ends[1],
        "moe": moe,
        "rank_dense": parts["dense"] * dense + parts["shared"] * moe + parts["other_dense"],
        "rank_expert": parts["expert"] * moe + parts["other_expert"],
        **{name: parts[name] for name in ("layer_dense", "layer_expert", "ends", "words")},
    }


def _parts(stages: Stages, one: Entry, tp: int, ep: int, etp: int) -> dict[str, float]:
    """Parameters of a layer of each kind and of all else, which only the ends have."""
    key = (*one.ends, tp, ep, etp)
    if key not in stages.parts:
        degrees = {"parallel.tp": tp, "parallel.ep": ep, "parallel.etp": etp}
        recipe = changed(one.recipe, degrees)
        stages.parts[key] = _counted(recipe, one)
    return stages.parts[key]


def _counted(recipe: Recipe, one: Entry) -> dict[str, float]:
    model, cut, rank = recipe.model, cut_of(recipe), rank_parameters(recipe, one.stage)
    biggest = layer(model, model.layers - 1, cut)
    small = layer(model, 0, cut) if model.dense_layers or not model.experts else Count()
    large = biggest if model.experts else Count()
    dense, moe = one.layers
    words = embedding_matrix(recipe) // recipe.parallel.tp
    return {
        "dense": small.dense,
        "shared": large.dense,
        "expert": large.expert,
        "other_dense": rank.dense - small.dense * dense - large.dense * moe,
        "other_expert": rank.expert - large.expert * moe,
        "layer_dense": biggest.dense,
        "layer_expert": biggest.expert,
        "ends": memory.ends_of(recipe, one.stage),
        "words": words * (1 if model.tied else 2),
    }


def as_array(values: Sequence[float]) -> Any:
    """Numbers as floats."""
    return np.array(values, dtype=float)

"""From structures to candidates: recompute, ZeRO, overlap and rank order, as the program allows."""

from collections.abc import Sequence

import numpy as np

from llmtrain.config.layout import chunk_layers
from llmtrain.config.numerics import Recompute
from llmtrain.planner.expressible import inexpressible
from llmtrain.planner.search.space import OVERLAPS, Column, Space, Table, rows


def with_states(space: Space, table: Table) -> Table:
    """Every structure with every recompute and ZeRO stage that is legal with it."""
    wide = _crossed(
        table, ("recompute", range(len(space.recomputes))), ("zero", space.axes["zero"])
    )
    legal = (wide["zero"] < 2) | (wide["pp"] == 1)
    least = np.array([_least_chunk(space, cut) for cut in range(len(space.cuts))])[wide["cut"]]
    layers = np.array([_layers(one) for one in space.recomputes])[wide["recompute"]]
    legal &= layers <= least
    own = np.array([one == space.recipe.recompute for one in space.recomputes])
    wide = rows(wide, legal | own[wide["recompute"]] & (wide["zero"] < 2))
    wide |= {name: np.zeros_like(wide["tp"]) for name in ("order", "tp_overlap", "overlap")}
    return rows(wide, _expressible(space, wide))


def with_switches(space: Space, table: Table) -> Table:
    """Every candidate with every rank order and overlap that makes a difference."""
    axes = space.axes
    names = ("order", "tp_overlap", "overlap")
    wide = _crossed(
        {name: column for name, column in table.items() if name not in names},
        *((name, axes[name]) for name in names),
    )
    dp = wide["gpus"] // (wide["tp"] * wide["pp"] * wide["cp"])
    alone = len(axes["order"]) == 1
    legal = (wide["order"] == 0) | ((wide["pp"] > 1) & (dp > 1)) | alone
    legal &= (wide["tp_overlap"] == 0) | ((wide["sequence"] > 0) & (wide["tp"] > 1))
    gathers = np.array([gather for _, gather in OVERLAPS])[wide["overlap"]]
    legal &= ~gathers | (wide["zero"] > 0)
    legal &= (wide["overlap"] == 0) | (dp * wide["cp"] > 1) | (len(axes["overlap"]) == 1)
    wide = rows(wide, legal)
    return rows(wide, _expressible(space, wide))


def _crossed(table: Table, *axes: tuple[str, Sequence[int]]) -> Table:
    for name, values in axes:
        count = len(table["tp"])
        table = {key: np.repeat(column, len(values)) for key, column in table.items()}
        table[name] = np.tile(np.array(values, dtype=np.int64), count)
    return table


def _least_chunk(space: Space, number: int) -> int:
    """Layers of the fullest chunk: a group or block that is larger is another's double."""
    from llmtrain.config.change import changed

    cut = space.cuts[number]
    recipe = changed(space.recipe, cut.changes(space.recipe.model.layers))
    return max(chunk_layers(recipe) or (0,))


def _layers(recompute: Recompute) -> int:
    """Layers that a chunk must have: block recompute of all of them is uniform's."""
    if recompute.kind != "full":
        return 0
    return recompute.layers + (recompute.method == "block")


def _expressible(space: Space, table: Table) -> Column:
    """Which rows the program can run: one recipe is asked for all rows that it cannot tell apart.

    Limits (:mod:`llmtrain.planner.limits`) ask whether a degree is above one, never how large.
    """
    kinds = {one: place for place, one in enumerate(dict.fromkeys(map(_kind, space.recomputes)))}
    kind = np.array([kinds[_kind(one)] for one in space.recomputes])
    uneven = [cut.split for cut in space.cuts]
    splits = np.array([list(dict.fromkeys(uneven)).index(split) for split in uneven])
    code = np.zeros_like(table["tp"])
    for name in ("tp", "pp", "vpp", "cp", "ep", "etp"):
        code = code * 2 + (table[name] > 1)
    for column, size in (
        (splits[table["cut"]], 8),
        (kind[table["recompute"]], 64),
        (table["zero"], 4),
        (table["sequence"], 2),
        (table["order"], 2),
        (table["tp_overlap"], 2),
        (table["overlap"], 4),
    ):
        code = code * size + column
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    possible = [
        not inexpressible(space.candidate({name: int(c[row]) for name, c in table.items()}))
        for row in first
    ]
    return np.array(possible, dtype=bool)[place]


def _kind(recompute: Recompute) -> tuple[object, ...]:
    return recompute.kind, recompute.method, recompute.modules

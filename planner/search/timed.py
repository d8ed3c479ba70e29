"""All candidates of a space, block by block: pruned by memory, timed, the fastest kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmtrain.planner.search.counted import Stages, stages_of
from llmtrain.planner.search.dominance import more_work
from llmtrain.planner.search.expand import (
    Program,
    most_hidden,
    program_of,
    with_states,
    with_switches,
)
from llmtrain.planner.search.fit import needed_bytes
from llmtrain.planner.search.layouts import step_seconds
from llmtrain.planner.search.space import Space, Table, differences
from llmtrain.planner.search.structures import joined, row_of, rows, structures

BLOCK = 250_000
"""Candidates that are in memory at once."""
KEPT = 20_000
"""Fastest candidates of a block that are looked at again."""
ROUNDING = 1024
"""Bytes by which a plan's whole numbers may differ from a sum of fractions."""
SHAPE = ("cut", "tp", "cp", "ep", "etp", "micro")
"""Axes that make a layout; the others are its settings, of which the best are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """What became of a space."""

    space: Space
    """Which."""
    table: Table
    """Its best rows, one for each layout, the fastest first."""
    seconds: Any
    """Step time of each."""
    legal: int
    """Candidates that break no rule, rank orders and overlaps not counted apart."""
    pruned: int
    """Of these: dropped before they were timed, because they do not fit."""
    slower: int
    """Not timed, because the same layout fits with less recompute."""
    timed: int
    """Candidates timed: every other one in each rank order, and the best in all overlaps."""
    nearest: dict[str, int] | None
    """The row that needs least memory; None: no candidate is legal."""
    least_bytes: int
    """What it needs."""


def timed(space: Space, memory: float = 1.0, layouts: int = 100) -> Timed:
    """Every candidate that fits in this share of the GPU's memory; the best layouts."""
    program, stages = program_of(space), stages_of(space)
    counts = np.zeros(4, dtype=np.int64)
    best: list[tuple[Table, Any]] = []
    least: tuple[float, dict[str, int] | None] = (np.inf, None)
    for legal in _blocks(program):
        fitting, need, place = _fitting(stages, legal, memory)
        least = min(least, (need, row_of(legal, place)), key=lambda pair: pair[0])
        least_work = rows(fitting, ~more_work(space, fitting))
        table = most_hidden(program, least_work)
        seconds = step_seconds(space, table)
        sizes = [len(one["tp"]) for one in (legal, fitting, least_work)]
        counts += (sizes[0], sizes[0] - sizes[1], sizes[1] - sizes[2], len(seconds))
        best.append(_fastest(table, seconds, KEPT))
    table, seconds = _best(program, best, layouts)
    return Timed(
        space=space,
        table=table,
        seconds=seconds,
        legal=int(counts[0]),
        pruned=int(counts[1]),
        slower=int(counts[2]),
        timed=int(counts[3]) + len(seconds),
        nearest=least[1],
        least_bytes=0 if least[1] is None else round(least[0]),
    )


def _blocks(program: Program) -> Iterator[Table]:
    """Legal candidates, those of a pipeline together."""
    table = structures(program.space)
    each = len(program.space.recomputes) * len(program.space.axes["zero"])
    size = max(1, BLOCK // each)
    for start in range(0, len(table["tp"]), size):
        legal = with_states(program, rows(table, slice(start, start + size)))
        if len(legal["tp"]):
            yield legal


def _fitting(stages: Stages, legal: Table, memory: float) -> tuple[Table, float, int]:
    """Rows that fit; the least need of all, and whose it is."""
    need = needed_bytes(stages, legal)
    place = int(np.argmin(need))
    capacity = stages.space.recipe.cluster.gpu.memory_bytes
    if capacity is None:
        return legal, float(need[place]), place
    return rows(legal, need <= capacity * memory + ROUNDING), float(need[place]), place


def _fastest(table: Table, seconds: Any, count: int) -> tuple[Table, Any]:
    if len(seconds) <= count:
        return table, seconds
    some = np.argpartition(seconds, count)[:count]
    return rows(table, some), seconds[some]


def _best(program: Program, kept: list[tuple[Table, Any]], layouts: int) -> tuple[Table, Any]:
    """One row for each layout; of rows that are as fast the one that changes least."""
    kept = [(table, seconds) for table, seconds in kept if len(seconds)]
    if not kept:
        return {}, np.zeros(0)
    table, seconds = joined([one for one, _ in kept]), np.concatenate([each for _, each in kept])
    fast = _shapes(table, seconds, layouts)
    wide = with_switches(program, rows(table, fast))
    again = step_seconds(program.space, wide)
    close = again <= _shape_least(wide, again) * (1 + 1e-6)
    wide, again = rows(wide, close), again[close]
    changes = np.array(
        [len(differences(program.space, row_of(wide, n))) for n in range(len(again))]
    )
    order = np.lexsort((changes, np.round(again / again.min(), 6)))
    _, first = np.unique(_shape(wide)[order], return_index=True)
    chosen = order[np.sort(first)]
    return rows(wide, chosen), again[chosen]


def _shape(table: Table) -> Any:
    """A number for each layout."""
    return np.unique(np.stack([table[name] for name in SHAPE]), axis=1, return_inverse=True)[
        1
    ].reshape(-1)


def _shape_least(table: Table, seconds: Any) -> Any:
    """The least time of each row's layout."""
    shape = _shape(table)
    least = np.full(shape.max() + 1, np.inf)
    np.minimum.at(least, shape, seconds)
    return least[shape]


def _shapes(table: Table, seconds: Any, layouts: int) -> Any:
    """Rows of the fastest layouts that are as fast as their layout can be."""
    least = _shape_least(table, seconds)
    last = np.unique(least)[:layouts][-1]
    return np.flatnonzero((least <= last) & (seconds <= least * (1 + 1e-6)))

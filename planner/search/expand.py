"""From structures to candidates: recompute, ZeRO, overlap and rank order, as the program allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from llmtrain.config.layout import chunk_layers
from llmtrain.config.numerics import Recompute
from llmtrain.planner.expressible import inexpressible
from llmtrain.planner.search.space import OVERLAPS, Column, Space, Table
from llmtrain.planner.search.structures import joined, row_of, rows

SWITCHES = ("order", "overlap", "tp_overlap")
"""Axes that need no memory: all their values share one look at it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What the program that trains can express, asked once for all rows that it cannot tell apart.

    Limits (:mod:`llmtrain.planner.limits`) ask whether a degree is above one, never how large.
    """

    space: Space
    """Whose candidates."""
    chunks: tuple[int, ...]
    """Layers of the fullest chunk of each pipeline."""
    known: dict[int, bool] = field(default_factory=dict)
    """Answers so far."""

    def expresses(self, table: Table) -> Column:
        """Which rows the program can run."""
        codes, first, place = np.unique(self._code(table), return_index=True, return_inverse=True)
        for code, row in zip(codes.tolist(), first.tolist(), strict=True):
            if code not in self.known:
                candidate = self.space.candidate(row_of(table, row))
                self.known[code] = not inexpressible(candidate)
        possible: Column = np.array([self.known[code] for code in codes.tolist()], dtype=bool)
        return possible[place]

    def _code(self, table: Table) -> Column:
        space = self.space
        splits = _numbered([cut.split for cut in space.cuts])[table["cut"]]
        kinds = _numbered([(one.kind, one.method, one.modules) for one in space.recomputes])
        code = np.zeros_like(table["tp"])
        for name in ("tp", "pp", "vpp", "cp", "ep", "etp"):
            code = code * 2 + (table[name] > 1)
        for column, size in (
            (splits, 8),
            (kinds[table["recompute"]], 64),
            (table["zero"], 4),
            (table["sequence"], 2),
            (table["order"], 2),
            (table["tp_overlap"], 2),
            (table["overlap"], 4),
        ):
            code = code * size + column
        return code


def _numbered(values: Sequence[object]) -> Column:
    """A number for each different value."""
    known = list(dict.fromkeys(values))
    return np.array([known.index(value) for value in values], dtype=np.int64)


def program_of(space: Space) -> Program:
    """What is asked of the program of a space."""
    chunks = [max(chunk_layers(cut.of(space.recipe)) or (0,)) for cut in space.cuts]
    return Program(space=space, chunks=tuple(chunks))


def with_states(program: Program, table: Table) -> Table:
    """Every structure with every recompute and ZeRO stage that is legal with it."""
    space = program.space
    recomputes, zeros = len(space.recomputes), space.axes["zero"]
    count = len(table["tp"])
    wide = {name: np.repeat(column, recomputes * len(zeros)) for name, column in table.items()}
    wide["structure"] = np.repeat(np.arange(count), recomputes * len(zeros))
    wide["recompute"] = np.tile(np.repeat(np.arange(recomputes), len(zeros)), count)
    wide["zero"] = np.tile(np.array(zeros, dtype=np.int64), count * recomputes)
    legal = (wide["zero"] < 2) | (wide["pp"] == 1)
    layers = np.array([_layers(one) for one in space.recomputes])[wide["recompute"]]
    own = np.array([one == space.recipe.recompute for one in space.recomputes])
    legal &= (layers <= np.array(program.chunks)[wide["cut"]]) | own[wide["recompute"]]
    wide = rows(wide, legal)
    wide |= {name: np.full_like(wide["tp"], space.axes[name][0]) for name in SWITCHES}
    # Gathering that overlaps needs sharded states; which switches are legal is asked later.
    wide["overlap"] = np.where(wide["zero"] > 0, wide["overlap"], 0)
    wide["tp_overlap"] = wide["tp_overlap"] * (wide["sequence"] * wide["tp"] > 1)
    return rows(wide, program.expresses(wide))


def _layers(recompute: Recompute) -> int:
    """Layers that a chunk must have: block recompute of all of them is uniform's."""
    if recompute.kind != "full":
        return 0
    return recompute.layers + (recompute.method == "block")


def most_hidden(program: Program, table: Table) -> Table:
    """Every candidate in every rank order, with all that overlaps as far as it can.

    More overlap never takes longer, so no other switches are faster.
    """
    found = []
    for order in program.space.axes["order"]:
        left = np.arange(len(table["tp"]))
        for overlap, tp_overlap in _most_first(program.space):
            some = _switched(rows(table, left), order, overlap, tp_overlap)
            legal = _legal(program, some)
            found.append(rows(some, legal))
            left = left[~legal]
    return joined(found)


def with_switches(program: Program, table: Table) -> Table:
    """Every candidate with every rank order and overlap that is legal."""
    found = []
    for order in program.space.axes["order"]:
        for overlap, tp_overlap in _most_first(program.space):
            some = _switched(table, order, overlap, tp_overlap)
            found.append(rows(some, _legal(program, some)))
    return joined(found)


def _most_first(space: Space) -> Iterator[tuple[int, int]]:
    overlaps = sorted(space.axes["overlap"], reverse=True)
    return product(overlaps, sorted(space.axes["tp_overlap"], reverse=True))


def _switched(table: Table, order: int, overlap: int, tp_overlap: int) -> Table:
    values = zip(SWITCHES, (order, overlap, tp_overlap), strict=True)
    return table | {name: np.full_like(table["tp"], value) for name, value in values}


def _legal(program: Program, table: Table) -> Any:
    """Switches that the recipe's rules and the program allow, and that can make a difference."""
    axes = program.space.axes
    dp = program.space.gpus // (table["tp"] * table["pp"] * table["cp"])
    legal = (table["order"] == 0) | ((table["pp"] > 1) & (dp > 1)) | (len(axes["order"]) == 1)
    legal &= (table["tp_overlap"] == 0) | ((table["sequence"] > 0) & (table["tp"] > 1))
    gathers = np.array([gather for _, gather in OVERLAPS])[table["overlap"]]
    legal &= ~gathers | (table["zero"] > 0)
    alone = (table["overlap"] == 0) | (dp * table["cp"] > 1) | (len(axes["overlap"]) == 1)
    places = np.flatnonzero(legal & alone)
    found = np.zeros(len(dp), dtype=bool)
    found[places] = program.expresses(rows(table, places))
    return found

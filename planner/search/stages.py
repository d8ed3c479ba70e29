"""The stages of a pipeline that can need most memory, and what they hold in flight, as numbers.

Everything is counted by the functions that a plan counts with
(:mod:`llmtrain.planner.inflight`); chunks of a kind are only added up before they are multiplied
by bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.config.layout import stage_layers
from llmtrain.config.recipe import Recipe
from llmtrain.planner import memory
from llmtrain.planner.activations import Chunk
from llmtrain.planner.inflight import held_of_chunk, in_flight

Counts = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One stage of one pipeline."""

    recipe: Recipe
    """The recipe with this pipeline."""
    cut: int
    """Number of the pipeline in the space."""
    stage: int
    """From 0."""
    chunks: tuple[Chunk, ...]
    """Its layers, chunk by chunk."""
    moments: tuple[int, ...]
    """When it can hold most (:func:`llmtrain.planner.memory.moments_of`)."""
    final: bool
    """Whether the last layer lies here."""

    @property
    def kinds(self) -> tuple[Chunk, ...]:
        """Different chunks."""
        return tuple(dict.fromkeys(self.chunks))

    @property
    def layers(self) -> tuple[int, int]:
        """Dense layers and layers with experts."""
        return sum(int(one.dense) for one in self.chunks), sum(int(one.moe) for one in self.chunks)

    @property
    def ends(self) -> tuple[bool, bool, bool]:
        """Whether embedding, output layer and last layer lie here."""
        return self.stage == 0, self.stage == self.recipe.parallel.pp - 1, self.final


def entries_of(recipe: Recipe, cut: int) -> tuple[Entry, ...]:
    """The ends, and of stages between with equal chunks the first: it has most in flight."""
    found: dict[object, Entry] = {}
    stages = stage_layers(recipe)
    for number, chunks in enumerate(stages):
        numbers = [layer for chunk in chunks for layer in chunk]
        entry = Entry(
            recipe=recipe,
            cut=cut,
            stage=number,
            chunks=memory.chunks_of(recipe, chunks),
            moments=memory.moments_of(recipe, number, chunks),
            final=recipe.model.layers - 1 in numbers,
        )
        end = number in (0, len(stages) - 1)
        found.setdefault(number if end else (entry.chunks, entry.final), entry)
    return tuple(found.values())


def passes(entry: Entry, microbatches: Sequence[int]) -> list[Counts]:
    """Chunks of each kind in flight, for each number of micro-batches.

    Rows of counts by kind, of which none is less than another in all kinds.
    """
    pp, vpp = entry.recipe.parallel.pp, entry.recipe.parallel.vpp
    count: Any = np.array(microbatches, dtype=float)
    later: Any = np.array(entry.moments, dtype=float)[:, None]
    flown = in_flight(pp, vpp, entry.stage, count, later)
    kinds = entry.kinds
    held = np.zeros((len(kinds), len(entry.moments), len(microbatches)))
    for number, chunk in enumerate(entry.chunks):
        held[kinds.index(chunk)] += held_of_chunk(*flown, pp, vpp, number)
    return [_most(held[:, :, place].T) for place in range(len(microbatches))]


def _most(counts: Counts) -> Counts:
    """The rows that no other reaches in every kind."""
    different = np.unique(counts, axis=0)
    reached = (different[None, :, :] >= different[:, None, :]).all(axis=2).sum(axis=1) > 1
    kept: Counts = different[~reached]
    return kept

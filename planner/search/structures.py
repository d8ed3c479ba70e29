"""Structures: what cuts the model and the batch. The rules of :mod:`llmtrain.config.rules`, on
arrays; a test asks both about the same rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmtrain.config.recipe import Recipe
from llmtrain.planner.search.space import Column, Space, Table


def structures(space: Space) -> Table:
    """Legal combinations of degrees, micro-batch and pipeline, those of a pipeline together."""
    names = ("tp", "cp", "ep", "etp", "micro", "sequence")
    columns = _product([np.array(space.axes[name], dtype=np.int64) for name in names])
    table = dict(zip(names, columns, strict=True))
    if space.axes["etp"] == (0,):
        table["etp"] = table["tp"]
    table = rows(table, _legal_shapes(space.recipe, table))
    count, cuts = len(table["tp"]), len(space.cuts)
    wide = {name: np.tile(column, cuts) for name, column in table.items()}
    wide["cut"] = np.repeat(np.arange(cuts, dtype=np.int64), count)
    wide["pp"] = np.array([cut.pp for cut in space.cuts], dtype=np.int64)[wide["cut"]]
    wide["vpp"] = np.array([cut.vpp for cut in space.cuts], dtype=np.int64)[wide["cut"]]
    return rows(wide, _legal_pipelines(space.recipe, wide))


def _product(columns: Sequence[Column]) -> list[Column]:
    return [grid.reshape(-1) for grid in np.meshgrid(*columns, indexing="ij")]


def rows(table: Table, kept: Any) -> Table:
    """The rows of ``kept``, a mask or places."""
    return {name: column[kept] for name, column in table.items()}


def joined(tables: Sequence[Table]) -> Table:
    """All rows of some tables."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def row_of(table: Table, place: int) -> dict[str, int]:
    """One row."""
    return {name: int(column[place]) for name, column in table.items()}


def _legal_shapes(recipe: Recipe, table: Table) -> Any:
    """tensors_divide, experts_divide, sequence_parallel_fits, sequences_divide."""
    model, tp, cp, etp = recipe.model, table["tp"], table["cp"], table["etp"]
    sequence = table["sequence"] > 0
    legal = (model.heads % tp == 0) & (model.ffn_size % tp == 0)
    if model.mla is None:
        legal &= model.kv_head_count % tp == 0
    legal &= ~sequence | ((model.seq // cp % tp == 0) & (tp > 1))
    legal &= (cp == 1) | (model.seq % (2 * cp) == 0)
    if model.experts is not None:
        legal &= model.experts % table["ep"] == 0
        legal &= model.expert_ffn_size % etp == 0
        legal &= (etp == 1) | (not model.bias)
        legal &= sequence | (tp == 1)
    return legal


def _legal_pipelines(recipe: Recipe, table: Table) -> Any:
    """replicas_are_whole, experts_are_whole, batches_divide, interleaving_divides."""
    gpus, pp, vpp = recipe.gpus, table["pp"], table["vpp"]
    size = table["tp"] * pp * table["cp"]
    dp = np.maximum(gpus // size, 1)
    legal = (gpus % size == 0) & ((vpp == 1) | (pp > 1))
    legal &= (table["ep"] == 1) | (gpus % (table["etp"] * table["ep"] * pp) == 0)
    unit = table["micro"] * dp
    for batch in recipe.batch.sizes():
        legal &= batch % unit == 0
        legal &= (vpp == 1) | (pp == 1) | (batch // unit % pp == 0)
    return legal

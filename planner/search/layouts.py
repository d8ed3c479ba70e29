"""Rows of the space as the arrays that the step-time model reads."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from llmtrain.config.change import changed
from llmtrain.planner.candidate import Candidate, Stages
from llmtrain.planner.costs import Case
from llmtrain.planner.curves import curves_of
from llmtrain.planner.search.space import OVERLAPS, STAGES, Space, Table
from llmtrain.planner.search.structures import rows
from llmtrain.planner.stacks import chosen_stack, stack_of
from llmtrain.planner.step import case_of, step_time

BLOCK = 8192
"""Candidates that are timed at once: their arrays stay in the processor's cache."""


def drops_of(space: Space) -> list[frozenset[str]]:
    """Modules that each kind of recompute of the space drops."""
    return [
        frozenset(one.modules) if one.kind == "selective" else frozenset()
        for one in space.recomputes
    ]


def candidates_of(space: Space, table: Table, modules: frozenset[str]) -> Candidate:
    """All rows as one candidate of arrays."""
    column: dict[str, Any] = {name: values.astype(float) for name, values in table.items()}
    dp = np.maximum(space.gpus // (column["tp"] * column["pp"] * column["cp"]), 1.0)
    count = np.maximum(space.recipe.batch.global_ // (column["micro"] * dp), 1.0)
    overlap = np.array(OVERLAPS, dtype=float)[table["overlap"]]
    same = ("tp", "pp", "vpp", "cp", "ep", "etp", "micro", "sequence", "zero", "tp_overlap")
    return Candidate(
        **{name: column[name] for name in same},
        gpus=float(space.gpus),
        dp=cast(float, dp),
        microbatches=cast(float, count),
        stages=_stages(space, table),
        full=_full(space, table),
        modules=modules,
        pipeline_outermost=1.0 - column["order"],
        overlap_reduce=cast(float, overlap[:, 0]),
        overlap_gather=cast(float, overlap[:, 1]),
    )


def _full(space: Space, table: Table) -> Any:
    """Share of the layers that are recomputed whole, as for one recipe."""
    chosen, place = space.recomputes, table["recompute"]
    full = np.array([one.kind == "full" for one in chosen], dtype=float)[place]
    block = np.array([one.method == "block" for one in chosen])[place]
    layers = np.array([one.layers for one in chosen], dtype=float)[place]
    chunk = space.recipe.model.layers / (table["pp"] * table["vpp"])
    return full * np.where(block, np.minimum(1.0, layers / chunk), 1.0)


def _stages(space: Space, table: Table) -> Stages:
    wide: Any = np.array(space.layers, dtype=float)[table["cut"]]
    return Stages(**{name: wide[:, place] for place, name in enumerate(STAGES)})


def step_seconds(space: Space, table: Table) -> Any:
    """Step time of every row."""
    found = np.zeros(len(table["tp"]))
    drops = drops_of(space)
    sets = list(dict.fromkeys(drops))
    group = np.array([sets.index(one) for one in drops])[table["recompute"]]
    for stack, zeros in _stacks(space).items():
        case = _case(space, stack)
        for number, modules in enumerate(sets):
            places = np.flatnonzero((group == number) & np.isin(table["zero"], zeros))
            for start in range(0, len(places), BLOCK):
                block = places[start : start + BLOCK]
                layout = candidates_of(space, rows(table, block), modules)
                found[block] = step_time(replace(case, layout=layout)).seconds
    return found


def _stacks(space: Space) -> dict[str, list[int]]:
    """The software stack by ZeRO stage."""
    found: dict[str, list[int]] = {}
    for zero in space.axes["zero"]:
        one = changed(space.recipe, {"optim.zero": zero, "optim.overlap_param_gather": False})
        found.setdefault(chosen_stack(one), []).append(zero)
    return found


def _case(space: Space, stack: str) -> Case:
    curves = curves_of(space.recipe.cluster.gpu.arch)
    if curves is None:
        raise ValueError(f"nothing is known of {space.recipe.cluster.gpu.arch}")
    return case_of(space.base, curves, stack_of(stack))

"""Rows of the space as the arrays that the step-time model reads."""

from dataclasses import fields, replace
from typing import Any, cast

import numpy as np

from llmtrain.config.change import changed
from llmtrain.planner.candidate import Candidate, Stages, candidate_of
from llmtrain.planner.costs import Case
from llmtrain.planner.curves import curves_of
from llmtrain.planner.search.space import OVERLAPS, Space, Table, rows
from llmtrain.planner.stacks import chosen_stack, stack_of
from llmtrain.planner.step import case_of, step_time

BLOCK = 8192
"""Candidates that are timed at once: their arrays stay in the processor's cache."""


def candidates_of(space: Space, table: Table, modules: frozenset[str]) -> Candidate:
    """All rows as one candidate of arrays."""
    column: dict[str, Any] = {name: values.astype(float) for name, values in table.items()}
    dp = column["gpus"] // (column["tp"] * column["pp"] * column["cp"])
    count = space.recipe.batch.global_ // (column["micro"] * dp)
    overlap = np.array(OVERLAPS, dtype=float)[table["overlap"]]
    return Candidate(
        gpus=column["gpus"],
        tp=column["tp"],
        pp=column["pp"],
        vpp=column["vpp"],
        cp=column["cp"],
        ep=column["ep"],
        etp=column["etp"],
        dp=cast(float, np.maximum(dp, 1.0)),
        micro=column["micro"],
        microbatches=cast(float, np.maximum(count, 1.0)),
        stages=_stages(space, table),
        sequence=column["sequence"],
        full=_full(space, table),
        modules=modules,
        zero=column["zero"],
        pipeline_outermost=1.0 - column["order"],
        tp_overlap=column["tp_overlap"],
        overlap_reduce=cast(float, overlap[:, 0]),
        overlap_gather=cast(float, overlap[:, 1]),
    )


def _full(space: Space, table: Table) -> Any:
    """Share of the layers that are recomputed whole, as for one recipe."""
    chosen = space.recomputes
    place = table["recompute"]
    full = np.array([one.kind == "full" for one in chosen], dtype=float)[place]
    block = np.array([one.method == "block" for one in chosen])[place]
    layers = np.array([one.layers for one in chosen], dtype=float)[place]
    chunk = space.recipe.model.layers / (table["pp"] * table["vpp"])
    return full * np.where(block, np.minimum(1.0, layers / chunk), 1.0)


def _stages(space: Space, table: Table) -> Stages:
    used = np.unique(table["cut"])
    names = [field.name for field in fields(Stages)]
    known = np.zeros((len(space.cuts), len(names)))
    for cut in used:
        changes = space.cuts[cut].changes(space.recipe.model.layers)
        one = candidate_of(changed(space.recipe, changes)).stages
        known[cut] = [getattr(one, name) for name in names]
    wide: Any = known[table["cut"]]
    return Stages(**{name: wide[:, place] for place, name in enumerate(names)})


def step_seconds(space: Space, table: Table) -> Any:
    """Step time of every row."""
    found = np.zeros(len(table["tp"]))
    drops = [
        frozenset(one.modules) if one.kind == "selective" else frozenset()
        for one in space.recomputes
    ]
    sets = list(dict.fromkeys(drops))
    group = np.array([sets.index(one) for one in drops])[table["recompute"]]
    for number, modules in enumerate(sets):
        for stack, zeros in _stacks(space).items():
            places = np.flatnonzero((group == number) & np.isin(table["zero"], zeros))
            case = _case(space, stack)
            for start in range(0, len(places), BLOCK):
                block = places[start : start + BLOCK]
                found[block] = _timed(space, case, rows(table, block), modules)
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
    return case_of(space.recipe, curves, stack_of(stack))


def _timed(space: Space, case: Case, table: Table, modules: frozenset[str]) -> Any:
    layout = candidates_of(space, table, modules)
    if len(space.axes["gpus"]) > 1:
        per_node = np.minimum(table["gpus"], space.recipe.cluster.gpus_per_node)
        case = replace(case, links=replace(case.links, per_node=cast(float, per_node)))
    return step_time(replace(case, layout=layout)).seconds

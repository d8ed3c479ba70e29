"""Memory of arrays of candidates: the formulas of the plan, for the fullest stages only.

What :func:`llmtrain.planner.memory.stage_peak` says of a stage is put together here from the same
functions; a test asks both about the same candidates.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from llmtrain.config.change import changed
from llmtrain.config.recipe import Recipe
from llmtrain.planner import memory
from llmtrain.planner.activations import Chunk, chunk, embedding, gradients, recomputed_peak
from llmtrain.planner.calibration import memory_factor
from llmtrain.planner.inflight import held_of_chunk, in_flight
from llmtrain.planner.model_states import bytes_each, fp8_weight, gradient_bytes, sharded
from llmtrain.planner.numeric import choose, largest
from llmtrain.planner.parameters import Count
from llmtrain.planner.search.counted import Stages, as_array, columns_of, passes_in_flight
from llmtrain.planner.search.layouts import candidates_of, drops_of
from llmtrain.planner.search.space import Space, Table
from llmtrain.planner.search.structures import rows
from llmtrain.planner.setting import Recomputed, Setting, setting_of
from llmtrain.planner.timeline import loss
from llmtrain.planner.workspace import buffers, fixed, gathered_weights, reduction

BLOCK = 16384
"""Stages that are looked at together."""


def needed_bytes(stages: Stages, table: Table) -> Any:
    """Bytes without which the worst rank of each candidate fails."""
    first = np.searchsorted([entry.cut for entry in stages.entries], range(len(stages.space.cuts)))
    count = np.diff(np.append(first, len(stages.entries)))[table["cut"]]
    starts = np.cumsum(count) - count
    place = np.repeat(np.arange(len(count)), count)
    wide = rows(table, place)
    wide["entry"] = first[wide["cut"]] + np.arange(len(place)) - starts[place]
    return np.maximum.reduceat(_stages_needed(stages, wide), starts) if len(count) else starts


def _stages_needed(stages: Stages, table: Table) -> Any:
    """The same of one stage a row."""
    found = np.zeros(len(table["tp"]))
    drops = drops_of(stages.space)
    sets = list(dict.fromkeys(drops))
    group = np.array([sets.index(one) for one in drops])[table["recompute"]]
    kinds = np.array([len(entry.kinds) for entry in stages.entries])[table["entry"]]
    code = group * 64 + np.minimum(kinds, 63)
    order = np.argsort(code, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        for start in range(0, len(places), BLOCK):
            some = places[start : start + BLOCK]
            found[some] = _needed(stages, rows(table, some), sets[int(group[some[0]])])
    return found


def _needed(stages: Stages, table: Table, modules: frozenset[str]) -> Any:
    """One set of recomputed modules, one number of kinds of chunks."""
    recipe = stages.space.recipe
    setting = _setting(stages.space, table, modules)
    column = columns_of(stages, table)
    kept = _in_flight(stages, setting, table)
    layout = setting.layout
    schedule = (layout.pp, layout.vpp, column["stage"], layout.microbatches)
    starts = held_of_chunk(*in_flight(*schedule), layout.pp, layout.vpp, 0)
    kept = kept + starts * choose(column["first"] > 0, embedding(setting), 0)
    back = _backward(setting, column["moe"] > 0)
    most = kept + largest(back, choose(column["last"] > 0, loss(setting), 0))
    rank = _count(column, "rank")
    stays: Any = buffers(setting) + reduction(setting, rank)
    gradient = gradient_bytes(recipe.precision, recipe.optim)
    stays = stays + gathered_weights(setting, _count(column, "layer"), column["words"], gradient)
    stays = stays + memory.gradient_copies(recipe, setting, rank)
    moving = _by_zero(stages.space, table, memory_factor) * (most + stays)
    fp8 = _by_zero(stages.space, table, fp8_weight) * (rank.total - column["ends"])
    released = memory.releasable_bytes(recipe, setting, rank)
    return _states(setting, recipe, rank) + fp8 + moving + fixed(setting) - released


def _setting(space: Space, table: Table, modules: frozenset[str]) -> Setting:
    base, chosen, place = setting_of(space.base), space.recomputes, table["recompute"]
    return Setting(
        model=base.model,
        layout=candidates_of(space, table, modules),
        recomputed=Recomputed(
            modules=modules,
            full=as_array([one.kind == "full" for one in chosen])[place],
            block=as_array([one.method == "block" for one in chosen])[place],
            layers=as_array([one.layers for one in chosen])[place],
        ),
        width=base.width,
        input_width=base.input_width,
        flash=base.flash,
        program=base.program,
    )


def _states(setting: Setting, recipe: Recipe, rank: Count) -> Any:
    each, layout = bytes_each(recipe), setting.layout
    found: Any = 0.0
    for width, start in ((each.weight, 3), (each.gradient, 2), (each.optimizer, 1)):
        found = found + sharded(layout, rank, width, start)
    return found


def _count(column: dict[str, Any], name: str) -> Count:
    return Count(dense=column[f"{name}_dense"], expert=column[f"{name}_expert"])


def _by_zero(space: Space, table: Table, value: Callable[[Recipe], float]) -> Any:
    """What depends on the ZeRO stage: copies in FP8, and which stack a correction is for."""
    plain = {"optim.overlap_param_gather": False}
    each = [value(changed(space.recipe, {**plain, "optim.zero": zero})) for zero in range(4)]
    return as_array(each)[table["zero"]]


def _backward(setting: Setting, moe: Any) -> Any:
    """As the plan's timeline: where no layer has experts only the dense one counts."""
    model = setting.model

    def needs(moe: bool) -> Any:
        return gradients(setting, moe=moe) + recomputed_peak(setting, moe=moe)

    if not model.experts:
        return needs(False)
    if not model.dense_layers:
        return needs(True)
    dense = needs(False)
    return choose(moe, largest(dense, needs(True)), dense)


def _in_flight(stages: Stages, setting: Setting, table: Table) -> Any:
    """What forward passes have left: bytes of a chunk of each kind times those in flight."""
    counts = passes_in_flight(stages, setting.layout.microbatches, table)
    layout, entries = setting.layout, stages.entries
    outputs = setting.program.stage_outputs * choose(layout.pp > 1, setting.hidden, 0)
    sums: Any = 0.0
    for kind in range(counts.shape[2]):
        chunks = [entry.kinds[kind] for entry in entries if len(entry.kinds) > kind]
        place = np.cumsum([len(entry.kinds) > kind for entry in entries])[table["entry"]] - 1
        held = Chunk(
            dense=as_array([float(one.dense) for one in chunks])[place],
            moe=as_array([float(one.moe) for one in chunks])[place],
        )
        size: Any = chunk(setting, held) + outputs
        sums = sums + counts[:, :, kind] * size[:, None]
    return sums.max(axis=1)

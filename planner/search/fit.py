"""Memory of arrays of candidates: the formulas of the plan, the fullest stages only."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from llmtrain.config.change import changed
from llmtrain.config.layout import stage_layers
from llmtrain.config.recipe import Recipe
from llmtrain.planner import memory
from llmtrain.planner.candidate import Candidate
from llmtrain.planner.model_states import bytes_each, fp8_weight, gradient_bytes, sharded
from llmtrain.planner.parameters import Count, cut_of, embedding_matrix, layer, rank_parameters
from llmtrain.planner.search.layouts import candidates_of
from llmtrain.planner.search.space import Space, Table, rows
from llmtrain.planner.setting import Recomputed, Setting, setting_of
from llmtrain.planner.timeline import Held, timeline
from llmtrain.planner.workspace import buffers, fixed, gathered_weights, reduction


def needed_bytes(space: Space, table: Table) -> Any:
    """Bytes without which the worst rank of each candidate fails."""
    found = np.zeros(len(table["tp"]))
    groups = np.array([_modules(space, row) for row in range(len(space.recomputes))])
    code = table["cut"] * 64 + groups[table["recompute"]]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for places in np.split(order, starts[1:]):
        found[places] = _group(space, rows(table, places))
    return found


def _modules(space: Space, row: int) -> int:
    """A number for each set of modules that is dropped."""
    sets = [_dropped(space, number) for number in range(len(space.recomputes))]
    return list(dict.fromkeys(sets)).index(sets[row])


def _dropped(space: Space, row: int) -> frozenset[str]:
    one = space.recomputes[row]
    return frozenset(one.modules) if one.kind == "selective" else frozenset()


def _group(space: Space, table: Table) -> Any:
    """Candidates with one pipeline and one set of recomputed modules."""
    cut = space.cuts[int(table["cut"][0])]
    recipe = changed(space.recipe, cut.changes(space.recipe.model.layers))
    layout = candidates_of(space, table, _dropped(space, int(table["recompute"][0])))
    layout = _with_pipeline(layout, cut.pp, cut.vpp)
    base = setting_of(recipe)
    setting = Setting(
        model=base.model, layout=layout, recomputed=_recomputed(space, table), width=base.width,
        input_width=base.input_width, flash=base.flash, program=base.program,
    )  # fmt: skip
    stages = stage_layers(recipe)
    needs = [
        _stage(recipe, setting, table, number, stages[number])
        for number in _fullest(recipe, stages)
    ]
    return np.max(np.broadcast_arrays(*needs), axis=0)


def _with_pipeline(layout: Candidate, pp: int, vpp: int) -> Candidate:
    from dataclasses import replace

    return replace(layout, pp=pp, vpp=vpp)


def _recomputed(space: Space, table: Table) -> Recomputed:
    chosen = [space.recomputes[row] for row in range(len(space.recomputes))]
    place = table["recompute"]
    return Recomputed(
        modules=_dropped(space, int(place[0])),
        full=cast(float, np.array([one.kind == "full" for one in chosen], dtype=float)[place]),
        block=cast(float, np.array([one.method == "block" for one in chosen], dtype=float)[place]),
        layers=cast(float, np.array([one.layers for one in chosen], dtype=float)[place]),
    )


def _fullest(recipe: Recipe, stages: tuple[tuple[tuple[int, ...], ...], ...]) -> list[int]:
    """The ends, and of stages between with equal chunks the first: it has most in flight."""
    found = {0, len(stages) - 1}
    seen: set[object] = set()
    for number, chunks in enumerate(stages[1:-1], start=1):
        numbers = [layer for chunk in chunks for layer in chunk]
        ends = recipe.model.mtp and recipe.model.layers - 1 in numbers
        kind = (memory.chunks_of(recipe, chunks), ends)
        if kind not in seen:
            seen.add(kind)
            found.add(number)
    return sorted(found)


def _stage(
    recipe: Recipe,
    setting: Setting,
    table: Table,
    number: int,
    chunks: tuple[tuple[int, ...], ...],
) -> Any:
    """What :func:`llmtrain.planner.memory.stage_peak` says, without its parts."""
    held = Held(
        stage=number,
        chunks=memory.chunks_of(recipe, chunks),
        moments=memory.moments_of(recipe, number, chunks),
    )
    parameters, biggest, ends, word = _parameters(recipe, table, number)
    most = np.max(
        np.broadcast_arrays(*(moment.total for moment in timeline(setting, held))), axis=0
    )
    each, layout = bytes_each(recipe), setting.layout
    states: Any = 0.0
    for width, start in ((each.weight, 3), (each.gradient, 2), (each.optimizer, 1)):
        states = states + sharded(layout, parameters, width, start)
    gradient = gradient_bytes(recipe.precision, recipe.optim)
    stays: Any = buffers(setting) + reduction(setting, parameters)
    stays = stays + gathered_weights(setting, biggest, word, gradient)
    stays = stays + memory.gradient_copy(recipe, setting, parameters)
    stays = stays + _fp8(recipe, table) * (parameters.total - ends)
    released = memory.releasable_bytes(recipe, setting, parameters)
    return states + most + fixed(setting) + stays - released


def _fp8(recipe: Recipe, table: Table) -> Any:
    """By ZeRO stage: gathering in FP8 needs one."""
    each = [fp8_weight(changed(recipe, {"optim.zero": zero})) for zero in (0, 1)]
    return np.where(table["zero"] > 0, each[1], each[0])


def _parameters(recipe: Recipe, table: Table, number: int) -> tuple[Count, Count, Any, Any]:
    """Of a rank, of its largest layer, of its ends, and of embedding and output layer."""
    code = (table["tp"] * 4096 + table["ep"]) * 4096 + table["etp"]
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    columns = defaultdict[str, list[float]](list)
    for row in first:
        tp, ep, etp = (int(table[name][row]) for name in ("tp", "ep", "etp"))
        one = changed(recipe, {"parallel.tp": tp, "parallel.ep": ep, "parallel.etp": etp})
        for name, value in _counts(one, number):
            columns[name].append(value)
    wide: dict[str, Any] = {name: np.array(values)[place] for name, values in columns.items()}
    rank = Count(dense=wide["dense"], expert=wide["expert"])
    biggest = Count(dense=wide["layer_dense"], expert=wide["layer_expert"])
    return rank, biggest, wide["ends"], wide["words"]


def _counts(recipe: Recipe, number: int) -> Iterator[tuple[str, float]]:
    rank = rank_parameters(recipe, number)
    biggest = layer(recipe.model, recipe.model.layers - 1, cut_of(recipe))
    yield "dense", float(rank.dense)
    yield "expert", float(rank.expert)
    yield "layer_dense", float(biggest.dense)
    yield "layer_expert", float(biggest.expert)
    yield "ends", float(memory.ends_of(recipe, number))
    words = embedding_matrix(recipe) // recipe.parallel.tp * (1 if recipe.model.tied else 2)
    yield "words", float(words)

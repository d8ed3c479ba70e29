"""The search and the plan are one model: arrays of candidates against single plans."""

import random
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from llmtrain.config.build import build
from llmtrain.config.calibration import Calibration
from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from llmtrain.config.rules import violations
from llmtrain.planner.calibration import measured_on
from llmtrain.planner.expressible import inexpressible
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.search.counted import stages_of
from llmtrain.planner.search.dominance import more_work
from llmtrain.planner.search.expand import most_hidden, program_of, with_states, with_switches
from llmtrain.planner.search.fit import needed_bytes
from llmtrain.planner.search.layouts import step_seconds
from llmtrain.planner.search.space import Space, Table, space_of
from llmtrain.planner.search.structures import row_of, rows, structures
from llmtrain.planner.search.timed import ROUNDING, timed
from llmtrain.planner.step import recipe_step

RECIPES = {
    "gpt3-175b": ["gpus=512"],
    "mt-nlg-530b": ["batch.ramp=null"],
    "gpt3-5b": ["backend=megatron-deepspeed", "gpus=64"],
    "llama3-405b": [],
    "mixtral-8x7b": [],
    "deepseek-v3": [],
    "mlperf-gpt3-175b": [],
}
"""Interleaved, DeepSpeed's pipeline, ZeRO-2 and 3, GQA, experts, MLA with a ramp, FP8."""
STRUCTURES, CANDIDATES = 40, 60


@lru_cache
def space(name: str) -> Space:
    """The space of a recipe, its axes as they are; its plan is corrected by runs."""
    recipe = compose([f"recipe={name}", *RECIPES[name]])
    factors = {"step_factor": 1.3, "memory_factor": 1.2}
    return space_of(replace(recipe, calibration=build(Calibration, measured_on(recipe) | factors)))


@lru_cache
def sample(name: str) -> Table:
    """Some legal candidates, in every rank order and overlap, the same each time."""
    chance = np.random.default_rng(7)
    program = program_of(space(name))
    every = structures(space(name))
    some = chance.permutation(len(every["tp"]))[:STRUCTURES]
    legal = with_states(program, rows(every, np.sort(some)))
    legal = rows(legal, chance.permutation(len(legal["tp"]))[: 4 * CANDIDATES])
    table = with_switches(program, legal)
    return rows(table, chance.permutation(len(table["tp"]))[:CANDIDATES])


@pytest.mark.parametrize("name", RECIPES)
def test_arrays_say_what_plans_say(name: str) -> None:
    """Legality, memory and step time of the same candidates, one by one."""
    table = sample(name)
    assert len(table["tp"]) >= 24
    needs, seconds = needed_bytes(stages_of(space(name)), table), step_seconds(space(name), table)

    if name == "gpt3-5b":
        assert set(table["zero"].tolist()) == {1, 2, 3}
    for place in range(len(needs)):
        recipe = space(name).candidate(row_of(table, place))
        assert not violations(recipe)
        assert not inexpressible(recipe)
        needed = max(peak.needed for peak in peak_memory(recipe))
        assert abs(needs[place] - needed) < ROUNDING / 2
        step = recipe_step(recipe)
        assert step is not None
        assert seconds[place] == pytest.approx(step.seconds, rel=1e-9)


@pytest.mark.parametrize("name", ["gpt3-175b", "mt-nlg-530b", "mixtral-8x7b", "deepseek-v3"])
def test_only_layouts_that_break_a_rule_are_left_out(name: str) -> None:
    """Degrees drawn at random: in the table or broken by the rules, never both or neither."""
    chance, one = random.Random(3), space(name)
    table = structures(one)
    names = ("tp", "cp", "ep", "etp", "micro", "sequence", "cut")
    legal = set(zip(*(table[each].tolist() for each in names), strict=True))
    drawn = chance.sample(sorted(legal), 60)
    base = {"recompute": 1, "zero": 0, "order": 0, "overlap": 0, "tp_overlap": 0}

    for known in drawn:
        row = dict(zip(names, known, strict=True))
        axis = chance.choice(names)
        values = range(len(one.cuts)) if axis == "cut" else one.axes[axis]
        row[axis] = chance.choice(list(values)) or row[axis]
        if one.axes["etp"] == (0,):
            row["etp"] = row["tp"]
        broken = violations(one.candidate({**base, **row}))
        assert (tuple(row[each] for each in names) in legal) is not bool(broken)


@pytest.mark.parametrize("name", ["gpt3-175b", "gpt3-5b", "llama3-405b", "mixtral-8x7b"])
def test_nothing_that_would_win_is_left_out(name: str) -> None:
    """Less overlap or more recompute is never faster: what is not timed cannot be the best."""
    program = program_of(space(name))
    table = structures(space(name))
    some = np.random.default_rng(5).permutation(len(table["tp"]))[:12]
    legal = with_states(program, rows(table, some))
    every = with_switches(program, legal)
    timed_only = most_hidden(program, rows(legal, ~more_work(space(name), legal)))

    all_seconds, seconds = step_seconds(space(name), every), step_seconds(space(name), timed_only)
    for structure in np.unique(every["structure"]):
        best = all_seconds[every["structure"] == structure].min()
        found = seconds[timed_only["structure"] == structure].min()
        assert found == pytest.approx(best, rel=1e-9)


def test_no_pruned_candidate_fits_and_the_best_of_all_is_found() -> None:
    """A space small enough to plan every candidate one by one."""
    recipe = compose(["recipe=gpt3-20b", "gpus=64", "batch.global=64", "cluster=dgx-a100-40g"])
    keep = ("parallel.cp", "parallel.order", "recompute.method", "parallel.vpp", "kernels")
    small = space_of(recipe, (*keep, "batch.micro", "parallel.account_for_loss"))
    answer = timed(small)
    program = program_of(small)
    legal = with_states(program, structures(small))
    capacity = recipe.cluster.gpu.memory_bytes or 0

    fits = [
        max(peak.needed for peak in peak_memory(small.candidate(row_of(legal, place)))) <= capacity
        for place in range(len(legal["tp"]))
    ]
    assert answer.legal == len(fits)
    assert answer.pruned == len(fits) - sum(fits)
    assert 0 < answer.pruned < answer.legal
    every = with_switches(program, rows(legal, np.array(fits)))
    steps = [
        recipe_step(small.candidate(row_of(every, place))) for place in range(len(every["tp"]))
    ]
    assert answer.seconds[0] == pytest.approx(min(s.seconds for s in steps if s), rel=1e-9)


def test_kept_keys_stay() -> None:
    """Single keys, groups, and a kind of recompute whose details may change."""
    recipe = compose(["recipe=gpt3-175b"])
    held = space_of(recipe, ("parallel", "optim.zero", "recompute.kind"))

    assert {cut.pp for cut in held.cuts} == {8}
    assert held.axes["tp"] == (8,) and held.axes["zero"] == (1,)
    assert {one.kind for one in held.recomputes} == {"selective"}
    assert len(held.recomputes) > 1 and len(held.axes["micro"]) > 1


def test_a_layout_that_breaks_a_rule_can_be_mended() -> None:
    """The recipe's own stages need not divide its layers."""
    recipe = compose(["recipe=gpt3-5b"])
    broken = replace(recipe, parallel=replace(recipe.parallel, pp=7))

    with pytest.raises((RecipeError, ValueError)):
        peak_memory(broken)
    assert len(timed(space_of(broken)).seconds)

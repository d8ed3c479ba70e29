"""Micro-batches in flight against megatron-core's own schedule, walked through."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from megatron.core.pipeline_parallel import schedules

from llmtrain.planner.inflight import held, moments, warmup


def order(pp: int, vpp: int, stage: int, count: int) -> list[tuple[str, int]]:
    """Passes of a stage as (direction, chunk), by megatron-core's own functions."""
    state: dict[str, Any] = {
        "get_pipeline_model_parallel_world_size": lambda: pp,
        "get_pipeline_model_parallel_rank": lambda: stage,
        "get_virtual_pipeline_model_parallel_world_size": lambda: vpp if vpp > 1 else None,
    }
    with patch.multiple(schedules.parallel_state, **state):
        total, _, first, _ = schedules.get_pp_rank_microbatches(count, vpp, pp)
    table = schedules.get_schedule_table(count, vpp, pp)
    forward = [("forward", chunk) for _, chunk in table]
    backward = [("backward", vpp - 1 - chunk) for _, chunk in table]
    walked = forward[:first]
    for number in range(total - first):
        walked += [forward[first + number], backward[number]]
    return walked + backward[total - first :]


def walked(pp: int, vpp: int, stage: int, count: int, sizes: tuple[int, ...]) -> int:
    """The most that is held, one pass after the other."""
    now = most = 0
    for direction, chunk in order(pp, vpp, stage, count):
        now += sizes[chunk] if direction == "forward" else -sizes[chunk]
        most = max(most, now)
    return most


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_against_the_schedule(data: st.DataObject) -> None:
    """Any stage, with chunks of any size, holds at most what a walk through the schedule finds."""
    pp = data.draw(st.integers(1, 6))
    vpp = data.draw(st.integers(1, 4)) if pp > 1 else 1
    stage = data.draw(st.integers(0, pp - 1))
    count = data.draw(st.integers(1, 5)) * (pp if vpp > 1 else 1)
    sizes = data.draw(st.tuples(*[st.integers(0, 9)] * vpp))

    expected = walked(pp, vpp, stage, count, sizes)

    assert held(pp, vpp, stage, count, sizes, moments(pp, vpp, stage)) == expected


@pytest.mark.parametrize(("pp", "vpp", "stage"), [(4, 1, 0), (4, 1, 3), (35, 3, 0), (8, 6, 5)])
def test_even_chunks_need_one_look(pp: int, vpp: int, stage: int) -> None:
    """Chunks of one size are fullest right after the warm-up."""
    count, sizes = 4 * pp, (1,) * vpp

    assert held(pp, vpp, stage, count, sizes) == walked(pp, vpp, stage, count, sizes)
    assert held(pp, vpp, stage, count, sizes) == warmup(pp, vpp, stage) + 1


def test_one_stage_holds_one() -> None:
    """Without stages forward and backward pass of each micro-batch take turns."""
    assert held(1, 1, 0, 64, (1,)) == 1


def test_korthikanti() -> None:
    """arXiv 2205.05198, section 4.2.3: L (1 + (p - 1) / (p m)) layers of 105 on 35 stages x 3."""
    assert held(35, 3, 0, 280, (1, 1, 1)) == 105 * (1 + 34 / (35 * 3))

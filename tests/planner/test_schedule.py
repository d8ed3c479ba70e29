"""The pipeline's schedule: against megatron-core's own tables, and the closed form against it."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from megatron.core.pipeline_parallel.schedules import get_pp_rank_microbatches, get_schedule_table

from llmtrain.config.compose import compose
from llmtrain.planner.explain.explanation import explanation
from llmtrain.planner.plan import make_plan
from llmtrain.planner.schedule import bubble_seconds, makespan, order, simulate


@pytest.mark.parametrize(("stages", "chunks", "count"), [(4, 2, 8), (8, 3, 16), (2, 5, 6)])
def test_interleaved_order_is_megatrons(stages: int, chunks: int, count: int) -> None:
    """Forward passes follow megatron-core's table, backward passes it with the chunks reversed."""
    table = [(chunk, micro) for micro, chunk in get_schedule_table(count, chunks, stages)]
    back = [(chunks - 1 - chunk, micro) for chunk, micro in table]

    for stage in range(stages):
        run = order(stage, stages, chunks, count)

        assert [(c, m) for c, m, backward in run if not backward] == table
        assert [(c, m) for c, m, backward in run if backward] == back


@pytest.mark.parametrize(
    ("stages", "chunks", "count"), [(4, 1, 8), (4, 1, 2), (4, 2, 8), (8, 3, 8)]
)
def test_warm_up_is_megatrons(stages: int, chunks: int, count: int) -> None:
    """As many forward passes come before the first backward pass as megatron-core runs."""
    for stage in range(stages):
        group = SimpleNamespace(size=lambda: stages, rank=lambda stage=stage: stage)
        asked: Any = SimpleNamespace(
            pp_group=group,
            virtual_pipeline_model_parallel_size=chunks if chunks > 1 else None,
        )
        _, _, warm, rest = get_pp_rank_microbatches(count, chunks, stages, p2p_communicator=asked)

        run = order(stage, stages, chunks, count)

        before = next(i for i, (_, _, backward) in enumerate(run) if backward)
        assert before == warm + (1 if rest else 0)


@pytest.mark.parametrize(
    ("stages", "chunks", "count"), [(4, 1, 8), (8, 1, 8), (4, 3, 8), (7, 2, 21)]
)
def test_even_stages_make_the_known_bubble(stages: int, chunks: int, count: int) -> None:
    """(p - 1) / (v m) of the ideal time (arXiv 2104.04473, section 2.2)."""
    tasks = simulate([[1.0] * chunks] * stages, [[2.0] * chunks] * stages, count)

    ideal = 3.0 * chunks * count
    assert makespan(tasks) == pytest.approx(ideal * (1 + (stages - 1) / (chunks * count)))


def test_every_pass_runs_once_and_in_turn() -> None:
    """No stage does two things at once, and nothing begins before what it needs has arrived."""
    tasks = simulate([[1.0, 1.5], [2.0, 1.0], [1.0, 1.0]], [[2.0, 2.0]] * 3, 6, hop=0.25)
    ended = {(t.chunk * 3 + t.stage, t.microbatch, t.backward): t.end for t in tasks}

    assert len(tasks) == len(ended) == 3 * 2 * 6 * 2
    for stage in range(3):
        mine = sorted((t.start, t.end) for t in tasks if t.stage == stage)
        assert all(end <= start for (_, end), (start, _) in pairwise(mine))
    for task in tasks:
        place = task.chunk * 3 + task.stage
        if not task.backward and place:
            assert task.start >= ended[place - 1, task.microbatch, False] + 0.25
        if task.backward and place < 5:
            assert task.start >= ended[place + 1, task.microbatch, True] + 0.25


@pytest.mark.parametrize(
    ("stages", "chunks", "count", "last"),
    [(8, 1, 32, 1.3), (8, 1, 64, 1.05), (35, 3, 70, 1.2), (4, 5, 16, 1.25), (16, 2, 64, 1.1)],
)
def test_closed_form_is_the_simulation(stages: int, chunks: int, count: int, last: float) -> None:
    """Within 3 % where the last stage is slower by its output layer, in its last chunk."""
    forward = [[1.0 / chunks] * chunks for _ in range(stages)]
    backward = [[2.0 / chunks] * chunks for _ in range(stages)]
    forward[-1][-1] += last - 1.0
    backward[-1][-1] += 2.0 * (last - 1.0)
    real = makespan(simulate(forward, backward, count))

    bubble = bubble_seconds(3.0 * last, 3.0 * (stages - 1 + last), chunks)
    closed = count * 3.0 * last + bubble

    assert closed == pytest.approx(real, rel=0.03)


PIPELINES = (
    *("gpt3-530b", "gpt3-175b", "gpt3-1t", "mt-nlg-530b", "llama-65b", "llama3-405b"),
    *("nemotron4-340b", "mlperf-gpt3-175b", "mixtral-8x7b", "deepseek-v3"),
)
"""Even and uneven stages, interleaved and not, dense and with experts."""


@pytest.mark.parametrize("name", PIPELINES)
def test_the_bubble_of_a_plan_is_the_simulated_one(name: str) -> None:
    """Within 4 % and a thousandth of the step, when every pass of every chunk has its own time."""
    plan = make_plan(compose([f"recipe={name}"]))
    assert plan.speed is not None
    simulated = explanation(plan, "breakdown.bubble").numbers["simulated, s"]

    planned = plan.speed.breakdown["bubble"]
    assert planned == pytest.approx(simulated, rel=0.04)
    assert planned == pytest.approx(simulated, abs=0.001 * plan.speed.step_seconds)

"""A run beside its plan, from what it wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrain.runs import prometheus
from llmtrain.runs.detail import Detail, read_detail
from llmtrain.runs.events import note
from llmtrain.runs.state import read_state

RunWith = Callable[..., Path]

PLAN = {
    "gpus": 4,
    "steps": 100,
    "step_seconds": 2.0,
    "mfu": 0.5,
    "tokens_per_second_per_gpu": 100.0,
    "peak_memory_bytes": 90,
    "breakdown": {"gemm": 1.0, "attention": 0.5, "pipeline": 0.5},
    "stages": [{"memory": {"total": 90}}, {"memory": {"total": 80}}],
}


@pytest.fixture
def detail_of(run_with: RunWith) -> Callable[..., Detail]:
    """Of a run that runs, with these rows."""

    def detail(rows: list[dict[str, Any]], plan: Any = PLAN, alive: bool = True) -> Detail:
        folder = run_with()
        (folder / "plan.json").write_text(json.dumps(plan))
        note(folder, "started")
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return read_detail(read_state(folder, "here" if alive else "gone"))

    return detail


def rows(**more: Any) -> list[dict[str, Any]]:
    """Two steps, the first of them slow as first steps are."""
    each = {"loss": 2.0, "tokens_per_second": 200.0, "memory_bytes": 88, **more}
    return [{"step": step, "step_seconds": 50.0 if step == 1 else 3.0, **each} for step in (1, 2)]


def test_beside_the_plan(detail_of: Callable[..., Detail]) -> None:
    """Half as fast again, 98 steps to go, half of the planned MFU."""
    found = detail_of(rows())

    assert (found.median_step_seconds, found.deviation) == (3.0, 0.5)
    assert found.left_seconds == 98 * 3.0
    assert (found.mfu, found.planned_mfu) == (0.25, 0.5)
    assert found.planned_memory_bytes == 90


def test_where_the_deviation_comes_from(detail_of: Callable[..., Detail]) -> None:
    """Ranks that compute longer than planned, one that is slower than the others, a stage."""
    slowest = [{"rank": 7, "seconds": 2.5}, {"rank": 2, "seconds": 2.0}]
    compute = {"min": 1.8, "median": 1.9, "max": 2.5, "slowest": slowest}
    found = detail_of(rows(compute_seconds=compute, stage_memory_bytes=[88, 100]))

    assert found.computing == pytest.approx(1.9 - 1.5)
    assert found.slow_ranks == (7,)
    assert found.memory_by_stage == ((88, 90), (100, 80))


@pytest.mark.parametrize("plan", [{}, [], {"step_seconds": None, "breakdown": None}])
def test_without_a_plan(detail_of: Callable[..., Detail], plan: Any) -> None:
    """What was measured is known all the same."""
    found = detail_of(rows(), plan)

    assert (found.median_step_seconds, found.deviation, found.mfu) == (3.0, None, None)


def test_a_run_that_has_ended(detail_of: Callable[..., Detail]) -> None:
    """Has no time left, and is not silent."""
    found = detail_of(rows(), alive=False)

    assert (found.left_seconds, found.silent_seconds) == (None, None)


@pytest.mark.parametrize(("second", "apart"), [(2.0, 0.0), (2.5, 0.5)])
def test_how_exact_a_resume_was(run_with: RunWith, second: float, apart: float) -> None:
    """Steps that two lives have trained tell: by how much their losses differ."""
    folder = run_with()
    (folder / "plan.json").write_text(json.dumps(PLAN))
    seen = [(1, 4.0), (2, 3.0), (3, 2.0), (2, 3.0), (3, second), (4, 1.0)]
    lines = [json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in seen]
    (folder / "metrics.jsonl").write_text("".join(lines))
    for kind in ("launched", "started", "launched", "resumed"):
        note(folder, kind)
    found = read_detail(read_state(folder))

    assert (found.repeated_steps, found.repeated_difference) == (2, apart)


def test_metrics_of_a_hostile_name(run_with: RunWith) -> None:
    """Quotes and line ends in a label are escaped; what is not known is left out."""
    folder = run_with()
    odd = folder.rename(folder.with_name('a"b\nc\\d'))
    state = read_state(odd)
    lines = prometheus.text([(state, read_detail(state))]).splitlines()

    assert r'llmtrain_status{run="a\"b\nc\\d",status="prepared"} 1' in lines
    assert not any(line.startswith("llmtrain_loss") for line in lines)

"""Steps of programs that write no metrics.jsonl, from what they print."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from llmtrain.runs import prometheus
from llmtrain.runs.detail import read_detail
from llmtrain.runs.events import note
from llmtrain.runs.follow import follow
from llmtrain.runs.metrics import rows
from llmtrain.runs.progress import losses
from llmtrain.runs.state import read_state

RunWith = Callable[..., Path]

MEGATRON_LM = (
    " [2025-01-01 10:00:0{}] iteration       {}/    100 | consumed samples:         5120 | "
    "elapsed time per iteration (ms): 2500.0 | throughput per GPU (TFLOP/s/GPU): 412.3 | "
    "learning rate: 1.000000E-04 | global batch size:    16 | lm loss: {}.5E+00 | "
    "loss scale: 1.0 | grad norm: 0.750 | number of skipped iterations:   0 |\n"
)
MEGATRON_DEEPSPEED = (
    " iteration       {1}/  100 | consumed samples:           32 | consumed tokens:  65536 | "
    "elapsed time per iteration (ms): 2500.0 | learning rate: 1.000E-04 | "
    "global batch size:    16 | lm loss: {2}.5E+00 | loss scale: 1.0 | grad norm: 0.750 | "
    "samples per second: 12.8 | TFLOPs: 30.00 |\n"
)
PLAN = {
    "gpus": 4,
    "steps": 100,
    "step_seconds": 2.0,
    "mfu": 0.5,
    "tokens_per_second_per_gpu": 100.0,
    "batch": {"global": 8},
}


@pytest.fixture(params=[MEGATRON_LM, MEGATRON_DEEPSPEED])
def folder(run_with: RunWith, request: pytest.FixtureRequest) -> Path:
    """A run whose launcher's log holds three iterations and a checkpoint."""
    folder = run_with()
    (folder / "plan.json").write_text(json.dumps(PLAN))
    note(folder, "launched")
    lines = [request.param.format(step, step, 9 - step) for step in (1, 2, 3)]
    saved = "  successfully saved checkpoint from iteration       2 to /ck\n"
    text = f"llmtrain: life 1 begins after step 0\n{lines[0]}{lines[1]}{saved}{lines[2]}"
    (folder / "logs" / "launcher.log").write_text(text)
    return folder


def test_iterations_are_rows(folder: Path) -> None:
    """Step time, loss, rate and norm; tokens by the plan's own sequence, 100 tokens long."""
    found = rows(folder)

    assert [row["step"] for row in found] == [1, 2, 3]
    assert found[2] == {
        "step": 3,
        "loss": 6.5,
        "learning_rate": 1e-4,
        "grad_norm": 0.75,
        "step_seconds": 2.5,
        "tokens_per_second": 16 * 100 / 2.5,
    }
    assert losses(folder) == [(1, 8.5), (2, 7.5), (3, 6.5)]


def test_such_a_run_has_a_state_and_a_plan_beside_it(folder: Path) -> None:
    """It runs although it wrote no event, and its MFU is that of 640 tokens a second of 400."""
    state = read_state(folder, "here")
    detail = read_detail(state)

    assert (state.status, state.step, state.loss, state.checkpoint) == ("running", 3, 6.5, 2)
    assert detail.mfu == pytest.approx(0.5 * 640 / 400)
    assert detail.deviation == pytest.approx(0.25)


def test_a_new_life_starts_before_its_first_step(folder: Path) -> None:
    """Iterations of the life before do not make it run."""
    with (folder / "logs" / "launcher.log").open("a") as log:
        log.write("llmtrain: life 2 begins after step 0\nloading\n")
    note(folder, "launched")

    assert read_state(folder, "here").status == "starting"


def test_the_last_rank_of_the_newest_life_counts(run_with: RunWith) -> None:
    """Each life may have it on another node, whose name says nothing of when."""
    folder = run_with()
    for node, steps, when in (("n2", (1, 2), 100), ("n1", (2, 3), 200)):
        for rank in (1, 10):
            log = folder / "logs" / node / f"rank-{rank}.log"
            log.parent.mkdir(exist_ok=True)
            with log.open("a") as file:
                lines = [MEGATRON_LM.format(step, step, 9 - step) for step in steps]
                file.writelines(lines if rank == 10 else ["loading\n"])
            os.utime(log, (when, when))
    (folder / "logs" / "launcher.log").touch()

    assert [row["step"] for row in rows(folder)] == [1, 2, 2, 3]


@pytest.mark.parametrize("word", ["INF", "NAN", "-INF", "1E999"])
@pytest.mark.parametrize("form", [MEGATRON_LM, MEGATRON_DEEPSPEED])
def test_a_loss_that_is_no_finite_number_is_null(run_with: RunWith, form: str, word: str) -> None:
    """And so is every other number of such a line."""
    folder = run_with()
    (folder / "plan.json").write_text(json.dumps(PLAN))
    lines = [form.format(step, step, 9 - step) for step in (1, 2, 3)]
    wild = lines[2].replace("6.5E+00", word).replace("2500.0", word).replace("0.750", word)
    (folder / "logs" / "launcher.log").write_text("".join((*lines[:2], wild)))
    last, state = rows(folder)[-1], read_state(folder)

    assert (last["loss"], last["grad_norm"], "step_seconds" in last) == (None, None, False)
    assert (state.step, state.loss, state.step_seconds) == (3, None, None)
    assert "llmtrain_loss" not in prometheus.text([(state, read_detail(state))])
    assert losses(folder) == [(1, 8.5), (2, 7.5)]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_live_view_of_a_loss_that_is_no_number(run_with: RunWith, terminal: bool) -> None:
    """It says so."""
    folder = run_with()
    wild = MEGATRON_LM.format(1, 1, 9).replace("9.5E+00", "NAN")
    (folder / "logs" / "launcher.log").write_text(wild)
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal)
    looks = iter((True, False))
    follow(folder, lambda: next(looks), console)

    assert isinstance(console.file, io.StringIO)
    assert "no finite loss" in console.file.getvalue()


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "null"])
def test_rows_of_an_older_trainer_hold_null_too(run_with: RunWith, word: str) -> None:
    """``NaN`` and its like are no JSON."""
    folder = run_with()
    row = f'{{"step": 1, "loss": {word}, "step_seconds": {word}, "tokens_per_second": {word}}}'
    (folder / "metrics.jsonl").write_text(f"{row}\n")
    state = read_state(folder)

    assert (state.loss, state.step_seconds, state.tokens_per_second) == (None, None, None)


REPORT = (
    "[Rank {}] (after {} iterations) memory (MB) | allocated: 2000.5 | max allocated: {} | "
    "reserved: 60000.0 | max reserved: 70000.0{}\n"
)
"""The rest of the line depends on the release."""
STAGES = {
    "parallel": {"tp": 2, "cp": 1, "dp": 4, "pp": 2},
    "stages": [{"memory": {"total": 48_000 * 2**20}}] * 2,
}
"""Ranks 0, 1, 8 and 9 report; in the other order 0 to 3."""


@pytest.mark.parametrize(
    ("rest", "order", "second"),
    [
        ("", "tp-cp-ep-dp-pp", 8),
        (" | total device memory used: 71000.00", "tp-cp-ep-pp-dp", 2),
    ],
)
def test_memory_is_what_a_rank_of_each_stage_reports(
    run_with: RunWith, rest: str, order: str, second: int
) -> None:
    """In the launcher's log; of each rank the newest counts, of a stage the rank with the most."""
    folder = run_with()
    plan = PLAN | STAGES
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "recipe.yaml").write_text(f"parallel: {{order: {order}}}\n")
    said = [(0, 1, "40000.0"), (second, 1, "30000.25"), (0, 2, "50000.0"), (1, 2, "50001.5")]
    said += [(second, 2, "45000.25"), (second + 1, 2, "45000.0")]
    lines = [MEGATRON_LM.format(1, 1, 8), *(REPORT.format(*each, rest) for each in said)]
    steps = [MEGATRON_LM.format(step % 10, step, 7) for step in range(2, 2000)]
    (folder / "logs" / "launcher.log").write_text("".join((*lines, *steps)))
    state = read_state(folder)

    assert state.memory_bytes == int(50001.5 * 2**20)
    assert read_detail(state).memory_by_stage == (
        (int(50001.5 * 2**20), 48_000 * 2**20),
        (int(45000.25 * 2**20), 48_000 * 2**20),
    )


def test_memory_is_read_from_the_logs_of_the_ranks(run_with: RunWith) -> None:
    """A stage that has not said it yet is left open; the most that is known counts."""
    folder = run_with()
    (folder / "plan.json").write_text(json.dumps(PLAN | STAGES))
    for rank in (0, 8, 15):
        log = folder / "logs" / f"n{rank // 8}" / f"rank-{rank}.log"
        log.parent.mkdir(exist_ok=True)
        report = REPORT.format(rank, 2, f"{rank}.5", "") if rank == 8 else ""
        log.write_text(report + MEGATRON_LM.format(2, 2, 7))
    state = read_state(folder)

    assert state.memory_bytes == int(8.5 * 2**20)
    assert read_detail(state).memory_by_stage == ()

"""What runs show of their plan, with an error that says how much of it is known."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import exp, sqrt
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import RunError, UsageError
from llmtrain.config.files import dump_recipe
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.plan import make_plan, plan_json
from llmtrain.planner.stacks import stack_of
from llmtrain.planner.step import recipe_step
from llmtrain.runs.calibrate import Measured, calibration_of, measure

Run = Callable[..., Measured]
NOISE = (0.999, 1.001)
"""Steps are so much faster or slower in turn."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that took so many times its plan, step by step."""

    def made(
        name: str, factor: float, *changes: str, memory: float = 1.0, steps: int = 40
    ) -> Measured:
        recipe = compose(["recipe=llama2-7b", "gpus=16", *changes])
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.yaml").write_text(dump_recipe(recipe))
        planned = recipe_step(recipe)
        assert planned is not None
        peaks = peak_memory(recipe)
        states = [peak.memory.model_states for peak in peaks]
        moved = [memory * (p.allocated - s) for p, s in zip(peaks, states, strict=True)]
        stages = [round(s + m) for s, m in zip(states, moved, strict=True)]
        seconds = (factor * float(planned.seconds) * NOISE[n % 2] for n in range(steps))
        write(folder, seconds, stages)
        return measure(folder)

    return made


def write(folder: Path, seconds: Iterable[float], stages: list[int]) -> None:
    """Steps; the first of them, which is done once, takes long."""
    rows = [
        {"step": n, "loss": 2.0, "step_seconds": each, "stage_memory_bytes": stages}
        for n, each in enumerate([100.0, *seconds], start=1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "events.jsonl").write_text('{"event": "started", "step": 0}\n')


def test_one_shape(run: Run) -> None:
    """The step's factor is that of the runs, memory's half of it: the plan is one shape too."""
    found = calibration_of([run("a", 1.2, memory=1.3), run("b", 1.3, memory=1.3)])
    prior = stack_of(found.stack).error

    assert found.step_factor == pytest.approx(sqrt(1.2 * 1.3), rel=1e-3)
    assert found.step_error == pytest.approx(prior, rel=0.01)
    assert found.memory_factor == pytest.approx(1.15, rel=1e-3)
    assert (found.cluster, found.runs) == ("dgx-h100", ("a", "b"))


@pytest.mark.parametrize(("first", "measured"), [(1, 0), (2, 2)])
def test_memory_that_megatron_lm_reports(tmp_path: Path, first: int, measured: int) -> None:
    """After the second step; the report after the first does not know Adam's moments yet."""
    recipe = compose(["recipe=gpt3-126m", "gpus=16", "parallel.pp=2"])
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    plan = plan_json(make_plan(recipe))
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    said = "[Rank {}] (after {} iterations) memory (MB) | allocated: 1.0 | max allocated: 50000.0 |"
    step = "iteration {}/ 100 | elapsed time per iteration (ms): 2500.0 | lm loss: 2.5E+00 |"
    lines = [said.format(rank, first) for rank in (0, 8)]
    lines += [step.format(number) for number in range(1, 12)]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "launcher.log").write_text("\n".join(lines) + "\n")
    stages = measure(tmp_path).stages

    assert [stage.measured for stage in stages] == [50_000 * 2**20] * measured
    found = calibration_of([measure(tmp_path)])
    assert (found.memory_factor != 1) == bool(measured)


def test_the_range_narrows_with_shapes(run: Run) -> None:
    """That agree; those that do not widen it."""
    other = ("batch.micro=2",)
    third = ("parallel.tp=2",)
    prior = stack_of(run("z", 1.0).setting["stack"]).error
    agree = calibration_of([run("a", 1.2), run("b", 1.2, *other), run("c", 1.2, *third)])
    differ = calibration_of([run("d", 1.0), run("e", 1.44, *other)])

    assert agree.step_error == pytest.approx(prior / sqrt(3), rel=0.01)
    assert differ.step_factor == pytest.approx(1.2, rel=1e-3)
    assert differ.step_error is not None and differ.step_error > 0.18 > exp(prior) - 1


def test_a_corrected_run_is_measured_against_the_plan_itself(run: Run) -> None:
    """Whatever its own plan was corrected by: calibrating twice gives the same."""
    plain = run("a", 1.2)
    own = (
        "calibration.step_factor=1.2",
        *(f"calibration.{k}={v}" for k, v in plain.setting.items()),
    )

    assert run("b", 1.0, *own).factor == pytest.approx(plain.factor, rel=1e-3)


def test_what_cannot_be_measured(run: Run) -> None:
    """A run of few steps, and runs that have not the same to be corrected."""
    with pytest.raises(RunError, match="short has 5 steps to measure; 8 are needed"):
        run("short", 1.0, steps=5)
    with pytest.raises(RunError, match="nothing can be corrected"):
        calibration_of([replace(run("bare", 1.0), planned=None, stages=())])
    with pytest.raises(UsageError, match="the runs are of 2 settings"):
        calibration_of([run("a", 1.0), run("b", 1.0, "precision=fp16")])

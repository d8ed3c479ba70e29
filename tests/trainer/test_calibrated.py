"""Real runs of one shape correct the plan of another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmtrain.planner.memory import peak_memory
from llmtrain.runs.calibrate import calibration_of, measure

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab


def test_memory_of_another_shape(lab: Lab, shapes: dict[str, dict[str, Any]]) -> None:
    """Two runs of a GPT; a wider one with longer sequences is planned nearer to what it takes."""
    runs = [lab.trial(10, run={"steps": 10, "seed": seed}).train() for seed in (1, 2)]
    wider = shapes["gpt"] | {"hidden": 64, "seq": 64, "layers": 6}
    other = lab.trial(10, model=wider).train()

    found = calibration_of([measure(run.folder) for run in runs])

    (stage,) = measure(other.folder).stages
    (before,) = peak_memory(other.recipe)
    (after,) = peak_memory(replace(other.recipe, calibration=found))
    off = [abs(peak.allocated / stage.measured - 1) for peak in (before, after)]
    assert off[1] < off[0], off
    assert found.memory_error is not None and off[1] < 2 * found.memory_error

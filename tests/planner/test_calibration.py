"""A measured correction: where it is applied, what it changes, and where it is not."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llmtrain.config.calibration import Calibration
from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.planner.calibration import calibrated, measured_on
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.plan import make_plan, plan_json


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Llama 2 on H100."""
    return compose(["recipe=llama2-7b", "gpus=16"])


def corrected(recipe: Recipe, **changed: object) -> Recipe:
    """With a correction that was measured on what it runs on."""
    factors = {"step_factor": 1.5, "step_error": 0.02, "memory_factor": 1.2, "memory_error": 0.01}
    return replace(recipe, calibration=Calibration(**(measured_on(recipe) | factors | changed)))  # type: ignore[arg-type]


def test_the_step_and_all_that_follows_from_it(recipe: Recipe) -> None:
    """Step, breakdown and days by the factor, the range by the error that is left."""
    plain, own = plan_json(make_plan(recipe)), plan_json(make_plan(corrected(recipe)))

    assert own["step_seconds"] == pytest.approx(1.5 * plain["step_seconds"])
    assert sum(own["breakdown"].values()) == pytest.approx(own["step_seconds"])
    low, high = own["step_seconds_range"]
    assert (low, high) == pytest.approx((0.98 * own["step_seconds"], 1.02 * own["step_seconds"]))
    assert own["mfu"] == pytest.approx(plain["mfu"] / 1.5)
    assert own["days"] == pytest.approx(1.5 * plain["days"])
    assert (plain["calibration"], own["calibration"]["step_factor"]) == (None, 1.5)


def test_memory_but_for_the_states(recipe: Recipe) -> None:
    """Weights, gradients and optimizer are exact; the context is the same at every moment."""
    for plain, own in zip(peak_memory(recipe), peak_memory(corrected(recipe)), strict=True):
        assert own.memory.model_states == plain.memory.model_states
        assert own.memory.activations == pytest.approx(1.2 * plain.memory.activations, abs=2)
        moving = plain.allocated - plain.memory.model_states
        assert own.allocated - own.memory.model_states == pytest.approx(1.2 * moving, abs=4)


@pytest.mark.parametrize("other", ["cluster", "gpu", "backend", "stack", "precision"])
def test_it_is_for_nothing_else(recipe: Recipe, other: str) -> None:
    """Measured elsewhere it changes nothing, and the plan says so."""
    plain, own = make_plan(recipe), make_plan(corrected(recipe, **{other: "elsewhere"}))

    assert own.speed == plain.speed
    assert own.peak_memory_bytes == plain.peak_memory_bytes
    (warning,) = set(own.warnings) - set(plain.warnings)
    assert warning.code == "other_calibration" and f"{other} 'elsewhere'" in warning.message


def test_it_can_be_switched_off(recipe: Recipe) -> None:
    """By one key."""
    off = corrected(recipe, use=False)

    assert make_plan(off).speed == make_plan(recipe).speed
    assert plan_json(make_plan(off))["calibration"] is None


def test_it_is_found_by_what_it_was_measured_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's folders, whatever the file's name; another cluster's is passed over."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "llmtrain" / "calibration"
    folder.mkdir(parents=True)
    here = measured_on(recipe) | {"step_factor": 1.25}
    (folder / "a.yaml").write_text(yaml.safe_dump(here | {"cluster": "elsewhere"}))
    assert calibrated(recipe) == recipe

    (folder / "b.yaml").write_text(yaml.safe_dump(here))

    assert calibrated(recipe).calibration.step_factor == 1.25
    off = replace(recipe, calibration=Calibration(use=False))
    assert calibrated(off) == off
    (folder / "a.yaml").write_text("step_factor: fast")
    with pytest.raises(RecipeError, match="step_factor"):
        calibrated(recipe)

"""The loss on tokens that are not trained on: measured on every layout, and without a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

ASKED: dict[str, Any] = {"data": {"kind": "mock", "validation": {"interval": 2, "batches": 3}}}

OVERLAP = {"lr": 1e-2, "zero": 1, "overlap_grad_reduce": True, "overlap_param_gather": True}

LAYOUTS: dict[str, dict[str, Any]] = {
    "tp 2": {"gpus": 2, "parallel": {"tp": 2}},
    "cp 2": {"gpus": 2, "parallel": {"cp": 2}},
    "pp 2, vpp 2": {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}},
    "dp 2, gathering overlapped": {"gpus": 2, "optim": OVERLAP},
}
"""Each has a schedule or hooks of its own in megatron-core."""


def validations(trial: Trial) -> dict[int, float]:
    """Validation loss by step."""
    rows = [row for row in trial.lines("metrics") if "validation_loss" in row]
    assert not any("loss" in row for row in rows)
    return {row["step"]: row["validation_loss"] for row in rows}


def losses(trial: Trial) -> dict[int, float]:
    """Training loss by step."""
    return {row["step"]: row["loss"] for row in trial.lines("metrics") if "loss" in row}


@pytest.fixture(scope="module")
def one_rank(module_lab: Lab, shapes: dict[str, dict[str, Any]]) -> Trial:
    """With dropout; the second of two validations is after the last step."""
    model = shapes["gpt"] | {"dropout": 0.1}
    return module_lab.trial(3, model=model, **ASKED).train()


def test_validation_leaves_no_trace(
    lab: Lab, one_rank: Trial, shapes: dict[str, dict[str, Any]]
) -> None:
    """The losses of training are bit for bit those of a run without it, dropout included."""
    plain = lab.trial(3, model=shapes["gpt"] | {"dropout": 0.1}).train()

    assert list(validations(one_rank)) == [2, 3]
    assert losses(one_rank) == losses(plain)


def test_a_validation_is_the_loss_of_a_step_on_its_samples(
    lab: Lab, shapes: dict[str, dict[str, Any]]
) -> None:
    """With weights that do not move: what a step without dropout finds on the samples held out."""
    frozen = {"lr": 1e-30, "weight_decay": 0.0}
    held = {"kind": "mock", "validation": {"interval": 2, "batches": 1}}
    short = lab.trial(2, optim=frozen, data=held, model=shapes["gpt"] | {"dropout": 0.3}).train()
    # The made-up samples held out are those behind the last step's.
    longer = lab.trial(3, optim=frozen).train()

    assert validations(short)[2] == pytest.approx(losses(longer)[3], abs=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_validation_does_not_depend_on_the_layout(
    lab: Lab, layout: str, whole: dict[int, float]
) -> None:
    """Every layout measures what one rank does."""
    trial = lab.trial(3, **ASKED, **LAYOUTS[layout]).train()

    assert validations(trial) == pytest.approx(whole, abs=1e-5)


@pytest.fixture(scope="module")
def whole(module_lab: Lab) -> dict[int, float]:
    """What one rank measures without dropout."""
    return validations(module_lab.trial(3, **ASKED).train())

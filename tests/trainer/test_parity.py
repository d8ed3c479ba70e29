"""The proof that the layouts are right: the same recipe gives the same losses on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.trainer.compared import TOLERANCE
from tests.trainer.layouts import CASES, PLAIN, zero

if TYPE_CHECKING:
    from tests.trainer.compared import Runs

NORM_TOLERANCE = 1e-4
"""Of the norm of the gradients, relative; 1e-5 was measured in the last step.

Adam hardly sees a wrong factor in its gradients; their norm does.
"""

RAMP = {"micro": 1, "global": 8, "ramp": {"start": 2, "step": 2, "samples": 12}}


@pytest.mark.parametrize(
    ("shape", "keys"),
    [pytest.param(shape, keys, id=f"{shape}: {name}") for shape, name, keys in CASES],
)
def test_losses_do_not_depend_on_the_layout(runs: Runs, shape: str, keys: dict[str, Any]) -> None:
    """fp32 steps on a layout give the losses of one rank, padded vocabulary included."""
    alone, trial = runs.alone(shape), runs.run(shape, **keys)

    assert trial.losses() == pytest.approx(alone.losses(), abs=TOLERANCE)
    assert trial.norms() == pytest.approx(alone.norms(), rel=NORM_TOLERANCE)


def test_a_batch_ramp_takes_its_samples_in_turn(runs: Runs) -> None:
    """On a ramp the batch grows as Megatron's does, and two stages give one rank's losses."""
    alone = runs.run("gpt", batch=RAMP)
    trial = runs.run("gpt", batch=RAMP, gpus=2, parallel={"pp": 2})
    tokens = [row["tokens_per_second"] * row["step_seconds"] for row in trial.lines("metrics")]

    assert [round(count / 32) for count in tokens] == [2, 2, 4, 6, 8, 8, 8, 8]
    assert trial.losses() == pytest.approx(alone.losses(), abs=TOLERANCE)


@pytest.mark.parametrize("parallel", [{}, {"pp": 2}])
def test_a_batch_ramp_by_deepspeed(runs: Runs, parallel: dict[str, Any]) -> None:
    """Its number of micro-batches grows with the ramp, with and without stages."""
    alone = runs.run("gpt", batch=RAMP)
    trial = runs.run("gpt", batch=RAMP, gpus=2, parallel=parallel, backend=PLAIN, optim=zero(1))

    assert trial.losses() == pytest.approx(alone.losses(), abs=TOLERANCE)


@pytest.mark.parametrize("shape", ["gpt", "llama", "experts", "deepseek"])
def test_the_model_learns(runs: Runs, shape: str) -> None:
    """The losses that are compared do fall, so equal losses mean equal training."""
    losses = list(runs.alone(shape).losses().values())

    assert losses[0] == pytest.approx(5.52, abs=0.1)
    assert losses[-1] < losses[0] - 0.03

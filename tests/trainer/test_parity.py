"""The proof that the layouts are right: the same recipe gives the same losses on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

STEPS = 10

TOLERANCE = 1e-5
"""Nats; 6e-7 was measured."""

ADAM = {"lr": 3e-3}

DISTRIBUTED = ADAM | {"zero": 1, "overlap_grad_reduce": True, "overlap_param_gather": True}

LAYOUTS: dict[str, dict[str, Any]] = {
    "tp 2": {"gpus": 2, "parallel": {"tp": 2}},
    "pp 2": {"gpus": 2, "parallel": {"pp": 2}},
    "dp 2": {"gpus": 2},
    "dp 2, distributed optimizer": {"gpus": 2, "optim": DISTRIBUTED},
    "tp 2, pp 2": {"gpus": 4, "parallel": {"tp": 2, "pp": 2}},
    "tp 2, dp 2": {"gpus": 4, "parallel": {"tp": 2}},
    "tp 2 with sequence parallel": {"gpus": 2, "parallel": {"tp": 2, "sequence": True}},
    "pp 2, vpp 2": {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}},
    "uneven pp 3": {"gpus": 3, "parallel": {"pp": 3, "layers_per_stage": [1, 2, 1]}},
    "full recompute": {"recompute": {"kind": "full"}},
    "selective recompute": {"recompute": {"kind": "selective"}},
}
"""Recipe keys that must not change the losses; each line a case."""

Losses = dict[str, list[float]]


@pytest.fixture(scope="module")
def one_rank(module_lab: Lab, shapes: dict[str, dict[str, Any]]) -> Losses:
    """Losses of each shape on one rank."""
    runs = {
        name: module_lab.trial(STEPS, model=shape, optim=ADAM) for name, shape in shapes.items()
    }
    return {name: list(trial.train().losses().values()) for name, trial in runs.items()}


@pytest.mark.parametrize("shape", ["gpt", "llama"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_losses_do_not_depend_on_the_layout(
    lab: Lab, one_rank: Losses, shapes: dict[str, dict[str, Any]], layout: str, shape: str
) -> None:
    """Ten fp32 steps on a layout give the losses of one rank, padded vocabulary included."""
    groups = {"optim": ADAM, "model": shapes[shape]} | LAYOUTS[layout]

    trial = lab.trial(STEPS, **groups).train()

    assert list(trial.losses().values()) == pytest.approx(one_rank[shape], abs=TOLERANCE)


@pytest.mark.parametrize("shape", ["gpt", "llama"])
def test_the_model_learns(one_rank: Losses, shape: str) -> None:
    """The losses that are compared do fall, so equal losses mean equal training."""
    losses = one_rank[shape]

    assert losses[0] == pytest.approx(5.52, abs=0.1)
    assert losses[-1] < losses[0] - 0.04

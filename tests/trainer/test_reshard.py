"""A run goes on in another layout than the one that wrote the checkpoint, as if nothing was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

TOLERANCE = 1e-4
"""Nats; with the moments of the optimizer lost, or put in the wrong place, it is more than 1e-2."""

TP2_PP2 = {"gpus": 4, "parallel": {"tp": 2, "pp": 2}}
TP2 = {"gpus": 2, "parallel": {"tp": 2}}
PP2 = {"gpus": 2, "parallel": {"pp": 2}}
DP2 = {"gpus": 2}
DP1 = {"gpus": 1}

CHAIN: tuple[dict[str, Any], ...] = (TP2_PP2, DP2, DP1, DP2, TP2_PP2, PP2, TP2, PP2)
"""One run through all of them: each pair of neighbours is a direction."""

LEG = 2
"""Steps in each."""


@pytest.mark.parametrize("zero", [0, 1])
def test_a_run_goes_on_in_another_layout(lab: Lab, zero: int) -> None:
    """The losses are those of one rank, with and without the distributed optimizer."""
    steps = LEG * len(CHAIN)
    same: dict[str, Any] = {"optim": {"lr": 1e-2, "zero": zero}}
    whole = lab.trial(steps, **same).train()
    moving = lab.trial(LEG, **same)

    for number, layout in enumerate(CHAIN, start=1):
        moving.change(steps=number * LEG, **same, **layout)
        assert moving.verdict() == ("resharded" if number > 1 else "none")
        assert not any(moving.statuses(layout["gpus"])), moving.logs()

    assert moving.losses() == pytest.approx(whole.losses(), abs=TOLERANCE)
    resumed = [step for event, step in moving.events() if event == "resumed"]
    assert resumed == [number * LEG for number in range(1, len(CHAIN))]


def test_another_optimizer_cannot_read_the_state(lab: Lab) -> None:
    """A checkpoint of the plain optimizer is refused by the distributed one, by the key's name."""
    trial = lab.trial(1).train()
    trial.change(steps=2, optim={"lr": 1e-2, "zero": 1})
    assert trial.verdict() == "no"

    assert trial.statuses(1) == [6]
    says = "step-00000001 was written with `optim.zero` = 0, not 1"
    assert trial.lines("events")[-1]["error"] == says

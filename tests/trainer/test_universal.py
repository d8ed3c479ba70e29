"""With DeepSpeed's engine too a run goes on in another layout, by its universal checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

TOLERANCE = 1e-5
"""Nats; 3e-7 was measured. A matrix that is put together the wrong way gives 5e-2."""

BACKEND = {"name": "megatron-core+deepspeed"}


def layout(gpus: int, zero: int, **parallel: Any) -> dict[str, Any]:
    """Recipe keys."""
    return {"gpus": gpus, "optim": {"lr": 3e-3, "zero": zero}, "parallel": parallel}


CHAINS: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "dp and tp": (
        "llama",
        (layout(2, 1), layout(4, 1, tp=2), layout(2, 1, tp=2), layout(1, 1), layout(2, 2)),
    ),
    "stages": (
        "gpt",
        (layout(4, 1, pp=2), layout(2, 1, pp=2), layout(4, 1, pp=2, tp=2), layout(4, 1, pp=4)),
    ),
    "experts": (
        "experts",
        (layout(4, 1, ep=2), layout(4, 2, ep=2, tp=2, sequence=True), layout(2, 1)),
    ),
    "experts and stages": ("experts", (layout(4, 1, pp=2, ep=2), layout(2, 1, pp=2))),
    "ZeRO-3": ("experts", (layout(2, 3), layout(1, 3), layout(2, 3))),
    "without ZeRO": ("gpt", (layout(2, 0), layout(1, 0))),
}
"""Shape and layouts, one after the other."""

LEG = 2
"""Steps in each."""


@pytest.mark.parametrize("chain", CHAINS)
def test_a_run_goes_on_in_another_layout(
    lab: Lab, shapes: dict[str, dict[str, Any]], chain: str
) -> None:
    """The losses are those of the first layout, which never stopped."""
    shape, layouts = CHAINS[chain]
    same: dict[str, Any] = {"model": shapes[shape], "backend": BACKEND}
    whole = lab.trial(LEG * len(layouts), **same, **layouts[0]).train()
    moving = lab.trial(LEG, **same)

    for number, keys in enumerate(layouts, start=1):
        moving.change(steps=number * LEG, **same, **keys)
        assert moving.verdict() == ("resharded" if number > 1 else "none")
        assert not any(moving.statuses(keys["gpus"])), moving.logs()

    assert moving.losses() == pytest.approx(whole.losses(), abs=TOLERANCE)
    resumed = [step for event, step in moving.events() if event == "resumed"]
    assert resumed == [number * LEG for number in range(1, len(layouts))]
    assert all(name.startswith("step-") and len(name) == 13 for name in moving.checkpoints())


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (layout(2, 1), layout(2, 3), "was written with ZeRO-1 or 2, and this run is with ZeRO-3"),
        (layout(1, 0), layout(1, 1), "was written without ZeRO, and this run is with ZeRO-1 or 2"),
        (layout(2, 3, tp=2), layout(4, 3, tp=2), "ZeRO-3 with tensor parallel in its own layout"),
        (layout(2, 3, ep=2), layout(4, 3, ep=2), "ZeRO-3 with expert parallel in its own layout"),
    ],
)
def test_what_cannot_be_read_is_refused(
    lab: Lab,
    shapes: dict[str, dict[str, Any]],
    before: dict[str, Any],
    after: dict[str, Any],
    says: str,
) -> None:
    """The run fails with the reason; the checkpoint stays as it is."""
    shape = "experts" if before["parallel"].get("ep") else "gpt"
    same: dict[str, Any] = {"model": shapes[shape], "backend": BACKEND}
    trial = lab.trial(1, **same, **before).train()
    trial.change(steps=2, **same, **after)
    assert trial.verdict() == "no"

    assert any(trial.statuses(after["gpus"]))
    assert says in trial.lines("events")[-1]["error"]
    assert trial.checkpoints() == ["step-00000001"]


def test_the_engines_do_not_read_each_other(lab: Lab) -> None:
    """Each says that the checkpoint is not its own."""
    engines = ("megatron-core", BACKEND["name"])
    for first, second in (engines, engines[::-1]):
        trial = lab.trial(1, backend={"name": first}).train()
        trial.change(steps=2, backend={"name": second})
        assert trial.verdict() == "no"

        assert trial.statuses(1) == [6]
        assert "was not written by" in trial.lines("events")[-1]["error"]

"""bf16 and fp16 follow fp32, and the loss scale of fp16 follows its overflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.trainer.compared import STEPS, TOLERANCE
from tests.trainer.layouts import DISTRIBUTED, PLAIN, zero

if TYPE_CHECKING:
    from tests.trainer.compared import Runs

FP16 = {"kind": "fp16", "initial_loss_scale": 4096.0}


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ("llama", {"optim": zero(1)}),
        ("llama", {"optim": zero(3)}),
        # megatron-core makes learned positions in fp32, whatever the weights are.
        ("gpt", {"optim": zero(3)}),
        ("llama", {"optim": zero(1), "parallel": {"pp": 2}}),
    ],
)
def test_bf16_by_deepspeed_follows_fp32(runs: Runs, shape: str, keys: dict[str, Any]) -> None:
    """The losses are those of fp32, nearly, with an fp32 copy of the weights cut over the ranks."""
    alone = runs.alone(shape)
    half = runs.run(shape, gpus=2, precision={"kind": "bf16"}, backend=PLAIN, **keys)

    assert half.losses() == pytest.approx(alone.losses(), abs=5e-3)
    assert half.losses() != pytest.approx(alone.losses(), abs=TOLERANCE)
    assert half.norms() == pytest.approx(alone.norms(), rel=5e-2)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"optim": DISTRIBUTED},
        {"backend": PLAIN, "optim": zero(1)},
        {"backend": PLAIN, "optim": zero(2) | {"offload": True}},
        {"backend": PLAIN, "optim": zero(3)},
        {"backend": PLAIN, "optim": zero(1), "parallel": {"pp": 2}},
    ],
)
def test_fp16_follows_fp32(runs: Runs, keys: dict[str, Any]) -> None:
    """With a loss scale that does not overflow fp16 gives the losses of fp32, nearly."""
    alone, half = runs.alone("llama"), runs.run("llama", gpus=2, precision=FP16, **keys)

    assert half.losses() == pytest.approx(alone.losses(), abs=2e-3)
    assert half.losses() != pytest.approx(alone.losses(), abs=TOLERANCE)
    assert half.norms() == pytest.approx(alone.norms(), rel=1e-2)


@pytest.mark.parametrize("keys", [{}, {"gpus": 2, "optim": DISTRIBUTED}])
def test_fp16_resumes_before_its_first_update(runs: Runs, keys: dict[str, Any]) -> None:
    """Moments and loss scale are saved where every step so far has overflowed."""
    high = FP16 | {"initial_loss_scale": 2.0**22}
    whole, broken = (runs.trial("llama", precision=high, **keys) for _ in range(2))
    broken.ask("stop")

    for trial in (whole, broken, broken):
        trial.train()

    assert [kind for kind, _ in broken.events()][1:4] == ["overflow", "checkpoint", "stopped"]
    assert broken.losses() == whole.losses()


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"gpus": 2, "backend": PLAIN, "optim": zero(1)},
        {"gpus": 2, "backend": PLAIN, "optim": zero(3)},
        {"gpus": 2, "backend": PLAIN, "optim": zero(1), "parallel": {"pp": 2}},
    ],
)
def test_an_overflow_skips_the_step_and_halves_the_scale(runs: Runs, keys: dict[str, Any]) -> None:
    """Skipped steps are events with the scale that overflowed; the weights are left alone."""
    trial = runs.run("llama", precision=FP16 | {"initial_loss_scale": 2.0**24}, **keys)
    skipped = [line for line in trial.lines("events") if line["event"] == "overflow"]
    scales = [line["loss_scale"] for line in skipped]

    assert scales[:2] == [2.0**24, 2.0**24]
    assert scales[2:] == [2.0 ** (23 - number) for number in range(len(scales) - 2)]
    assert 2 < len(scales) < STEPS
    assert [step for step, norm in trial.norms().items() if norm is None] == [
        line["step"] for line in skipped
    ]

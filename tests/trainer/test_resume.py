"""A run that was broken off and resumed is the run without the break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

DEEPSPEED: dict[str, Any] = {"backend": {"name": "megatron-core+deepspeed"}}

ZERO = {stage: {"lr": 1e-2, "zero": stage} for stage in (1, 2, 3)}

FP16 = {"kind": "fp16", "initial_loss_scale": 2.0**12}

OFFLOADED = ZERO[2] | {"offload": True}

CASES: dict[str, dict[str, Any]] = {
    "one rank": {},
    "tp 2 with dropout": {"gpus": 2, "parallel": {"tp": 2}},
    "pp 2, vpp 2, tied embeddings": {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}},
    "dp 2, distributed optimizer": {"gpus": 2, "optim": {"lr": 1e-2, "zero": 1}},
    "DeepSpeed, dp 2, ZeRO-0": {"gpus": 2} | DEEPSPEED,
    "DeepSpeed, tp 2, ZeRO-1": {"gpus": 2, "parallel": {"tp": 2}, "optim": ZERO[1]} | DEEPSPEED,
    "DeepSpeed, dp 2, ZeRO-2, offload, dropout": {"gpus": 2, "optim": OFFLOADED} | DEEPSPEED,
    "DeepSpeed, dp 2, ZeRO-3": {"gpus": 2, "optim": ZERO[3]} | DEEPSPEED,
    "DeepSpeed, dp 2, ZeRO-2, fp16": {"gpus": 2, "optim": ZERO[2], "precision": FP16} | DEEPSPEED,
    "DeepSpeed, pp 2, dp 2, ZeRO-1": {"gpus": 4, "parallel": {"pp": 2}, "optim": ZERO[1]}
    | DEEPSPEED,
    "DeepSpeed, experts, ep 2, dp 4, ZeRO-0": {"gpus": 4, "parallel": {"ep": 2}} | DEEPSPEED,
    "DeepSpeed, experts, ep 2, ZeRO-3": {"gpus": 2, "parallel": {"ep": 2}, "optim": ZERO[3]}
    | DEEPSPEED,
    "DeepSpeed, experts, ep 2, pp 2, ZeRO-1": {
        "gpus": 4,
        "parallel": {"ep": 2, "pp": 2},
        "optim": ZERO[1],
    }
    | DEEPSPEED,
}


@pytest.mark.parametrize("case", CASES)
def test_resume_is_exact(lab: Lab, shapes: dict[str, dict[str, Any]], case: str) -> None:
    """After a stop and a resume every loss is bit for bit that of the run without a break."""
    groups = dict(CASES[case])
    if "experts" in case:
        groups["model"] = shapes["experts"]
    if "dropout" in case:
        groups["model"] = shapes["llama"] | {"dropout": 0.2}
    whole, broken = lab.trial(**groups), lab.trial(**groups)
    broken.ask("stop")

    whole.train()
    broken.train()
    assert broken.events() == [("started", 0), ("checkpoint", 1), ("stopped", 1)]
    # What a killed process leaves behind is not taken for a checkpoint.
    (broken.folder / "checkpoints" / "step-00000003.partial").mkdir()
    broken.train()

    assert broken.losses() == whole.losses()
    assert broken.events()[3:] == [("resumed", 1), ("checkpoint", 4), ("finished", 4)]


def test_bf16_follows_fp32_and_resumes_exactly(lab: Lab) -> None:
    """With bf16 the losses are within 0.02 of fp32, and a resume keeps the fp32 copies exact."""
    half: dict[str, Any] = {"precision": {"kind": "bf16"}}
    full, whole, broken = lab.trial(), lab.trial(**half), lab.trial(**half)
    broken.ask("stop")

    for trial in (full, whole, broken, broken):
        trial.train()

    assert whole.losses() == pytest.approx(full.losses(), abs=0.02)
    assert whole.losses() != full.losses()
    assert broken.losses() == whole.losses()


def test_checkpoints_are_made_on_time_and_old_ones_go(lab: Lab) -> None:
    """Every ``checkpoint.interval`` steps and at the end, and the ``keep`` newest stay."""
    trial = lab.trial(5, checkpoint={"interval": 2, "keep": 2, "async": False})
    trial.ask("save")

    trial.train()

    saved = [step for event, step in trial.events() if event == "checkpoint"]
    assert saved == [1, 2, 4, 5]
    assert trial.checkpoints() == ["step-00000004", "step-00000005"]
    assert list((trial.folder / "control").iterdir()) == []


def test_a_finished_run_has_nothing_left_to_do(lab: Lab) -> None:
    """Started again after its last step, a run trains nothing and ends well."""
    trial = lab.trial(2).train()

    trial.train()

    assert [row["step"] for row in trial.lines("metrics")] == [1, 2]
    assert trial.events()[-2:] == [("resumed", 2), ("finished", 2)]

"""The bytes that DeepSpeed's tensors really take, against the plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.planner.plan import make_plan

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

WIDE = {"hidden": 128, "ffn": 352, "vocab": 1000, "vocab_multiple": 4}
"""Of the LLaMA shape: a million parameters, beside which nothing else counts."""

BF16 = {"kind": "bf16"}


def case(zero: int, *, offload: bool = False, **groups: Any) -> dict[str, Any]:
    """Recipe keys."""
    optim = {"lr": 1e-3, "zero": zero, "offload": offload}
    return {"gpus": 2, "backend": {"name": "megatron-core+deepspeed"}, "optim": optim, **groups}


def shape(keys: dict[str, Any]) -> str:
    """The model that a case needs."""
    return "experts" if "ep" in keys.get("parallel", {}) else "llama"


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "ZeRO-1": (case(1), ("weights", "optimizer")),
    "ZeRO-1, bf16": (case(1, precision=BF16), ("weights", "optimizer", "gradients")),
    "ZeRO-2": (case(2), ("weights", "optimizer")),
    "ZeRO-3": (case(3), ("weights", "optimizer", "gradients", "bucket")),
    "ZeRO-1, pp 2": (case(1, parallel={"pp": 2}), ("weights", "optimizer")),
    "ZeRO-2, experts, ep 2": (case(2, parallel={"ep": 2}), ("weights", "optimizer")),
}
"""Recipe keys, and what is there between two steps."""


def at_rest(trial: Trial) -> list[int]:
    """Bytes of every rank between two steps."""
    trial.run("engine_bytes")
    found: list[int] = json.loads((trial.folder / "bytes.json").read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_what_stays_between_steps(lab: Lab, shapes: dict[str, dict[str, Any]], name: str) -> None:
    """Model states are those of the plan, within a hundredth or what the last loss left."""
    keys, parts = CASES[name]
    trial = lab.trial(model=shapes[shape(keys)] | WIDE, **keys)
    plan = make_plan(trial.recipe)
    bucket = plan.stages[0].parameters * trial.recipe.precision.weight_bytes
    memory = plan.stages[0].memory
    planned = sum(bucket if part == "bucket" else getattr(memory, part) for part in parts)

    assert at_rest(trial)[0] == pytest.approx(planned, rel=0.01)


@pytest.mark.parametrize("shape", ["llama", "experts"])
def test_no_rank_makes_the_whole_model_first(
    lab: Lab, shapes: dict[str, dict[str, Any]], shape: str
) -> None:
    """ZeRO-3: a quarter of the weights stays on each of four ranks, and never much more."""
    trial = lab.trial(model=shapes[shape] | WIDE, **case(3) | {"gpus": 4})
    trial.run("shard_bytes")
    found = json.loads((trial.folder / "bytes.json").read_text())

    assert found["left"] == pytest.approx(found["whole"] / 4, rel=0.01)
    assert found["most"] < 0.75 * found["whole"]


@pytest.mark.parametrize(
    "keys",
    [
        *(keys for keys, _ in CASES.values()),
        case(0),
        case(2, offload=True),
        case(1, parallel={"pp": 2}, precision=BF16),
    ],
)
def test_the_peak(lab: Lab, shapes: dict[str, dict[str, Any]], keys: dict[str, Any]) -> None:
    """It is that of the plan or less: the plan adds activations and buckets, each at its most."""
    # A checkpoint in the background would add a copy of the state.
    keys = keys | {"checkpoint": {"async": False}}
    # Some readings may be of no use.
    trial = lab.trial(8, model=shapes[shape(keys)] | WIDE, **keys).train()
    measured = trial.lines("metrics")[-1]["stage_memory_bytes"]
    planned = [stage.memory.total for stage in make_plan(trial.recipe).stages]

    for most, expected in zip(measured, planned, strict=True):
        assert 0.98 * most <= expected <= 1.25 * most

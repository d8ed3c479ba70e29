"""The proof that the layouts are right: the same recipe gives the same losses on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

STEPS = 8

TOLERANCE = 1e-5
"""Nats; 6e-7 was measured."""

NORM_TOLERANCE = 1e-4
"""Of the norm of the gradients, relative; 1e-5 was measured in the last step.

Adam hardly sees a wrong factor in its gradients; their norm does.
"""

ADAM = {"lr": 3e-3}

DISTRIBUTED = ADAM | {"zero": 1, "overlap_grad_reduce": True, "overlap_param_gather": True}

RAMP = {"micro": 1, "global": 8, "ramp": {"start": 2, "step": 2, "samples": 12}}

FP16 = {"kind": "fp16", "initial_loss_scale": 4096.0}


def selective(*modules: str) -> dict[str, Any]:
    """Recompute of ``modules``."""
    return {"kind": "selective", "modules": modules}


DENSE: dict[str, dict[str, Any]] = {
    "tp 2": {"gpus": 2, "parallel": {"tp": 2}},
    "pp 2": {"gpus": 2, "parallel": {"pp": 2}},
    "dp 2": {"gpus": 2},
    "cp 2": {"gpus": 2, "parallel": {"cp": 2}},
    "tp 2, pp 2": {"gpus": 4, "parallel": {"tp": 2, "pp": 2}},
    "tp 2 with sequence parallel, dp 2, distributed optimizer": {
        "gpus": 4,
        "parallel": {"tp": 2, "sequence": True},
        "optim": DISTRIBUTED,
    },
    "pp 2, vpp 2": {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}},
    "uneven pp 3": {"gpus": 3, "parallel": {"pp": 3, "layers_per_stage": [1, 2, 1]}},
    "full recompute": {"recompute": {"kind": "full", "layers": 2}},
    "recompute of the attention's core": {"recompute": selective("core_attn")},
    "recompute of norms and feed-forward": {"recompute": selective("layernorm", "mlp")},
}
"""Recipe keys that must not change the losses; each line a case, here of both dense shapes."""

OTHERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gpt", "dp 2, cp 2", {"gpus": 4, "parallel": {"cp": 2}, "optim": DISTRIBUTED}),
    (
        "gpt",
        "pp 2, vpp 2, dp 2, distributed optimizer",
        {"gpus": 4, "parallel": {"pp": 2, "vpp": 2}, "optim": DISTRIBUTED},
    ),
    (
        "gpt",
        "embedding and loss count as layers",
        {
            "gpus": 3,
            "parallel": {"pp": 3, "account_for_embedding": True, "account_for_loss": True},
        },
    ),
    (
        "gpt",
        "full recompute of one layer a chunk",
        {"recompute": {"kind": "full", "method": "block"}},
    ),
    ("geglu", "tp 2", {"gpus": 2, "parallel": {"tp": 2}}),
    ("relu", "tp 2", {"gpus": 2, "parallel": {"tp": 2}}),
    ("relu2", "tp 2", {"gpus": 2, "parallel": {"tp": 2}}),
    ("experts", "ep 2", {"gpus": 2, "parallel": {"ep": 2}}),
    (
        "experts",
        "ep 2, distributed optimizer",
        {"gpus": 2, "parallel": {"ep": 2}, "optim": DISTRIBUTED},
    ),
    ("experts", "ep 2, cp 2", {"gpus": 2, "parallel": {"ep": 2, "cp": 2}}),
    ("experts", "ep 2, pp 2", {"gpus": 4, "parallel": {"ep": 2, "pp": 2}}),
    ("experts", "tp 2, etp 2", {"gpus": 2, "parallel": {"tp": 2, "sequence": True}}),
    (
        "experts",
        "tp 2, ep 2",
        {"gpus": 2, "parallel": {"tp": 2, "sequence": True, "ep": 2, "etp": 1}},
    ),
    ("experts", "recompute of experts", {"recompute": selective("moe")}),
    (
        "experts",
        "recompute of the rest",
        {"recompute": selective("layernorm", "mlp", "shared_experts")},
    ),
    ("deepseek", "tp 2", {"gpus": 2, "parallel": {"tp": 2, "sequence": True}}),
    ("deepseek", "cp 2", {"gpus": 2, "parallel": {"cp": 2}}),
    ("deepseek", "pp 2, vpp 2", {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}}),
    (
        "deepseek",
        "prediction alone",
        {"gpus": 2, "parallel": {"pp": 2, "layers_per_stage": [4, 0]}},
    ),
    ("deepseek", "unfused attention", {"kernels": {"attention": "unfused"}}),
    ("deepseek", "recompute", {"recompute": selective("mla_up_proj", "layernorm", "core_attn")}),
)
"""Shape, name and keys of the others."""

BOTH = {"name": "megatron-core+deepspeed"}

PLAIN = {"name": "deepspeed"}


def zero(stage: int, **more: Any) -> dict[str, Any]:
    """ZeRO by DeepSpeed."""
    return ADAM | {"zero": stage} | more


DEEPSPEED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(
        (
            shape,
            f"tp 2, dp 2, ZeRO-{stage}",
            {"gpus": 4, "backend": BOTH, "parallel": {"tp": 2}, "optim": zero(stage)},
        )
        for shape in ("gpt", "llama")
        for stage in (1, 2, 3)
    ),
    *(
        (shape, f"dp 2, ZeRO-{stage}", {"gpus": 2, "backend": PLAIN, "optim": zero(stage)})
        for shape in ("gpt", "llama")
        for stage in (0, 1, 2, 3)
    ),
    *(
        (
            shape,
            f"dp 2, ZeRO-{stage}, offload",
            {"gpus": 2, "backend": PLAIN, "optim": zero(stage, offload=True)},
        )
        for shape in ("gpt", "llama")
        for stage in (1, 2, 3)
    ),
    (
        "llama",
        "tp 2 with sequence parallel, dp 2, ZeRO-2",
        {"gpus": 4, "backend": BOTH, "parallel": {"tp": 2, "sequence": True}, "optim": zero(2)},
    ),
    ("llama", "pp 2", {"gpus": 2, "backend": PLAIN, "parallel": {"pp": 2}}),
    ("gpt", "pp 2", {"gpus": 2, "backend": PLAIN, "parallel": {"pp": 2}, "optim": zero(1)}),
    *(
        (
            shape,
            "pp 2, dp 2, ZeRO-1",
            {"gpus": 4, "backend": PLAIN, "parallel": {"pp": 2}, "optim": zero(1)},
        )
        for shape in ("gpt", "llama")
    ),
    (
        "gpt",
        "tp 2 with sequence parallel, pp 2, ZeRO-1",
        {
            "gpus": 4,
            "backend": BOTH,
            "parallel": {"tp": 2, "sequence": True, "pp": 2},
            "optim": zero(1),
        },
    ),
    (
        "llama",
        "uneven pp 3, full recompute",
        {
            "gpus": 3,
            "backend": BOTH,
            "parallel": {"pp": 3, "layers_per_stage": [1, 2, 1]},
            "recompute": {"kind": "full"},
        },
    ),
    (
        "llama",
        "full recompute, ZeRO-3",
        {"gpus": 2, "backend": PLAIN, "optim": zero(3), "recompute": {"kind": "full"}},
    ),
    (
        "gpt",
        "recompute of parts, ZeRO-3",
        {
            "gpus": 2,
            "backend": PLAIN,
            "optim": zero(3),
            "recompute": selective("core_attn", "layernorm", "mlp"),
        },
    ),
    ("experts", "dp 2, ZeRO-3", {"gpus": 2, "backend": PLAIN, "optim": zero(3)}),
    ("experts", "pp 2", {"gpus": 2, "backend": PLAIN, "parallel": {"pp": 2}, "optim": zero(1)}),
    *(
        (
            "experts",
            f"ep 2, dp 4, ZeRO-{stage}",
            {"gpus": 4, "backend": BOTH, "parallel": {"ep": 2}, "optim": zero(stage)},
        )
        for stage in (0, 3)
    ),
    (
        "experts",
        "ep 2, pp 2, ZeRO-1",
        {"gpus": 4, "backend": BOTH, "parallel": {"ep": 2, "pp": 2}, "optim": zero(1)},
    ),
    (
        "experts",
        "ep 2, tp 2, ZeRO-1",
        {
            "gpus": 4,
            "backend": BOTH,
            "parallel": {"ep": 2, "tp": 2, "sequence": True},
            "optim": zero(1),
        },
    ),
    ("deepseek", "dp 2, ZeRO-2", {"gpus": 2, "backend": PLAIN, "optim": zero(2)}),
)
"""The same by DeepSpeed."""

CASES = (
    *((shape, name, keys) for name, keys in DENSE.items() for shape in ("gpt", "llama")),
    *OTHERS,
    *((shape, f"DeepSpeed: {name}", keys) for shape, name, keys in DEEPSPEED),
)


class Runs:
    """Trials on one rank, each trained once."""

    def __init__(self, lab: Lab, shapes: dict[str, dict[str, Any]]) -> None:
        self._lab, self._shapes = lab, shapes
        self._alone: dict[str, Trial] = {}

    def trial(self, shape: str, **keys: Any) -> Trial:
        """A trial of ``shape``."""
        groups = {"optim": ADAM, "model": self._shapes[shape]} | keys
        return self._lab.trial(STEPS, **groups)

    def run(self, shape: str, **keys: Any) -> Trial:
        """The same, trained."""
        return self.trial(shape, **keys).train()

    def alone(self, shape: str) -> Trial:
        """The one of ``shape`` on one rank."""
        if shape not in self._alone:
            self._alone[shape] = self.run(shape)
        return self._alone[shape]


@pytest.fixture(scope="module")
def runs(module_lab: Lab, shapes: dict[str, dict[str, Any]]) -> Runs:
    """Makes and remembers trials."""
    return Runs(module_lab, shapes)


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


@pytest.mark.parametrize("shape", ["gpt", "llama", "experts", "deepseek"])
def test_the_model_learns(runs: Runs, shape: str) -> None:
    """The losses that are compared do fall, so equal losses mean equal training."""
    losses = list(runs.alone(shape).losses().values())

    assert losses[0] == pytest.approx(5.52, abs=0.1)
    assert losses[-1] < losses[0] - 0.03

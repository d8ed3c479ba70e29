"""Losses that cannot be right change no weights: the run stops, passes over them, or goes back."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.config.watch import Guard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.conftest import Lab, Trial

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(Transformer Engine|Apex|full scope).*:UserWarning"
)

STEPS = 30

WINDOW = 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens that are all alike, but for a stretch of random ones in the middle."""
    import numpy as np
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    prefix = tmp_path_factory.mktemp("corpus") / "alike"
    tokens = np.full(STEPS * 32 + 33, 7, dtype=np.uint8)
    tokens[500:530] = random.Random(0).choices(range(250), k=30)
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=np.uint8)
    builder.add_item(torch.from_numpy(tokens))
    builder.end_document()
    builder.finalize(f"{prefix}.idx")
    return prefix


def alike(corpus: Path, **guard: Any) -> dict[str, Any]:
    """A run over it, one sample a step, with rules."""
    return {
        "data": {
            "kind": "indexed",
            "paths": [str(corpus)],
            "split": [1, 0, 0],
            "cache": str(corpus.parent),
        },
        "batch": {"micro": 1, "global": 1},
        "run": {"steps": STEPS, "seed": 1},
        "checkpoint": {"interval": 4, "keep": 9},
        "optim": {"lr": 1e-2, "zero": 1, "overlap_grad_reduce": True, "overlap_param_gather": True},
        "guard": {"window": WINDOW, "factor": 3.0, **guard},
    }


def judged(trial: Trial) -> list[tuple[str, str, int, int | None]]:
    """Action, cause, step and the step whose weights are back, of each judgement."""
    lines = [line for line in trial.lines("events") if line["event"] == "guard"]
    return [(line["action"], line["cause"], line["step"], line["to"]) for line in lines]


def test_a_spike(lab: Lab, corpus: Path) -> None:
    """It is found; skipped, it leaves the weights as they were; rolled back, those of before."""
    left, skipped, stopped, back = (
        lab.trial(**alike(corpus, spike=rule)) for rule in ("ignore", "skip", "stop", "rollback")
    )
    for trial in (left, skipped, back):
        trial.train()
    assert stopped.statuses(1) == [6]

    action, cause, step, _ = judged(skipped)[0]
    before = {number: loss for number, loss in left.losses().items() if number <= step}
    assert (action, cause) == ("skip", "spike")
    assert before[step] > 100 * before[step - 1]
    assert judged(left) == []
    for trial in (skipped, stopped, back):
        assert {n: loss for n, loss in trial.losses().items() if n <= step} == before

    # The state before the spike was saved; going on from it with the other rule is the same run.
    assert judged(stopped) == [("stop", "spike", step, None)]
    assert stopped.checkpoints()[-1] == f"step-{step - 1:08d}"
    stopped.change(**alike(corpus, spike="skip"))
    stopped.train()
    assert stopped.losses() == skipped.losses()
    assert skipped.losses()[step + 1] != left.losses()[step + 1]

    saved = (step - 1) // 4 * 4
    assert judged(back)[0] == ("rollback", "spike", step, saved)
    assert back.losses()[step + 1] != skipped.losses()[step + 1]
    assert back.losses()[step + 1] < 0.1
    assert back.events()[-1] == ("finished", STEPS)


@pytest.mark.parametrize(
    "layout",
    [
        {"optim": {"lr": 1e-2, "zero": 0}},
        {"optim": {"lr": 1e-2, "zero": 2}},
        {"optim": {"lr": 1e-2, "zero": 3}},
        {"optim": {"lr": 1e-2, "zero": 1}, "parallel": {"pp": 2}},
        {
            "optim": {"lr": 1e-2, "zero": 1},
            "parallel": {"pp": 2},
            "precision": {"kind": "bf16"},
        },
    ],
)
def test_a_spike_by_deepspeed(lab: Lab, corpus: Path, layout: dict[str, Any]) -> None:
    """Whatever finds the norm: skipped, a step leaves weights and moments as they were."""
    gpus = layout.get("parallel", {}).get("pp", 1)
    keys = {"gpus": gpus, "backend": {"name": "megatron-core+deepspeed"}, **layout}
    skipped, stopped = (lab.trial(**alike(corpus, spike=rule) | keys) for rule in ("skip", "stop"))
    skipped.train()
    assert any(stopped.statuses(gpus))

    action, cause, step, _ = judged(skipped)[0]
    assert (action, cause) == ("skip", "spike")
    assert [row["step"] for row in skipped.lines("metrics") if row["grad_norm"] is None] == [
        line[2] for line in judged(skipped)
    ]
    assert stopped.checkpoints()[-1] == f"step-{step - 1:08d}"
    stopped.change(**alike(corpus, spike="skip") | keys)
    stopped.train()
    assert stopped.losses() == skipped.losses()


def test_nan(lab: Lab) -> None:
    """A loss that is no number stops the run, or is passed over as often as the limit says."""
    wild: dict[str, Any] = {"steps": 8, "optim": {"lr": 1e30}}
    stopped, skipped = lab.trial(**wild), lab.trial(**wild, guard={"nan": "skip", "limit": 2})

    assert stopped.statuses(1) == skipped.statuses(1) == [6]

    step = judged(stopped)[0][2]
    assert judged(stopped) == [("stop", "nan", step, None)]
    assert stopped.lines("events")[-1]["error"] == f"the loss of step {step} is nan"
    assert stopped.checkpoints() == [f"step-{step - 1:08d}"]
    assert judged(skipped) == [
        ("skip", "nan", step, None),
        ("skip", "nan", step + 1, None),
        ("stop", "nan", step + 2, None),
    ]


def test_a_checkpoint_that_is_ruined_is_passed_over(lab: Lab) -> None:
    """Where the step after going back is no better, the checkpoint before is taken."""
    trial = lab.trial(4, checkpoint={"interval": 2, "keep": 9}).train()
    each = {"interval": 1, "keep": 9, "async": False}
    trial.change(steps=8, checkpoint=each, optim={"lr": 1e30}, guard={"nan": "rollback"})

    trial.train()

    assert judged(trial) == [("rollback", "nan", 6, 5), ("rollback", "nan", 7, 4)]
    assert math.isfinite(trial.losses()[8])


def test_the_rules() -> None:
    """A spike is a multiple of the median of the window; one more than the limit stops."""
    from llmtrain.trainer.guard import Watch

    watch = Watch(Guard(nan="skip", spike="skip", factor=2.0, window=3, limit=1))

    assert [watch.loss(step, 1.0) for step in (1, 2, 3)] == [None] * 3
    assert watch.loss(4, 2.0) is None
    spike, again = watch.loss(5, 2.1), watch.gradient(6, math.inf)
    later = Watch(Guard(nan="skip", spike="skip", factor=2.0, window=3, limit=1))
    later.restore(watch.state())

    assert spike is not None
    assert (spike.action, spike.cause) == ("skip", "spike")
    assert again is not None
    assert (again.action, again.cause) == ("stop", "nan")
    assert later.loss(7, 2.1) == watch.loss(7, 2.1)
    assert watch.gradient(8, 1.0) is None

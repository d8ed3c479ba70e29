"""What the trainer cannot do is refused before anything starts; what fails later is recorded."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.trainer.unsupported import unsupported

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

LATENT = {"layers": 4, "hidden": 32, "heads": 4, "vocab": 250, "seq": 32, "mla": {}}

BOTH = {"name": "megatron-core+deepspeed"}

REFUSED: dict[str, dict[str, Any]] = {
    "precision.kind": {"precision": {"kind": "fp8"}},
    "optim.zero": {"optim": {"zero": 3}},
    "recompute.modules": {"recompute": {"kind": "selective", "modules": ["moe_act"]}},
    "recompute.layers": {"recompute": {"kind": "full", "layers": 3}},
    "parallel.sequence": {"gpus": 2, "parallel": {"tp": 2}, "model": LATENT},
    "backend.name": {"backend": {"name": "deepspeed", "path": "train.py"}},
    "parallel.vpp": {"backend": BOTH, "gpus": 2, "parallel": {"pp": 2, "vpp": 2}},
    "parallel.tp": {"backend": {"name": "deepspeed"}, "gpus": 2, "parallel": {"tp": 2}},
    "parallel.cp": {"backend": BOTH, "gpus": 2, "parallel": {"cp": 2}},
    "batch.global": {"gpus": 2, "batch": {"micro": 3, "global": 4}},
    "kernels.cuda_graphs": {"kernels": {"cuda_graphs": True}},
    "kernels.dispatcher": {"kernels": {"dispatcher": "deepep"}},
}


def test_the_tiny_recipe_is_accepted(lab: Lab) -> None:
    """Nothing is refused that the other tests train."""
    assert unsupported(lab.trial().recipe) == ()


@pytest.mark.parametrize("key", REFUSED)
def test_refusals_name_their_key(lab: Lab, key: str) -> None:
    """Each refusal begins with the key that asks for too much."""
    problems = unsupported(lab.trial(**REFUSED[key]).recipe)

    assert key in [problem.key or problem.at for problem in problems]


def test_a_refused_recipe_fails_at_once(lab: Lab) -> None:
    """The process ends with status 5 and says why, in the terminal, the log and events.jsonl."""
    trial = lab.trial(precision={"kind": "fp8"})

    ended = subprocess.run(trial.command(), capture_output=True, text=True, check=False)

    says = "`precision.kind` = fp8: cpu has no FP8"
    assert ended.returncode == 5
    assert ended.stderr.startswith(f"rank 0: {says}")
    assert says in trial.logs()
    assert trial.lines("events")[-1]["event"] == "failed"
    assert trial.lines("events")[-1]["error"] == says


def test_deciding_needs_no_torch() -> None:
    """The refusals can be asked for on a machine that has no torch."""
    asked = "import sys, llmtrain.trainer.unsupported; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_a_failure_is_recorded(lab: Lab) -> None:
    """What goes wrong on a rank is an event with the rank, a traceback in its log, and a status."""
    data = {"kind": "indexed", "paths": [str(lab.root / "nothing")]}
    trial = lab.trial(gpus=2, data=data)

    process = trial.start()
    _, terminal = process.communicate(timeout=180)

    failures = trial.lines("events")
    assert process.returncode == 1
    assert "rank 0: `data.paths` needs files that are not there:" in terminal
    assert {failure["event"] for failure in failures} == {"failed"}
    assert failures[0]["rank"] in (0, 1)
    assert "Traceback" in trial.logs()

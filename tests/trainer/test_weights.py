"""The initial weights: Megatron's distribution, and the same values however they are cut."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(Transformer Engine|Apex|full scope).*:UserWarning"
)


@pytest.mark.parametrize("shape", ["gpt", "llama", "deepseek"])
def test_they_are_drawn_as_megatron_core_draws_them(
    lab: Lab, shapes: dict[str, dict[str, Any]], shape: str
) -> None:
    """Mean and deviation of every parameter are those that megatron-core's own start gives."""
    trial = lab.trial(model=shapes[shape] | {"hidden": 128, "ffn": 512, "init_std": 0.03})
    script = Path(__file__).with_name("initial_weights.py")

    command = [sys.executable, "-W", "ignore", str(script), str(trial.folder / "recipe.yaml")]
    found = json.loads(subprocess.check_output(command, env=trial.environment()))

    for name, (theirs, ours) in found.items():
        error = 4 / math.sqrt(ours["count"])
        assert ours["mean"] == pytest.approx(theirs["mean"], abs=0.03 * error), name
        assert ours["deviation"] == pytest.approx(theirs["deviation"], rel=error), name
    residual = found["decoder.layers.0.mlp.linear_fc2.weight"][1]["deviation"]
    assert residual == pytest.approx(0.03 / math.sqrt(2 * 4), rel=0.05)


def test_gate_and_up_are_cut_apart() -> None:
    """A rank of a gated feed-forward holds a part of the gate and the same part of up."""
    import torch

    from llmtrain.trainer.weights import Cut

    gate_0, gate_1, up_0, up_1 = rows = torch.arange(4)
    cut = Cut(dim=0, rank=1, parts=2, blocks=2)

    assert cut.take(rows).tolist() == [gate_1, up_1]
    assert Cut(dim=0, rank=0, parts=2, blocks=2).take(rows).tolist() == [gate_0, up_0]
    assert cut.full_shape(torch.Size([2])) == [4]


def test_an_expert_has_one_name() -> None:
    """It tells layer and expert in the whole model, for one module each and for a grouped one."""
    from llmtrain.trainer.weights import global_name

    chunk: Any = SimpleNamespace(
        share_embeddings_and_output_weights=False,
        decoder=SimpleNamespace(layers=[SimpleNamespace(layer_number=3)]),
    )
    experts = "decoder.layers.0.mlp.experts."
    apart = global_name(chunk, f"{experts}local_experts.1.linear_fc2.weight", 4)
    grouped = global_name(chunk, f"{experts}linear_fc2.weight1", 4)

    assert apart == grouped == "decoder.layers.2.mlp.experts.5.linear_fc2.weight"


def test_padding_does_not_change_the_vocabulary(lab: Lab) -> None:
    """With more padding the real rows are the same, and the padded ones are zero."""
    from llmtrain.trainer.weights import full_tensor

    recipe, name = lab.trial().recipe, "embedding.word_embeddings.weight"
    small, large = full_tensor(name, [250, 32], recipe), full_tensor(name, [300, 32], recipe)

    assert large[:250].equal(small)
    assert not large[250:].any()


def test_the_seed_decides() -> None:
    """Another seed or another name gives other numbers; the same ones give the same."""
    from llmtrain.trainer.weights import generator

    drawn = {generator(seed, name).initial_seed() for seed in (1, 2) for name in ("a", "b")}

    assert len(drawn) == 4
    assert generator(1, "a").initial_seed() == generator(1, "a").initial_seed()

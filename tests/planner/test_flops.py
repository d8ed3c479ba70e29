"""Operations: the conventions against each other, published figures, and megatron-core's layers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.planner.flops import (
    CONVENTIONS,
    hardware_full,
    korthikanti,
    korthikanti_hardware,
    model_causal,
    model_full,
    narayanan,
    seconds_of,
    six_n,
    six_n_and_attention,
    step_flops,
)

GPT = ("gpt3-530b", "gpt3-1t", "gpt3-20b")
"""Feed-forward 4 x hidden: the closed formulas hold."""


@pytest.mark.parametrize("name", GPT)
def test_narayanan_is_the_count_with_full_recompute(name: str) -> None:
    """Equation 3 of arXiv 2104.04473 is the operators' count with every layer computed twice."""
    recipe = compose([f"recipe={name}", "recompute.kind=full"])

    assert narayanan(recipe) == pytest.approx(hardware_full(recipe), rel=1e-9)


@pytest.mark.parametrize("name", GPT)
def test_korthikanti_is_the_count_without_recompute(name: str) -> None:
    """Appendix A of arXiv 2205.05198."""
    recipe = compose([f"recipe={name}"])

    assert korthikanti(recipe) == pytest.approx(model_full(recipe), rel=1e-9)


@pytest.mark.parametrize(
    ("overrides", "seconds", "mfu", "hfu"),
    [
        (["recipe=gpt3-530b", "gpus=280", "batch.global=280"], 37.83, 0.560, 0.570),
        (["recipe=gpt3-530b"], 39.15, 0.542, 0.552),
        (["recipe=gpt3-1t"], 71.49, 0.563, 0.570),
    ],
)
def test_published_utilisation(
    overrides: list[str], seconds: float, mfu: float, hfu: float
) -> None:
    """MFU and HFU of arXiv 2205.05198, table 5, from its step times."""
    recipe = compose(overrides)
    peak = 312e12 * recipe.gpus * seconds

    flops = step_flops(recipe)

    assert flops.model / peak == pytest.approx(mfu, abs=0.002)
    assert korthikanti_hardware(recipe) / peak == pytest.approx(hfu, abs=0.003)
    assert flops.model < flops.hardware < korthikanti_hardware(recipe)


def test_published_rate_becomes_a_step_time() -> None:
    """530B on 2520 GPUs at 163 TFLOP/s counting recompute (arXiv 2104.04473, table 1)."""
    recipe = compose(["recipe=gpt3-530b", "gpus=2520", "batch.global=2520", "recompute.kind=full"])

    found = seconds_of(recipe, 163, "narayanan")

    assert found == pytest.approx(54.1, rel=0.002)
    assert seconds_of(recipe, 163, "hardware_full") == pytest.approx(found)


def test_llama3_throughput_is_its_published_utilisation() -> None:
    """dgxc-benchmarking: 1113 tokens a second and GPU are 54.1 % of 989 TFLOP/s."""
    recipe = compose(["recipe=llama3-70b"])
    tokens = recipe.batch.global_ * recipe.model.seq

    assert model_full(recipe) / tokens * 1113.05 / 989e12 == pytest.approx(0.541, abs=0.003)


def test_causal_attention_counts_half_of_the_core() -> None:
    """The products with weights stay as they are."""
    recipe = compose(["recipe=llama3-8b"])
    full, causal = model_full(recipe), model_causal(recipe)
    model = recipe.model
    core = 12.0 * model.layers * model.hidden * model.seq * model.seq * recipe.batch.global_

    assert full - causal == pytest.approx(core / 2)


def test_six_n_is_near_the_count() -> None:
    """6 N with attention is within 3 % of the operators' count of a dense model."""
    recipe = compose(["recipe=llama2-70b"])
    embedding = recipe.model.padded_vocab(4) * recipe.model.hidden
    looked_up = 6.0 * embedding * recipe.batch.global_ * recipe.model.seq

    assert six_n(recipe) < six_n_and_attention(recipe)
    assert six_n_and_attention(recipe) - looked_up == pytest.approx(model_full(recipe), rel=0.005)


def test_selective_recompute_adds_the_core() -> None:
    """Korthikanti: only the attention core is computed again."""
    recipe = compose(["recipe=gpt3-530b"])
    none = changed(recipe, {"recompute.kind": "none"})
    model = recipe.model
    core = 4.0 * model.layers * model.hidden * model.seq * model.seq * recipe.batch.global_

    assert step_flops(recipe).recompute == pytest.approx(core)
    assert step_flops(none).recompute == 0
    assert step_flops(none).model == step_flops(recipe).model


def test_every_convention_counts_something() -> None:
    """No name in the table is dead, and none depends on the GPUs."""
    recipe = compose(["recipe=mixtral-8x7b"])
    more = replace(recipe, gpus=2 * recipe.gpus)

    for count in CONVENTIONS.values():
        assert 0 < count(recipe) == count(more)


def test_megatron_cores_layers_count_the_same() -> None:
    """torch's counter on megatron-core's own GPTModel, forward and backward, on a CPU."""
    program = Path(__file__).with_name("megatron_flops.py")

    run = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=120, check=False
    )

    assert run.returncode == 0, run.stderr[-2000:]
    for case in json.loads(run.stdout.splitlines()[-1]):
        assert case["counted"] == pytest.approx(case["planned"], rel=1e-6), case["name"]

"""Activation bytes against what autograd really saves in megatron-core's layers on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.build import build
from llmtrain.config.recipe import Recipe
from llmtrain.planner.activations import Chunk, chunk, embedding, head
from llmtrain.planner.setting import setting_of

GPT: dict[str, Any] = {
    "layers": 2,
    "hidden": 64,
    "heads": 4,
    "vocab": 512,
    "vocab_multiple": 64,
    "seq": 64,
}
RMS = {"norm": "rmsnorm", "bias": False, "positions": "rope"}
LLAMA = {**RMS, "activation": "swiglu", "ffn": 176, "kv_heads": 2, "tied": False}
MOE = {**LLAMA, "experts": 4, "topk": 2, "moe_ffn": 96}
SHARED = {**MOE, "shared_experts": 1}
MLA = {
    **LLAMA,
    "kv_heads": None,
    "mla": {"q_rank": 24, "kv_rank": 16, "nope_dim": 16, "rope_dim": 8, "v_dim": 16},
}
MODELS: dict[str, dict[str, Any]] = {
    "gelu": {},
    "dropout": {"dropout": 0.1},
    "relu": {"activation": "relu"},
    "squared relu": {"activation": "relu2", "bias": False},
    "geglu": {"activation": "geglu", "positions": "rope"},
    "rms": RMS,
    "llama": LLAMA,
    "grouped heads": {"kv_heads": 2},
    "experts": MOE,
    "shared expert": SHARED,
}
TP = {"tp": 2}
SEQUENCE = {"tp": 2, "sequence": True}
FULL = {"kind": "full"}


def selective(*modules: str) -> dict[str, Any]:
    """Selective recompute."""
    return {"kind": "selective", "modules": list(modules)}


def recipe_data(model: dict[str, Any], **groups: Any) -> dict[str, Any]:
    """A recipe on a CPU, as plain data."""
    data: dict[str, Any] = {
        "name": "some",
        "gpus": groups.get("parallel", {}).get("tp", 1),
        "model": GPT | model,
        "cluster": {
            "name": "cpu",
            "device": "cpu",
            "gpu": {"name": "cpu", "arch": "cpu"},
            "gpus_per_node": 8,
        },
        "backend": {"name": "megatron-core"},
        "batch": {"micro": 2, "global": 2},
        "kernels": {"attention": "unfused"},
        "precision": {"kind": "fp32"},
    }
    return data | groups


def grid() -> dict[str, dict[str, Any]]:
    """Name -> recipe: every model on every cut, then recompute, numbers and attention kinds."""
    found: dict[str, dict[str, Any]] = {}
    for name, model in MODELS.items():
        for numbers in ("fp32", "bf16"):
            precision = {"kind": numbers}
            for cut, parallel in {"tp 1": {}, "tp 2": TP, "sequence": SEQUENCE}.items():
                if cut == "tp 2" and "experts" in model:
                    continue
                found[f"{name}, {numbers}, {cut}"] = recipe_data(
                    model, precision=precision, parallel=parallel
                )
    return found | _recomputed() | _others()


def _recomputed() -> dict[str, dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {
        "core": selective("core_attn"),
        "mlp": selective("mlp"),
        "norms": selective("layernorm"),
        "all three": selective("core_attn", "mlp", "layernorm"),
        "full": FULL,
        "full by 2": {"kind": "full", "layers": 2},
        "block": {"kind": "full", "method": "block", "layers": 1},
    }
    found = {}
    for kind, recompute in kinds.items():
        for name in ("gelu", "llama", "dropout"):
            for cut, parallel in {"tp 1": {}, "sequence": SEQUENCE}.items():
                found[f"{kind} of {name}, {cut}"] = recipe_data(
                    {**MODELS[name], "layers": 4}, recompute=recompute, parallel=parallel
                )
    for kind in ("moe", "core_attn", "shared_experts"):
        found[f"{kind} of experts"] = recipe_data(SHARED, recompute=selective(kind))
    return found


def _others() -> dict[str, dict[str, Any]]:
    bf16 = {"kind": "bf16"}
    flash = {"attention": "flash"}
    return {
        "flash": recipe_data({}, kernels=flash),
        "flash, llama": recipe_data(LLAMA, kernels=flash, precision=bf16, parallel=SEQUENCE),
        "flash, grouped heads": recipe_data({"kv_heads": 2}, kernels=flash),
        "latent": recipe_data(MLA),
        "latent, bf16": recipe_data(MLA, precision=bf16),
        "latent, tp 2": recipe_data(MLA, parallel=TP),
        "latent, norms": recipe_data(MLA, recompute=selective("layernorm")),
        "latent, core": recipe_data(MLA, recompute=selective("core_attn")),
        "long": recipe_data({"seq": 256, "layers": 1}),
    }


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    """Bytes that autograd saved, by name of the grid."""
    program = Path(__file__).with_name("saved_tensors.py")
    cases = grid()
    run = subprocess.run(
        [sys.executable, str(program)],
        input=json.dumps(list(cases.values())),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return dict(zip(cases, json.loads(run.stdout), strict=True))


def predicted(recipe: Recipe) -> float:
    """The whole model on one rank, one micro-batch."""
    setting, model = setting_of(recipe), recipe.model
    moe = sum(model.is_moe_layer(number) for number in range(model.layers))
    layers = chunk(setting, Chunk(dense=model.layers - moe, moe=moe))
    return layers + embedding(setting) + head(setting)


@pytest.mark.parametrize("name", grid())
def test_saved_bytes(measured: dict[str, int], name: str) -> None:
    """Layers, embedding and loss keep what the model says, within 1 %."""
    recipe = build(Recipe, grid()[name])

    assert predicted(recipe) == pytest.approx(measured[name], rel=0.01)

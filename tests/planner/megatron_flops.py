"""A program of its own: torch's operation counter on megatron-core's GPTModel on a CPU.

Writes a JSON list of what was counted beside what the planner says of the same recipe.
"""
# The stand-ins for CUDA must be in place before megatron-core is imported.
# ruff: noqa: E402

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

# Its recipe-to-megatron translation is the activation tests'.
spec = importlib.util.spec_from_file_location(
    "saved_tensors", Path(__file__).with_name("saved_tensors.py")
)
assert spec is not None and spec.loader is not None
saved_tensors: Any = importlib.util.module_from_spec(spec)
sys.modules["saved_tensors"] = saved_tensors
spec.loader.exec_module(saved_tensors)

import torch
from torch.utils.flop_counter import FlopCounterMode

from llmtrain.config.compose import compose
from llmtrain.config.model import Model
from llmtrain.config.numerics import Kernels, Precision, Recompute
from llmtrain.config.parallel import Parallel
from llmtrain.config.recipe import Recipe
from llmtrain.planner.flops import step_flops

SMALL: dict[str, Any] = {
    "layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 192, "vocab": 250, "seq": 32,
    "head_dim": None,
}  # fmt: skip


def cases() -> dict[str, Recipe]:
    """Small models of three kinds, with and without recompute."""
    found = {}
    for name in ("gpt3-126m", "llama2-7b"):
        recipe = compose([f"recipe={name}"])
        for kind in ("none", "full"):
            found[f"{name}, {kind}"] = _small(recipe, recipe.model, Recompute(kind=kind))
    return found


def _small(recipe: Recipe, model: Model, recompute: Recompute) -> Recipe:
    return replace(
        recipe,
        gpus=1,
        model=replace(model, **SMALL),
        parallel=Parallel(),
        batch=replace(recipe.batch, micro=2, global_=2, ramp=None),
        precision=Precision(kind="fp32"),
        kernels=Kernels(attention="unfused"),
        recompute=recompute,
    )


def counted(recipe: Recipe) -> int:
    """Forward and backward pass of one micro-batch."""
    model = saved_tensors.model_of(recipe)
    shape = (recipe.batch.micro, recipe.model.seq)
    tokens, places = torch.zeros(shape, dtype=torch.long), torch.arange(shape[1])
    mask = torch.ones(1, 1, shape[1], shape[1], dtype=torch.bool).triu(1)
    with FlopCounterMode(display=False) as counter:
        losses = model(tokens, places.expand(shape), mask, labels=tokens)
        losses.sum().backward()
    total: int = counter.get_total_flops()
    return total


def main() -> None:
    """Count every case."""
    torch.distributed.init_process_group("fake", rank=0, world_size=1, store=_store())
    saved_tensors.parallel_state.initialize_model_parallel(create_gloo_process_groups=False)
    saved_tensors.megatron_random.model_parallel_cuda_manual_seed(1)
    found = [
        {"name": name, "counted": counted(recipe), "planned": step_flops(recipe).hardware}
        for name, recipe in cases().items()
    ]
    print(json.dumps(found))


def _store() -> Any:
    return saved_tensors.FakeStore()


if __name__ == "__main__":
    main()

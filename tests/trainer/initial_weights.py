"""Prints mean and deviation of every parameter as megatron-core and as the trainer start it."""

import json
import sys
from pathlib import Path
from typing import Any

from llmtrain.config.files import read_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import choose
from llmtrain.trainer.rank import Rank


def statistics(stage: Any) -> dict[str, dict[str, float]]:
    """Of every parameter of ``stage``."""
    return {
        name: {
            "mean": float(param.mean()),
            "deviation": float(param.std()),
            "count": param.numel(),
        }
        for name, param in stage.named_parameters()
    }


def compare(recipe: Recipe) -> dict[str, list[dict[str, float]]]:
    """By name: megatron-core's statistics, then ours."""
    rank = Rank()
    device = choose(recipe, rank)

    from megatron.core import tensor_parallel

    from llmtrain.trainer import groups, model, weights

    position = groups.join(recipe, rank, device)
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    (stage,) = model.build(recipe, position, device)
    theirs = statistics(stage)
    weights.fill(stage, weights.global_names(stage, recipe, position), recipe, position)
    ours = statistics(stage)
    groups.leave()
    return {name: [theirs[name], ours[name]] for name in theirs}


if __name__ == "__main__":
    json.dump(compare(read_recipe(Path(sys.argv[1]))), sys.stdout)

"""DeepSpeed's JSON. It says the same as the arguments because both are drawn from one plan."""

import json
from math import log2
from typing import Any

from llmtrain.config.recipe import Recipe
from llmtrain.planner.plan import Plan

FILE = "ds_config.json"
"""Its name in the run's folder."""


def engine_config(plan: Plan) -> dict[str, Any]:
    """What the engine must know, whoever brings model and optimizer.

    train_batch_size = micro x gradient accumulation x dp, which the engine asserts.
    """
    recipe = plan.recipe
    return {
        "train_batch_size": recipe.batch.global_,
        "train_micro_batch_size_per_gpu": recipe.batch.micro,
        "gradient_accumulation_steps": plan.microbatches,
        "gradient_clipping": recipe.optim.clip,
        "zero_optimization": _zero(recipe),
        **_numbers(recipe),
        "data_types": {"grad_accum_dtype": _gradients(recipe)},
        "steps_per_print": 1,
        "wall_clock_breakdown": False,
    }


def as_text(config: dict[str, Any]) -> str:
    """The JSON as it lies in the run's folder."""
    return json.dumps(config, indent=2) + "\n"


def _zero(recipe: Recipe) -> dict[str, Any]:
    optim = recipe.optim
    config: dict[str, Any] = {"stage": optim.zero}
    if optim.zero:
        config["overlap_comm"] = optim.overlap_grad_reduce
    if optim.offload:
        config["offload_optimizer"] = {"device": optim.offload_to, "pin_memory": True}
    if optim.offload and optim.offload_to == "nvme":
        config["offload_optimizer"]["nvme_path"] = recipe.site.nvme
    if optim.plus:
        config["zero_hpz_partition_size"] = optim.secondary_partition
        config["zero_quantized_weights"] = optim.quantized_weights
        config["zero_quantized_gradients"] = optim.quantized_gradients
    return config


def _numbers(recipe: Recipe) -> dict[str, Any]:
    """The fp16 or the bf16 block; both at once are refused, fp32 is the absence of both."""
    kind = recipe.precision.kind
    if kind == "bf16":
        return {"bf16": {"enabled": True}}
    return {"fp16": {"enabled": True, **_loss_scale(recipe)}} if kind == "fp16" else {}


def _loss_scale(recipe: Recipe) -> dict[str, Any]:
    """A constant scale, or 0 for a dynamic one and where it begins as a power of two."""
    precision = recipe.precision
    if precision.loss_scale is not None:
        return {"loss_scale": precision.loss_scale}
    return {
        "loss_scale": 0,
        "initial_scale_power": round(log2(precision.initial_loss_scale)),
        "loss_scale_window": precision.loss_scale_window,
    }


def _gradients(recipe: Recipe) -> str:
    """In what micro-batches are summed."""
    return "fp32" if recipe.optim.grad_dtype == "fp32" else recipe.precision.kind

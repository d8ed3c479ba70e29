"""What a plan says of speed: the step with its range, throughput, and MFU by its convention."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmtrain.config.recipe import Recipe
from llmtrain.planner.efficiency import peak_flops
from llmtrain.planner.flops import Attention, step_flops
from llmtrain.planner.step import numbers_of, recipe_step

ATTENTION: Attention = "full"
"""How attention is counted in TFLOP/s and MFU: as most published figures do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How fast a recipe runs."""

    step_seconds: float
    """One optimizer step."""
    step_seconds_range: tuple[float, float]
    """Where it probably lies."""
    breakdown: Mapping[str, float]
    """Exposed seconds by what they go to; they add up to the step."""
    tokens_per_second_per_gpu: float
    """Throughput."""
    model_tflops_per_gpu: float
    """Operations of forward and backward pass, what is computed again left out."""
    mfu: float
    """Model operations against the peak."""
    hfu: float
    """The same with what is computed again."""
    peak_tflops: float
    """The peak: dense, of the numbers that the layers' products use."""


def speed_of(recipe: Recipe) -> Speed | None:
    """The speed of ``recipe``; None where nothing is known of its processor."""
    step = recipe_step(recipe)
    if step is None:
        return None
    flops = step_flops(recipe, ATTENTION)
    peak = peak_flops(recipe.cluster.gpu, numbers_of(recipe))
    share = step.seconds * recipe.gpus
    tokens = recipe.batch.global_ * recipe.model.seq
    return Speed(
        step_seconds=step.seconds,
        step_seconds_range=step.bounds,
        breakdown=step.breakdown,
        tokens_per_second_per_gpu=tokens / share,
        model_tflops_per_gpu=flops.model / share / 1e12,
        mfu=flops.model / share / peak,
        hfu=flops.hardware / share / peak,
        peak_tflops=peak / 1e12,
    )


KEYS = (
    "step_seconds",
    "step_seconds_range",
    "breakdown",
    "tokens_per_second_per_gpu",
    "model_tflops_per_gpu",
    "mfu",
    "hfu",
    "mfu_convention",
)
"""Keys of ``plan --json``."""


def speed_json(speed: Speed | None) -> dict[str, Any]:
    """The keys of ``plan --json`` that say speed; null where it is unknown."""
    if speed is None:
        return dict.fromkeys(KEYS)
    return {
        "step_seconds": speed.step_seconds,
        "step_seconds_range": list(speed.step_seconds_range),
        "breakdown": dict(speed.breakdown),
        "tokens_per_second_per_gpu": speed.tokens_per_second_per_gpu,
        "model_tflops_per_gpu": speed.model_tflops_per_gpu,
        "mfu": speed.mfu,
        "hfu": speed.hfu,
        "mfu_convention": {"peak_tflops": speed.peak_tflops, "attention": ATTENTION},
    }

"""What DeepSpeed's engine cannot do, and what a user's script on it cannot be told."""

from math import log2

from llmtrain.config.recipe import Recipe
from llmtrain.planner.limits import Limit, half_weights


def has_no_optimizer(recipe: Recipe) -> bool:
    """Whether DeepSpeed lacks an optimizer for these numbers.

    Source: DeepSpeed 0.19.8 ``runtime/engine.py`` (``_do_optimizer_sanity_check``): without ZeRO
    the numbers of weights and of summed gradients must be the same.
    """
    return recipe.optim.zero == 0 and half_weights(recipe) and recipe.optim.grad_dtype == "fp32"


def sums_in_bf16(recipe: Recipe) -> bool:
    """Whether a pipeline would sum many micro-batches in bf16.

    Source: the same function, which warns that this is not safe; its BF16 optimizer, ZeRO-1 with
    fp32 sums, is what the pipeline engine is made for.
    """
    bf16 = recipe.precision.kind == "bf16"
    return bf16 and recipe.parallel.pp > 1 and recipe.optim.grad_dtype != "fp32"


ENGINE = (
    Limit(
        key="optim.zero",
        when=has_no_optimizer,
        why="DeepSpeed sums gradients of 16-bit weights in fp32 from ZeRO stage 1 on",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="optim.grad_dtype",
        when=sums_in_bf16,
        why="DeepSpeed's pipeline needs fp32 sums to be safe in bf16",
        overrides=("optim.grad_dtype=fp32", "optim.zero=1"),
    ),
    Limit(
        key="precision.initial_loss_scale",
        when=lambda recipe: (
            recipe.precision.kind == "fp16"
            and recipe.precision.loss_scale is None
            and not log2(recipe.precision.initial_loss_scale).is_integer()
        ),
        why="DeepSpeed's JSON gives it as a power of two",
    ),
    Limit(
        key="optim.offload",
        when=lambda recipe: recipe.optim.offload and recipe.optim.zero == 0,
        why="DeepSpeed offloads what ZeRO has cut; it needs stage 1 or more",
        overrides=("optim.zero=1",),
    ),
)
"""Of the engine, whoever uses it."""


def _one(name: str, what: str) -> Limit:
    """A degree of parallelism that must be 1."""
    return Limit(
        key=f"parallel.{name}",
        when=lambda recipe: getattr(recipe.parallel, name) > 1,
        why=f"a plain DeepSpeed script is data parallel, without {what}",
    )


LIMITS = (
    _one("tp", "tensor parallel"),
    _one("pp", "pipeline stages"),
    _one("vpp", "virtual stages"),
    _one("cp", "context parallel"),
    _one("ep", "expert parallel"),
    Limit(
        key="kernels.dispatcher",
        when=lambda recipe: recipe.kernels.dispatcher == "deepep",
        why="a plain DeepSpeed script has no experts on other ranks",
        overrides=("kernels.dispatcher=alltoall",),
    ),
    Limit(
        key="batch.ramp",
        when=lambda recipe: recipe.batch.ramp is not None,
        why="DeepSpeed's JSON has one batch size",
    ),
    Limit(
        key="precision.kind",
        when=lambda recipe: recipe.precision.kind == "fp8",
        why="DeepSpeed's JSON has fp32, fp16 and bf16",
    ),
    Limit(
        key="optim.master",
        when=lambda recipe: not recipe.optim.master and half_weights(recipe),
        why="DeepSpeed keeps an fp32 copy of 16-bit weights",
    ),
    *ENGINE,
)
"""A script of the user's with DeepSpeed's JSON; the model and its kernels are the script's."""

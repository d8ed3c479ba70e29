"""Bytes that a rank's parameters occupy: weights, gradients and optimizer states.

Source: megatron-core ``docs/source/api-guide/dist_optimizer.md`` (bytes a parameter: fp16 20 or
4 + 16/d, bf16 with fp32 gradients 18 or 6 + 12/d, fp32 16 or 8 + 8/d, over d ranks); ZeRO-2 and
ZeRO-3 shard gradients and weights too (arXiv 1910.02054, section 5).
"""

from dataclasses import dataclass

from llmtrain.config.numerics import Precision
from llmtrain.config.recipe import Recipe
from llmtrain.config.training import Optim
from llmtrain.planner.candidate import Candidate
from llmtrain.planner.numeric import Quantity, choose, largest
from llmtrain.planner.parameters import Count

FP8_COPIES = 2
"""Bytes a parameter of a weight in FP8: one copy for the forward product, one transposed for the
backward product (Transformer Engine ``pytorch/tensor/float8_tensor.py``, ``_transpose``; blockwise
and MXFP8 keep a row-wise and a column-wise copy). Embeddings and norms have none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Each:
    """Bytes of one parameter before anything is sharded."""

    weight: float
    """As the forward pass holds it."""
    gradient: float
    """In the buffer in which it is summed."""
    optimizer: float
    """Moments, master weight and its gradient, as far as they are on the GPU."""


def gradient_bytes(precision: Precision, optim: Optim) -> int:
    """Bytes of a parameter's gradient."""
    return 4 if optim.grad_dtype == "fp32" else precision.weight_bytes


def optimizer_bytes(recipe: Recipe) -> int:
    """Bytes of a parameter's optimizer states, before sharding.

    Two fp32 moments; for 16-bit weights a master copy; for 16-bit gradients an fp32 copy too. ZeRO
    in DeepSpeed copies its shard of fp32 weights as well (``stage_1_and_2.py``, ``stage3.py``:
    ``single_partition_of_fp32_groups``, ``fp32_partitioned_groups_flat``).
    """
    precision, optim = recipe.precision, recipe.optim
    mixed = precision.kind != "fp32"
    copied = "deepspeed" in recipe.backend.name and optim.zero > 0
    master = 4 if (mixed and optim.master) or (not mixed and copied) else 0
    gradient = 4 if mixed and optim.master and optim.grad_dtype == "weights" else 0
    return 8 + master + gradient


def bytes_each(recipe: Recipe) -> Each:
    """Bytes of one of the recipe's parameters."""
    precision, optim = recipe.precision, recipe.optim
    return Each(
        weight=precision.weight_bytes,
        gradient=gradient_bytes(precision, optim),
        optimizer=0 if optim.offload else optimizer_bytes(recipe),
    )


def fp8_weight(recipe: Recipe) -> int:
    """Bytes a parameter of a matrix product that FP8 adds; with gathering in FP8 it replaces the
    16-bit weight, so that nothing is added, and with ZeRO-3 a copy goes with the gathered layer."""
    precision = recipe.precision
    if recipe.optim.zero == 3:
        return 0
    gathered = precision.fp8.param_gather and recipe.optim.zero > 0
    return FP8_COPIES if precision.kind == "fp8" and not gathered else 0


def sharded(layout: Candidate, parameters: Count, each: float, start: int) -> Quantity:
    """Bytes of what ZeRO shards from stage ``start`` on; shards are rounded up."""
    dense, expert = parameters.dense * each, parameters.expert * each
    replicas = layout.dp * layout.cp
    expert_replicas = largest(layout.gpus // (layout.etp * layout.ep * layout.pp), 1)
    shard = -(-dense // replicas) - (-expert // expert_replicas)
    return choose(layout.zero < start, dense + expert, shard)

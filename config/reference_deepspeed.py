"""What the reference trainer cannot train with DeepSpeed's engine, and what that engine cannot."""

from math import log2

from llmtrain.config.limit import Limit, half_weights
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import SHARED, on_cpu


def to_disk(recipe: Recipe) -> bool:
    """Whether optimizer states go to the nodes' disks."""
    return recipe.optim.offload and recipe.optim.offload_to == "nvme"


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
    Limit(
        # ``runtime/zero/offload_config.py``.
        key="optim.offload_to",
        when=lambda recipe: to_disk(recipe) and recipe.optim.zero != 3,
        why="DeepSpeed offloads to NVMe with ZeRO-3 only",
        overrides=("optim.zero=3",),
    ),
    Limit(
        key="optim.offload_to",
        when=lambda recipe: to_disk(recipe) and recipe.site.nvme is None,
        why="the site names no disk of the nodes: `site.nvme`",
        overrides=("optim.offload_to=cpu",),
    ),
    Limit(
        key="precision.kind",
        when=lambda recipe: recipe.precision.kind == "fp8",
        why="DeepSpeed's JSON has fp32, fp16 and bf16",
    ),
)
"""Of the engine, whoever uses it."""

PIPELINE = (
    Limit(
        # ``runtime/pipe/engine.py`` asserts it.
        key="optim.zero",
        when=lambda recipe: recipe.parallel.pp > 1 and recipe.optim.zero > 1,
        why="DeepSpeed's pipeline works with ZeRO 0 and 1",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="parallel.vpp",
        when=lambda recipe: recipe.parallel.vpp > 1,
        why="DeepSpeed's schedule has no virtual stages",
        overrides=("parallel.vpp=1",),
    ),
    Limit(
        # ``runtime/pipe/topology.py``: axes pipe, data, model.
        key="parallel.order",
        when=lambda recipe: recipe.parallel.pp > 1 and recipe.parallel.order != "tp-cp-ep-dp-pp",
        why="DeepSpeed's pipeline lays the ranks of a tensor parallel group together, stages apart",
        overrides=("parallel.order=tp-cp-ep-dp-pp",),
    ),
    Limit(
        key="model.mtp",
        when=lambda recipe: recipe.parallel.pp > 1 and recipe.model.mtp > 0,
        why="a stage of DeepSpeed's pipeline hands on one tensor",
    ),
    Limit(
        key="recompute.layers",
        when=lambda recipe: (
            recipe.parallel.pp > 1
            and recipe.recompute.kind == "full"
            and (recipe.recompute.method != "uniform" or recipe.recompute.layers != 1)
        ),
        why="on DeepSpeed's pipeline the trainer recomputes every layer by itself",
        overrides=("recompute.method=uniform", "recompute.layers=1"),
    ),
)
"""Of stages."""

TRAINER = (
    Limit(
        # ``runtime/config.py`` (``_batch_assertion``).
        key="parallel.cp",
        when=lambda recipe: recipe.parallel.cp > 1,
        why="DeepSpeed's batch arithmetic takes context parallel ranks for replicas",
        overrides=("parallel.cp=1",),
    ),
    Limit(
        # Its groups of experts are parts of the replicas of one tensor parallel rank.
        key="parallel.etp",
        when=lambda recipe: (
            recipe.parallel.ep > 1 and recipe.parallel.expert_tp != recipe.parallel.tp
        ),
        why="DeepSpeed's experts are cut over tensor parallel ranks as the other weights are",
        overrides=("parallel.etp=null",),
    ),
    Limit(
        # ``runtime/zero/stage3.py`` (``_grad_norm_counts_every_rank``).
        key="optim.zero",
        when=lambda recipe: (
            recipe.optim.zero == 3 and recipe.parallel.ep > 1 and recipe.parallel.tp > 1
        ),
        why="DeepSpeed's ZeRO-3 takes every tensor parallel rank's experts for whole ones",
        overrides=("optim.zero=2",),
    ),
    Limit(
        # ``runtime/engine.py`` (``_validate_zero3_moe_compatibility``).
        key="optim.zero",
        when=lambda recipe: (
            recipe.parallel.ep > 1
            and (recipe.optim.quantized_gradients or recipe.optim.secondary_partition > 1)
        ),
        why="DeepSpeed's ZeRO++ quantizes no gradients of experts and has no second partition",
        overrides=("optim.secondary_partition=1", "optim.quantized_gradients=false"),
    ),
    Limit(
        # ``ops/aio``: the op is built on first use, with libaio; the buffers are pinned.
        key="optim.offload_to",
        when=lambda recipe: to_disk(recipe) and on_cpu(recipe),
        why="DeepSpeed reaches a disk through async_io, compiled code that pins a GPU's buffers",
        overrides=("optim.offload_to=cpu",),
    ),
    Limit(
        # ``ops/op_builder/quantizer.py``.
        key="optim.zero",
        when=lambda recipe: recipe.optim.plus is not None and on_cpu(recipe),
        why="ZeRO++ quantizes in CUDA kernels and parts weights by the GPUs of a node",
        overrides=(
            "optim.secondary_partition=1",
            "optim.quantized_weights=false",
            "optim.quantized_gradients=false",
        ),
    ),
    Limit(
        key="optim.zero",
        when=lambda recipe: (
            recipe.optim.zero == 0 and half_weights(recipe) and not has_no_optimizer(recipe)
        ),
        why="without ZeRO DeepSpeed has no norm of 16-bit gradients that a guard could look at",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="optim.overlap_param_gather",
        when=lambda recipe: recipe.optim.overlap_param_gather and recipe.optim.zero < 3,
        why="DeepSpeed gathers weights behind the update; with ZeRO-3 as they are needed",
        overrides=("optim.overlap_param_gather=false",),
    ),
)
"""Of the trainer around the engine."""


LIMITS = (
    *SHARED,
    *ENGINE,
    *PIPELINE,
    *TRAINER,
    Limit(
        key="parallel.tp",
        when=lambda recipe: recipe.backend.name == "deepspeed" and recipe.parallel.tp > 1,
        why="the backend deepspeed is without tensor parallel; megatron-core+deepspeed has it",
        overrides=("parallel.tp=1", "parallel.sequence=false"),
    ),
)
"""What the trainer cannot with DeepSpeed's engine."""

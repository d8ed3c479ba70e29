"""What Megatron-DeepSpeed cannot do under ``--deepspeed``."""

from llmtrain.config.attention import needs_unfused
from llmtrain.config.limit import NO_CUDA_GRAPHS, Limit
from llmtrain.config.reference_deepspeed import ENGINE
from llmtrain.planner.limits import (
    MEGATRON_RUN,
    MEGATRON_SHAPES,
    MISSING_SHAPES,
    is_uneven,
)

LIMITS = (
    *MISSING_SHAPES,
    *MEGATRON_SHAPES,
    Limit(
        key="model.activation",
        when=lambda recipe: recipe.model.activation == "geglu",
        why="its only gated activation is SwiGLU",
    ),
    Limit(
        key="model.qkv_bias",
        when=lambda recipe: recipe.model.qkv_bias and not recipe.model.bias,
        why="its linear layers all have biases or none has",
    ),
    Limit(
        key="model.mla",
        when=lambda recipe: recipe.model.mla is not None,
        why="it has no latent attention",
    ),
    Limit(
        key="model.mtp",
        when=lambda recipe: recipe.model.mtp > 0,
        why="it has no multi-token prediction",
    ),
    Limit(
        key="model.experts",
        when=lambda recipe: recipe.model.experts is not None,
        why="its experts are DeepSpeed's, with capacities, which are not rendered yet",
    ),
    Limit(
        # ``--ds-sequence-parallel-size`` is DeepSpeed-Ulysses: heads, not tokens, are exchanged.
        key="parallel.cp",
        when=lambda recipe: recipe.parallel.cp > 1,
        why="it has DeepSpeed-Ulysses in place of context parallel",
    ),
    Limit(
        # ``gpt_model.py`` (GPTModelPipe): a DeepSpeed PipelineModule has no virtual stages.
        key="parallel.vpp",
        when=lambda recipe: recipe.parallel.vpp > 1,
        why="DeepSpeed's pipeline has no virtual stages",
        overrides=("parallel.vpp=1",),
    ),
    Limit(
        # ``gpt_model.py``: partition_method='type:transformer' divides evenly by itself.
        key="parallel.pp",
        when=is_uneven,
        why="DeepSpeed's pipeline chooses the split itself",
    ),
    Limit(
        key="parallel.order",
        when=lambda recipe: recipe.parallel.order != "tp-cp-ep-dp-pp",
        why="DeepSpeed orders ranks by pipe, data and model",
        overrides=("parallel.order=tp-cp-ep-dp-pp",),
    ),
    Limit(
        key="precision.kind",
        when=lambda recipe: recipe.precision.kind == "fp8",
        why="its pipeline layers are built without Transformer Engine, which FP8 needs",
    ),
    Limit(
        # ``gpt_model.py``: "deepspeed's pipeline doesn't support the block recompute method".
        key="recompute.method",
        when=lambda recipe: (
            recipe.recompute.kind == "full"
            and recipe.recompute.method == "block"
            and recipe.parallel.pp > 1
        ),
        why="DeepSpeed's pipeline recomputes layers uniformly",
    ),
    Limit(
        key="recompute.modules",
        when=lambda recipe: (
            recipe.recompute.kind == "selective" and recipe.recompute.modules != ("core_attn",)
        ),
        why="its selective recompute is core attention's alone",
    ),
    Limit(
        # ``transformer.py`` (ParallelAttention): only unfused attention is checkpointed.
        key="recompute.kind",
        when=lambda recipe: (
            recipe.recompute.kind == "selective" and recipe.kernels.attention == "flash"
        ),
        why="flash attention recomputes by itself; its selective recompute is for unfused",
        overrides=("recompute.kind=none",),
    ),
    Limit(
        # ``transformer.py`` (FlashSelfAttention): asserts that q, k and v have 16 bits.
        key="kernels.attention",
        when=lambda recipe: recipe.kernels.attention == "flash" and needs_unfused(recipe),
        why="its flash attention has no fp32",
        overrides=("kernels.attention=auto",),
    ),
    Limit(
        key="kernels.attention",
        when=lambda recipe: recipe.kernels.attention == "fused",
        why="it has no cuDNN attention",
    ),
    Limit(
        key="kernels.tp_overlap",
        when=lambda recipe: recipe.kernels.tp_overlap,
        why="it does not overlap tensor parallel communication",
        overrides=("kernels.tp_overlap=false",),
    ),
    NO_CUDA_GRAPHS,
    Limit(
        key="kernels.dispatcher",
        when=lambda recipe: recipe.kernels.dispatcher == "deepep",
        why="it has no DeepEP",
        overrides=("kernels.dispatcher=alltoall",),
    ),
    Limit(
        key="schedule.kind",
        when=lambda recipe: recipe.schedule.kind == "wsd",
        why="its schedules are constant, linear and cosine",
    ),
    Limit(
        # ``data/gpt_dataset.py``: several paths are read as pairs of weight and prefix.
        key="data.weights",
        when=lambda recipe: len(recipe.data.paths) > 1 and recipe.data.weights is None,
        why="it needs a weight for each of several paths",
    ),
    Limit(
        # ``profiler.py`` starts torch's profiler by ``--profile``, and never CUDA's.
        key="profile.tool",
        when=lambda recipe: recipe.profile.tool != "none",
        why="its profiler has flags of its own, which are not rendered",
        overrides=("profile.tool=none",),
    ),
    *ENGINE,
    *MEGATRON_RUN,
)
"""Megatron-DeepSpeed at commit 4efb479d."""

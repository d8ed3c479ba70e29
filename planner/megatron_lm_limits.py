"""What Megatron-LM cannot do: its flags, and what its validation asserts."""

from llmtrain.config.limit import FP32_ATTENTION, Limit
from llmtrain.config.recipe import Recipe
from llmtrain.planner.limits import (
    MEGATRON_RUN,
    MEGATRON_SHAPES,
    MISSING_SHAPES,
    version_of,
)


def is_old(recipe: Recipe) -> bool:
    """Whether the version is v0.12.0rc3, which asserts what later ones allow."""
    return version_of(recipe) == "v0.12.0rc3"


LIMITS = (
    *MISSING_SHAPES,
    *MEGATRON_SHAPES,
    Limit(
        # ``fused_bias_geglu.py`` (quick_gelu): x sigmoid(1.702 x) in place of GELU's gate.
        key="model.activation",
        when=lambda recipe: recipe.model.activation == "geglu",
        why="its only gated GELU is quick GeGLU",
        nearly="quick GeGLU, a sigmoid in place of the error function",
    ),
    Limit(
        # ``arguments.py``: MTP is asserted to have rope or none.
        key="model.mtp",
        when=lambda recipe: recipe.model.mtp > 0 and recipe.model.positions not in ("rope", "none"),
        why="it has multi-token prediction with rotary positions or none only",
    ),
    Limit(
        key="model.mtp",
        when=lambda recipe: is_old(recipe) and recipe.model.mtp > 0 and recipe.parallel.cp > 1,
        why="v0.12.0rc3 has no multi-token prediction with context parallel",
    ),
    Limit(
        # ``moe_utils``: the balancing loss is not scaled right where stages count other things.
        key="parallel.pp",
        when=lambda recipe: (
            is_old(recipe)
            and recipe.model.experts is not None
            and (recipe.parallel.account_for_embedding or recipe.parallel.account_for_loss)
        ),
        why="v0.12.0rc3 does not count embedding or loss as a layer in a model with experts",
    ),
    Limit(
        key="precision.kind",
        when=lambda recipe: (
            is_old(recipe) and recipe.parallel.ep > 1 and recipe.precision.kind == "fp16"
        ),
        why="v0.12.0rc3 has no expert parallel in fp16",
    ),
    Limit(
        key="checkpoint.universal",
        when=lambda recipe: recipe.checkpoint.universal,
        why="universal checkpoints are DeepSpeed's; it reads any layout's torch_dist",
        overrides=("checkpoint.universal=false",),
    ),
    Limit(
        key="optim.zero",
        when=lambda recipe: recipe.optim.zero > 1,
        why="its distributed optimizer is ZeRO-1; sharding more is Megatron-FSDP, another engine",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="optim.overlap_param_gather",
        when=lambda recipe: (
            recipe.optim.overlap_param_gather and not recipe.optim.overlap_grad_reduce
        ),
        why="it asserts that the gradients' reduction overlaps too",
        overrides=("optim.overlap_grad_reduce=true",),
    ),
    Limit(
        key="optim.offload_to",
        when=lambda recipe: recipe.optim.offload and recipe.optim.offload_to == "nvme",
        why="it offloads to host memory only",
        overrides=("optim.offload_to=cpu",),
    ),
    Limit(
        # ``optimizer_config.py``: the offloading path needs the distributed optimizer.
        key="optim.offload",
        when=lambda recipe: recipe.optim.offload and recipe.optim.zero == 0,
        why="it offloads the distributed optimizer only",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="precision.fp8.param_gather",
        when=lambda recipe: (
            recipe.precision.kind == "fp8"
            and recipe.precision.fp8.param_gather
            and recipe.optim.zero == 0
        ),
        why="it asserts the distributed optimizer",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="recompute.modules",
        when=lambda recipe: (
            recipe.recompute.kind == "selective"
            and "mla_up_proj" in recipe.recompute.modules
            and recipe.model.mla is None
        ),
        why="`mla_up_proj` needs `model.mla`",
    ),
    Limit(
        # ``transformer_config.py``: moe_act needs the grouped GEMM, which only experts have.
        key="recompute.modules",
        when=lambda recipe: (
            recipe.recompute.kind == "selective"
            and "moe_act" in recipe.recompute.modules
            and (recipe.model.experts is None or recipe.precision.kind not in ("bf16", "fp8"))
        ),
        why="`moe_act` needs experts in bf16 or fp8",
    ),
    Limit(
        # ``transformer_config.py``: delayed scaling and these recomputes exclude each other.
        key="recompute.modules",
        when=lambda recipe: (
            recipe.recompute.kind == "selective"
            and recipe.precision.kind == "fp8"
            and recipe.precision.fp8.recipe == "delayed"
            and not {"moe_act", "layernorm"}.isdisjoint(recipe.recompute.modules)
        ),
        why="`moe_act` and `layernorm` are not recomputed under delayed FP8 scaling",
    ),
    *FP32_ATTENTION,
    Limit(
        key="kernels.attention",
        when=lambda recipe: recipe.kernels.attention == "unfused" and recipe.parallel.cp > 1,
        why="Transformer Engine has context parallel in its flash and fused attention only",
        overrides=("kernels.attention=auto",),
    ),
    Limit(
        # ``transformer_config.py``: full recompute is only supported with full iteration graphs.
        key="kernels.cuda_graphs",
        when=lambda recipe: recipe.kernels.cuda_graphs and recipe.recompute.kind == "full",
        why="it captures no layers that are recomputed whole",
    ),
    Limit(
        key="kernels.cuda_graphs",
        when=lambda recipe: recipe.kernels.cuda_graphs and recipe.model.experts is not None,
        why="it captures layers with experts only if tokens are dropped and padded",
    ),
    Limit(
        # ``transformer/moe/token_dispatcher.py``: MoEFlexTokenDispatcher asserts it.
        key="kernels.dispatcher",
        when=lambda recipe: (
            recipe.kernels.dispatcher == "deepep"
            and (recipe.model.experts is None or recipe.parallel.expert_tp * recipe.parallel.ep < 2)
        ),
        why="DeepEP is for experts that lie on more than one rank",
        overrides=("kernels.dispatcher=alltoall",),
    ),
    *MEGATRON_RUN,
)
"""Megatron-LM at core_v0.19.0, core_v0.16.1 and v0.12.0rc3."""

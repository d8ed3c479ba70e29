"""What the reference trainer cannot do yet."""

from llmtrain.config.layout import total_steps
from llmtrain.planner.limits import MISSING_SHAPES, Limit, half_weights

LIMITS = (
    *MISSING_SHAPES,
    Limit(
        key="model.norm",
        when=lambda recipe: recipe.model.norm == "layernorm1p",
        why="the reference trainer has no LayerNorm1p yet",
    ),
    Limit(
        key="model.experts",
        when=lambda recipe: recipe.model.experts is not None,
        why="the reference trainer has no experts yet",
    ),
    Limit(
        key="model.mla",
        when=lambda recipe: recipe.model.mla is not None,
        why="the reference trainer has no latent attention yet",
    ),
    Limit(
        key="model.mtp",
        when=lambda recipe: recipe.model.mtp > 0,
        why="the reference trainer has no multi-token prediction yet",
    ),
    Limit(
        key="parallel.cp",
        when=lambda recipe: recipe.parallel.cp > 1,
        why="the reference trainer has no context parallel yet",
    ),
    Limit(
        key="parallel.ep",
        when=lambda recipe: recipe.parallel.ep > 1,
        why="the reference trainer has no expert parallel yet",
    ),
    Limit(
        key="batch.ramp",
        when=lambda recipe: recipe.batch.ramp is not None,
        why="the reference trainer has no batch ramp yet",
    ),
    Limit(
        key="precision.kind",
        when=lambda recipe: recipe.precision.kind in ("fp16", "fp8"),
        why="the reference trainer has fp32 and bf16 so far",
    ),
    Limit(
        key="recompute.modules",
        when=lambda recipe: (
            recipe.recompute.kind == "selective" and set(recipe.recompute.modules) != {"core_attn"}
        ),
        why="the reference trainer recomputes core_attn, or whole layers, so far",
        overrides=("recompute.modules=[core_attn]",),
    ),
    Limit(
        key="optim.zero",
        when=lambda recipe: recipe.optim.zero > 1,
        why="the reference trainer has ZeRO 0 and 1 so far",
    ),
    Limit(
        key="optim.offload",
        when=lambda recipe: recipe.optim.offload,
        why="the reference trainer keeps its optimizer on the GPU",
    ),
    Limit(
        key="optim.master",
        when=lambda recipe: not recipe.optim.master and half_weights(recipe),
        why="the reference trainer always keeps an fp32 copy of 16-bit weights",
    ),
    Limit(
        key="kernels.tp_overlap",
        when=lambda recipe: recipe.kernels.tp_overlap,
        why="the reference trainer has no overlap of tensor parallel communication yet",
    ),
    Limit(
        key="kernels.cuda_graphs",
        when=lambda recipe: recipe.kernels.cuda_graphs,
        why="the reference trainer has no CUDA graphs yet",
    ),
    Limit(
        key="kernels.attention",
        when=lambda recipe: recipe.kernels.attention == "fused" and recipe.cluster.device == "cpu",
        why="fused attention is cuDNN's, which needs a GPU",
    ),
    Limit(
        key="run.steps",
        when=lambda recipe: total_steps(recipe) is None,
        why="its length must be given, here or as `tokens`",
    ),
)
"""The reference trainer."""

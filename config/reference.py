"""What the reference trainer cannot train: said by the plan, and by the trainer before it starts.

Here is what neither of its engines can, and what megatron-core's own cannot; DeepSpeed's has
:mod:`llmtrain.config.reference_deepspeed`. What no program accepts is in
:mod:`llmtrain.config.rules`.
"""

from llmtrain.config.layout import chunk_layers
from llmtrain.config.limit import FP32_ATTENTION, FP32_COPY, NO_CUDA_GRAPHS, NO_LENGTH, Limit
from llmtrain.config.recipe import Recipe


def on_cpu(recipe: Recipe) -> bool:
    """Whether the ranks compute on a CPU."""
    return recipe.cluster.device == "cpu"


def recomputes(recipe: Recipe, *modules: str) -> bool:
    """Whether some of ``modules`` are recomputed alone."""
    selective = recipe.recompute.kind == "selective"
    return selective and not set(modules).isdisjoint(recipe.recompute.modules)


def scales_late(recipe: Recipe) -> bool:
    """Whether FP8's scaling factors come from the steps before."""
    return recipe.precision.kind == "fp8" and recipe.precision.fp8.recipe == "delayed"


SHAPES = (
    Limit(
        key="model.positions",
        when=lambda recipe: recipe.model.positions == "alibi",
        why="megatron-core has no ALiBi",
    ),
    Limit(
        key="model.norm",
        when=lambda recipe: recipe.model.norm == "deepnorm",
        why="megatron-core has no DeepNorm (post-layer-norm with a scaled residual)",
    ),
    Limit(
        key="model.embedding_norm",
        when=lambda recipe: recipe.model.embedding_norm,
        why="megatron-core has no norm behind the embedding",
    ),
    Limit(
        # Its copy of the embedding, on the last stage, has the words' gradients summed, not these.
        key="model.mtp",
        when=lambda recipe: (
            recipe.model.mtp > 0 and recipe.model.positions == "learned" and recipe.parallel.pp > 1
        ),
        why="over stages, megatron-core has multi-token prediction without learned positions only",
    ),
)
"""The model."""

LAYOUT = (
    Limit(
        # ``multi_latent_attention.py``: the rotary part of the keys is whole on every rank.
        key="parallel.sequence",
        when=lambda recipe: (
            recipe.model.mla is not None and recipe.parallel.tp > 1 and not recipe.parallel.sequence
        ),
        why=(
            "without sequence parallel megatron-core does not sum the gradients of latent "
            "attention's rotary keys over the tensor parallel ranks"
        ),
        overrides=("parallel.sequence=true",),
    ),
    Limit(
        # ``tensor_parallel/layers.py`` marks the weights of experts with ep > 1 alone.
        key="parallel.etp",
        when=lambda recipe: (
            recipe.model.experts is not None
            and recipe.parallel.ep == 1
            and recipe.parallel.expert_tp != recipe.parallel.tp
        ),
        why=(
            "with ep 1 megatron-core sums the gradients of experts over the replicas of the dense "
            "weights, which is right where etp is tp"
        ),
        overrides=("parallel.etp=null",),
    ),
)
"""How the model is cut."""

KERNELS = (
    Limit(
        # megatron-core ``transformer_config.py``.
        key="precision.fp8.bf16_ends",
        when=lambda recipe: scales_late(recipe) and recipe.precision.fp8.bf16_ends,
        why="under delayed FP8 scaling no layer stays in bf16",
    ),
    Limit(
        key="kernels.attention",
        when=lambda recipe: recipe.kernels.attention == "fused" and on_cpu(recipe),
        why="fused attention is cuDNN's, which needs a GPU",
    ),
    *FP32_ATTENTION,
    Limit(
        key="kernels.attention",
        when=lambda recipe: recipe.kernels.attention == "unfused" and recipe.parallel.cp > 1,
        why="unfused attention sees its own part of a sequence only",
        overrides=("kernels.attention=auto",),
    ),
    Limit(
        key="kernels.tp_overlap",
        when=lambda recipe: recipe.kernels.tp_overlap,
        why="it does not set up Transformer Engine's user buffers",
        overrides=("kernels.tp_overlap=false",),
    ),
    NO_CUDA_GRAPHS,
    Limit(
        key="kernels.dispatcher",
        when=lambda recipe: recipe.kernels.dispatcher == "deepep",
        why="it does not build DeepEP",
        overrides=("kernels.dispatcher=alltoall",),
    ),
)
"""Numbers and kernels."""

RECOMPUTE = (
    Limit(
        # ``transformer_block.py`` asks a chunk for layers that it does not have.
        key="recompute.layers",
        when=lambda recipe: (
            recipe.recompute.kind == "full"
            and recipe.recompute.method == "uniform"
            and any(count % recipe.recompute.layers for count in chunk_layers(recipe) or ())
        ),
        why="megatron-core's uniform recompute takes whole groups of layers from every chunk",
    ),
    Limit(
        key="recompute.modules",
        when=lambda recipe: recomputes(recipe, "mla_up_proj") and recipe.model.mla is None,
        why="`mla_up_proj` needs `model.mla`",
    ),
    Limit(
        # Only the grouped product of Transformer Engine leaves its activation out.
        key="recompute.modules",
        when=lambda recipe: (
            recomputes(recipe, "moe_act")
            and (
                recipe.model.experts is None
                or on_cpu(recipe)
                or recipe.precision.kind not in ("fp16", "bf16", "fp8")
            )
        ),
        why="`moe_act` needs experts in 16-bit numbers on a GPU",
    ),
    Limit(
        key="recompute.modules",
        when=lambda recipe: scales_late(recipe) and recomputes(recipe, "moe_act", "layernorm"),
        why="`moe_act` and `layernorm` are not recomputed under delayed FP8 scaling",
    ),
)
"""What selective recompute drops; megatron-core ``transformer_config.py``."""

OPTIMIZER = (
    Limit(
        key="optim.zero",
        when=lambda recipe: recipe.optim.zero > 1,
        why="megatron-core's distributed optimizer is ZeRO-1",
        overrides=("optim.zero=1",),
    ),
    Limit(
        key="optim.offload",
        when=lambda recipe: recipe.optim.offload,
        why="its optimizer stays where the weights are",
    ),
    Limit(
        # ``optimizer/__init__.py``: an optimizer each, and the loss is multiplied with one's scale.
        key="precision.loss_scale",
        when=lambda recipe: (
            recipe.precision.kind == "fp16"
            and recipe.precision.loss_scale is None
            and recipe.parallel.ep > 1
        ),
        why="megatron-core lowers the scale of dense and of expert weights apart; a constant works",
    ),
)
"""megatron-core's optimizer."""

RUN = (
    Limit(
        key="checkpoint.universal",
        when=lambda recipe: recipe.checkpoint.universal,
        why="it reads checkpoints of other layouts by itself",
        overrides=("checkpoint.universal=false",),
    ),
    FP32_COPY,
    NO_LENGTH,
)
"""The run."""

SHARED = (*SHAPES, *LAYOUT, *KERNELS, *RECOMPUTE, *RUN)
"""What neither engine can."""

LIMITS = (*SHARED, *OPTIMIZER)
"""What the trainer cannot with megatron-core's own engine."""


def trains(recipe: Recipe) -> bool:
    """Whether the reference trainer runs the recipe, and no program of the user's."""
    name = recipe.backend.name
    return name.startswith("megatron-core") or (name == "deepspeed" and not recipe.backend.path)


def missing(recipe: Recipe) -> tuple[Limit, ...]:
    """What the engine of the recipe's backend cannot, whatever the recipe asks for."""
    if recipe.backend.name == "megatron-core":
        return LIMITS
    from llmtrain.config.reference_deepspeed import LIMITS as BY_DEEPSPEED

    return BY_DEEPSPEED

"""What a program cannot do, as data: when a recipe asks for it, and why not.

Here is what several programs share; each has a module with a table of its own. The sources are the
programs' own code at the versions named here.
"""

from types import MappingProxyType

from llmtrain.config.layout import chunk_layers, total_steps
from llmtrain.config.limit import FP32_COPY, NO_LENGTH, Limit
from llmtrain.config.recipe import Recipe

VERSIONS = MappingProxyType(
    {
        "megatron-lm": ("core_v0.19.0", "core_v0.16.1", "v0.12.0rc3"),
        "megatron-deepspeed": ("4efb479d",),
    }
)
"""Versions of a backend whose flags are known, the newest first."""


def version_of(recipe: Recipe) -> str:
    """The version of the recipe's backend: the one it names, else the newest that is known."""
    return recipe.backend.version or VERSIONS[recipe.backend.name][0]


def is_uneven(recipe: Recipe) -> bool:
    """Whether some stage or chunk has fewer layers than another."""
    return len(set(chunk_layers(recipe) or ())) > 1


def shorter_warmup(recipe: Recipe) -> tuple[str, ...]:
    """A tenth of the decay: what a trial of a few steps, of a run of many, is begun with."""
    end = recipe.schedule.decay or total_steps(recipe) or 0
    return (f"schedule.warmup={end // 10}",)


def warms_up_too_long(recipe: Recipe) -> bool:
    """Whether the warm-up takes all steps of the decay, or more."""
    end = recipe.schedule.decay or total_steps(recipe)
    return end is not None and recipe.schedule.warmup >= end


MISSING_SHAPES = (
    Limit(
        key="model.positions",
        when=lambda recipe: recipe.model.positions == "alibi",
        why="it has no ALiBi",
    ),
    Limit(
        key="model.norm",
        when=lambda recipe: recipe.model.norm == "deepnorm",
        why="it has no DeepNorm (post-layer-norm with a scaled residual)",
    ),
    Limit(
        key="model.embedding_norm",
        when=lambda recipe: recipe.model.embedding_norm,
        why="it has no norm behind the embedding",
    ),
)
"""Shapes that none of the programs has."""

MEGATRON_SHAPES = (
    Limit(
        key="model.activation",
        when=lambda recipe: recipe.model.activation == "relu",
        why="it has GELU, SwiGLU and squared ReLU, not plain ReLU",
    ),
    Limit(
        key="model.rope_base",
        when=lambda recipe: not float(recipe.model.rope_base).is_integer(),
        why="its flag takes whole numbers",
    ),
)
"""Shapes that the two Megatrons lack."""

MEGATRON_RUN = (
    NO_LENGTH,
    Limit(
        # ``optimizer_param_scheduler.py``: assert lr_warmup_steps < lr_decay_steps.
        key="schedule.warmup",
        when=warms_up_too_long,
        why="its scheduler asserts that the warm-up is shorter than the decay",
        finds=shorter_warmup,
    ),
    Limit(
        key="data.kind",
        when=lambda recipe: recipe.data.kind == "stdlib",
        why="this text is prepared by the reference trainer alone; see `data=mock`, `data=indexed`",
    ),
    Limit(
        key="cluster.device",
        when=lambda recipe: recipe.cluster.device == "cpu",
        why="it trains on GPUs",
    ),
    FP32_COPY,
)
"""What both Megatrons assert of a run."""

"""Something that a program or an engine cannot do, as data."""

from collections.abc import Callable
from dataclasses import dataclass

from llmtrain.config.attention import is_unfused, needs_unfused
from llmtrain.config.errors import Repair
from llmtrain.config.layout import total_steps
from llmtrain.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """Something that a program cannot do."""

    key: str
    """The recipe key that asks for it."""
    when: Callable[[Recipe], bool]
    """Whether a recipe asks for it."""
    why: str
    """The reason, as the end of a sentence."""
    nearly: str = ""
    """What the program does in its place where the recipe accepts that; empty: nothing."""
    overrides: tuple[str, ...] = ()
    """The change that mends it, where there is one that only maps the experiment."""
    finds: Callable[[Recipe], tuple[str, ...]] | None = None
    """The change that mends it, where it depends on the recipe."""

    def repair(self, recipe: Recipe) -> tuple[Repair, ...]:
        """The change that mends it in ``recipe``, if there is one."""
        overrides = self.finds(recipe) if self.finds else self.overrides
        return (Repair(overrides=overrides),) if overrides else ()


def half_weights(recipe: Recipe) -> bool:
    """Whether weights have 16 bits."""
    return recipe.precision.kind != "fp32"


NO_LENGTH = Limit(
    key="run.steps",
    when=lambda recipe: total_steps(recipe) is None,
    why="its length must be given, here or as `tokens`",
)
"""Of every program whose steps the recipe counts."""

FP32_COPY = Limit(
    key="optim.master",
    when=lambda recipe: not recipe.optim.master and half_weights(recipe),
    why="it always keeps an fp32 copy of 16-bit weights",
)
"""Of Megatron's optimizers."""

NO_CUDA_GRAPHS = Limit(
    key="kernels.cuda_graphs",
    when=lambda recipe: recipe.kernels.cuda_graphs,
    why="it captures no CUDA graphs",
    overrides=("kernels.cuda_graphs=false",),
)
"""Of the reference trainer and of Megatron-DeepSpeed."""

FP32_ATTENTION = (
    Limit(
        key="kernels.attention",
        when=lambda recipe: needs_unfused(recipe) and not is_unfused(recipe),
        why="Transformer Engine's flash and fused attention have no fp32",
        overrides=("kernels.attention=unfused",),
    ),
    Limit(
        key="parallel.cp",
        when=lambda recipe: needs_unfused(recipe) and recipe.parallel.cp > 1,
        why="in fp32 there is unfused attention only, which sees its own part of a sequence",
        overrides=("parallel.cp=1",),
    ),
)
"""Of the programs whose attention on a GPU is Transformer Engine's."""

"""What a user's script on DeepSpeed cannot be told; the reference trainer's limits without one."""

from collections.abc import Callable
from dataclasses import replace

from llmtrain.config.limit import Limit, half_weights
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.config.reference_deepspeed import ENGINE
from llmtrain.config.reference_deepspeed import LIMITS as TRAINER


def _one(name: str, what: str) -> Limit:
    """A degree of parallelism that must be 1."""
    return Limit(
        key=f"parallel.{name}",
        when=lambda recipe: getattr(recipe.parallel, name) > 1,
        why=f"a plain DeepSpeed script is data parallel, without {what}",
    )


SCRIPT = (
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
        key="optim.master",
        when=lambda recipe: not recipe.optim.master and half_weights(recipe),
        why="DeepSpeed keeps an fp32 copy of 16-bit weights",
    ),
    Limit(
        key="profile.tool",
        when=lambda recipe: recipe.profile.tool == "torch",
        why="DeepSpeed's JSON cannot ask for torch's profiler; the script must start it",
        overrides=("profile.tool=none",),
    ),
    *ENGINE,
)
"""A script of the user's with DeepSpeed's JSON; the model and its kernels are the script's."""


def _when(limit: Limit, asked: Callable[[Recipe], bool]) -> Limit:
    """The limit where the recipe is of the kind that is ``asked`` for."""
    return replace(limit, when=lambda recipe: asked(recipe) and limit.when(recipe))


LIMITS = (
    *(_when(limit, trains) for limit in TRAINER),
    *(_when(limit, lambda recipe: not trains(recipe)) for limit in SCRIPT),
)
"""``backend.path`` decides whose program it is."""

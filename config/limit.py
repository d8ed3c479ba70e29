"""Something that a program or an engine cannot do, as data."""

from collections.abc import Callable
from dataclasses import dataclass

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


def half_weights(recipe: Recipe) -> bool:
    """Whether weights have 16 bits."""
    return recipe.precision.kind != "fp32"

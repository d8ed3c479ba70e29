"""The file by which a program finds the checkpoint that it loads, in the folder of checkpoints."""

from collections.abc import Iterator
from dataclasses import dataclass

from llmtrain.config.layout import degrees
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains

MEGATRON = "latest_checkpointed_iteration.txt"
"""Megatron-LM ``megatron/training/checkpointing.py``, ``get_checkpoint_tracker_filename``."""
LATEST, UNIVERSAL = "latest", "latest_universal"
"""DeepSpeed 0.19.8 ``runtime/engine.py``, ``load_checkpoint``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """What every whole checkpoint of a layout has."""

    pattern: str
    """A shell pattern within its folder."""
    count: int
    """So many files."""


def tracker_file(recipe: Recipe) -> str | None:
    """Its name; None: the reference trainer goes by the names of the folders."""
    if trains(recipe):
        return None
    if recipe.backend.name == "megatron-lm":
        return MEGATRON
    return UNIVERSAL if recipe.checkpoint.universal else LATEST


def rank_files(recipe: Recipe) -> Iterator[Files]:
    """The files of the ranks, as Megatron-LM's ``torch`` format and DeepSpeed name them."""
    layout, zero = degrees(recipe), recipe.optim.zero
    cut = layout["tp"] * layout["pp"]
    if recipe.backend.name == "megatron-lm":
        yield Files(pattern="mp_rank_*/model_optim_rng.pt", count=cut * layout["ep"])
        return
    yield Files(
        pattern="*mp_rank_*_model_states.pt", count=cut * (layout["dp"] if zero == 3 else 1)
    )
    if zero:
        yield Files(pattern="*zero_pp_rank_*_optim_states.pt", count=cut * layout["dp"])

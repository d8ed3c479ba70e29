"""Whether the index of an earlier run serves this one.

megatron-core keeps the order of the samples in files, beside a text that says all that decides it
(``megatron_dataset.py``, ``unique_description``). Where one of these things has changed it makes
them anew: that takes time, and the samples come in another order, so that a run which goes on from
a checkpoint meets some samples twice and others never.
"""

import json
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from llmtrain.config.errors import Problem
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.planner.sets import SetUse, split_matrix

SURPLUS = 0.005
"""Samples made beyond those of a set's weight; ``mid_level_dataset_surplus``."""

WORDS = {
    "num_samples": "samples",
    "random_seed": "seed",
    "sequence_length": "tokens a sample",
    "split_matrix": "split",
}
"""What decides the order, in our words."""


def index_warnings(recipe: Recipe, sets: tuple[SetUse, ...]) -> Iterator[Problem]:
    """One for each set to train on whose index was made for something else."""
    for each in sets:
        wanted = _wanted(recipe, each)
        found = list(_described(_folder(recipe, each.prefix), each.prefix))
        if each.use == "training" and wanted and found:
            yield from _warning(each, wanted, found)


def _warning(
    each: SetUse, wanted: Mapping[str, Any], found: list[Mapping[str, Any]]
) -> Iterator[Problem]:
    changes = [
        {
            name: (old.get(name), new)
            for name, new in wanted.items()
            if not _same(old.get(name), new)
        }
        for old in found
    ]
    nearest = min(changes, key=len)
    if nearest:
        what = ", ".join(
            f"{WORDS[name]} {_shown(old)} → {_shown(new)}" for name, (old, new) in nearest.items()
        )
        says = (
            f"the index of {each.prefix} is built anew ({what}): its samples come in another order"
        )
        yield Problem(code="index_rebuilt", says=says)


def _wanted(recipe: Recipe, each: SetUse) -> dict[str, Any]:
    """What the description of this run's index says; empty where it is not known."""
    if each.samples is None:
        return {}
    blended = recipe.data.weights is not None or len(recipe.data.paths) > 1
    own = bool(recipe.data.validation.paths)
    return {
        "num_samples": ceil(each.samples * (1 + SURPLUS)) if blended else each.samples,
        "random_seed": recipe.run.seed,
        "sequence_length": recipe.model.seq,
        "split_matrix": None if own else _matrix(split_matrix(recipe)),
    }


def _matrix(ends: list[tuple[float, float]]) -> list[list[float] | None]:
    """As megatron-core writes it: a split without anything in it is null."""
    return [[begin, end] if end > begin else None for begin, end in ends]


def _folder(recipe: Recipe, prefix: str) -> Path:
    """Where the index is kept: by our trainer in the cache, by Megatron there or beside the set."""
    if trains(recipe):
        import platformdirs

        return Path(recipe.data.cache or platformdirs.user_cache_dir("llmtrain")) / "indices"
    return Path(recipe.data.cache or f"{prefix}/cache/GPTDataset_indices")


def _described(folder: Path, prefix: str) -> Iterator[Mapping[str, Any]]:
    """What the indices there were made for, if it is this set's training."""
    for file in sorted(folder.glob("*-GPTDataset-train-description.txt")):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get("dataset_path") == prefix:
            yield found


def _same(old: Any, new: Any) -> bool:
    """Shares are compared as numbers: programs write them in different ways."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return all(_same(a, b) for a, b in zip(old, new, strict=True))
    if isinstance(old, float) or isinstance(new, float):
        return isinstance(old, (int, float)) and abs(old - new) < 1e-9
    return bool(old == new)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "/".join("0" if each is None else f"{each[1] - each[0]:.3g}" for each in value)
    return f"{value:,}" if isinstance(value, int) else "of its own" if value is None else str(value)

"""How often a run goes through its data; what is on this machine is looked at, by its index."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, Literal

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.layout import step_samples, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.data.indexed import Index, read_index

Use = Literal["training", "validation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetUse:
    """One set of a blend. None: its files are not on this machine, or the run has no length."""

    prefix: str
    """Of its .bin/.idx pair."""
    use: Use
    """What its samples are for."""
    share: float | None
    """Of the samples, from 0 to 1."""
    documents: int | None
    """In its part of the split."""
    tokens: int | None
    """In its part of the split."""
    samples: int | None
    """Taken from it in the whole run."""
    epochs: float | None
    """How often each of its tokens is read."""


def sets_of(recipe: Recipe) -> tuple[SetUse, ...]:
    """Every set of the recipe's blends; none where the tokens are not in files."""
    data, held = recipe.data, recipe.data.validation
    if data.kind != "indexed":
        return ()
    training = _blend(recipe, data.paths, data.weights, "training")
    if not held.interval:
        return tuple(training)
    own = (held.paths, held.weights) if held.paths else (data.paths, data.weights)
    return (*training, *_blend(recipe, *own, "validation"))


def samples_of(recipe: Recipe, use: Use) -> int | None:
    """Samples of the run; None where it has no length.

    Our trainer validates on the same ones every time; Megatron goes on to others (``training.py``,
    ``get_train_valid_test_num_samples``).
    """
    steps, held = total_steps(recipe), recipe.data.validation
    if steps is None:
        return None
    if use == "training":
        return step_samples(recipe, steps).start
    once = held.batches * recipe.batch.global_
    if trains(recipe) or not held.interval:
        return once
    return once * (steps // held.interval + 1)


def _blend(
    recipe: Recipe, paths: tuple[str, ...], weights: tuple[float, ...] | None, use: Use
) -> Iterator[SetUse]:
    indices = [_index(path) for path in paths]
    shares = _shares(weights, indices)
    samples = samples_of(recipe, use)
    for path, index, share in zip(paths, indices, shares, strict=True):
        taken = None if samples is None or share is None else ceil(samples * share)
        first, last = part(recipe, use, index.sequences) if index else (0, 0)
        tokens = index.tokens(first, last) if index else None
        yield SetUse(
            prefix=path,
            use=use,
            share=share,
            documents=last - first if index else None,
            tokens=tokens,
            samples=taken,
            epochs=taken * recipe.model.seq / tokens if taken and tokens else None,
        )


def _index(path: str) -> Index | None:
    """None also for a broken one: the warnings say so."""
    try:
        return read_index(path)
    except (LaunchError, OSError):
        return None


def _shares(weights: tuple[float, ...] | None, indices: list[Index | None]) -> list[float | None]:
    """As the weights say, else by the bytes of tokens."""
    if len(indices) == 1:
        return [1.0]
    if weights is None:
        known = [index.tokens() * index.token_bytes for index in indices if index]
        if len(known) < len(indices):
            return [None] * len(indices)
        weights = tuple(map(float, known))
    total = sum(weights) or 1.0
    return [weight / total for weight in weights]


def part(recipe: Recipe, use: Use, sequences: int) -> tuple[int, int]:
    """First and last sequence of a split, as megatron-core's ``BlendedMegatronDatasetBuilder``."""
    if recipe.data.validation.paths:
        return 0, sequences
    begin, end = split_matrix(recipe)[0 if use == "training" else 1]
    return round(begin * sequences), round(end * sequences)


def split_matrix(recipe: Recipe) -> list[tuple[float, float]]:
    """Where the splits begin and end, from 0 to 1."""
    total, ends = sum(recipe.data.split), [0.0]
    for share in recipe.data.split:
        ends.append(ends[-1] + share / total)
    return list(pairwise(ends))


def sets_warnings(recipe: Recipe, sets: tuple[SetUse, ...]) -> Iterator[Problem]:
    """Indices that cannot be read, and Megatron's one epoch of a blend without weights."""
    for each in sets:
        try:
            read_index(each.prefix)
        except (LaunchError, OSError) as error:
            yield Problem(code="index_broken", says=str(error))
    data = recipe.data
    more = [each for each in sets if each.use == "training" and (each.epochs or 0) > 1]
    if more and data.weights is None and len(data.paths) > 1 and _ends_early(recipe):
        says = (
            f"are {more[0].epochs:.2f} epochs, but without `data.weights` Megatron ends after one"
        )
        hint = "give `data.weights`"
        yield Problem(code="data_too_short", key="data.paths", says=says, hint=hint)


def _ends_early(recipe: Recipe) -> bool:
    return recipe.backend.name == "megatron-lm"


def sets_json(sets: tuple[SetUse, ...]) -> list[dict[str, Any]]:
    """For ``plan --json``."""
    return [asdict(each) for each in sets]


def name_of(each: SetUse) -> str:
    """The last part of its prefix."""
    return Path(each.prefix).name

"""The training samples of a recipe: a fixed sequence, the same for every layout."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

from llmtrain.config.errors import RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.trainer import corpus


class Samples(Protocol):
    """Samples by number: each has ``tokens`` and ``labels``, both (seq,) of int64."""

    def __getitem__(self, number: int, /) -> dict[str, torch.Tensor]:
        """Sample ``number``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Sets:
    """All samples of a run."""

    training: Samples
    """In the order in which they are trained on."""
    validation: Samples | None
    """The same for every validation; None: the recipe asks for none."""


def sets(recipe: Recipe, count: int) -> Sets:
    """``count`` samples to train on and those to validate on; all ranks must call this together.

    Their order is a function of the recipe: of the tokens, the seed, the split and ``count``.
    """
    held = held_out(recipe)
    if recipe.data.kind == "mock":
        made_up = MadeUp(vocab=recipe.model.vocab, seq=recipe.model.seq, seed=recipe.run.seed)
        return Sets(training=made_up, validation=Behind(made_up, count) if held else None)
    cache = corpus.folder(recipe.data.cache)
    if recipe.data.kind == "stdlib":
        return _indexed(recipe, [str(corpus.prepare(cache))], (count, held), cache)
    require_files(recipe.data.paths, "data.paths")
    require_files(recipe.data.validation.paths, "data.validation.paths")
    return _indexed(recipe, recipe.data.paths, (count, held), cache)


def held_out(recipe: Recipe) -> int:
    """Samples of one validation; 0 where none is asked for."""
    asked = recipe.data.validation
    return asked.batches * recipe.batch.global_ if asked.interval else 0


def require_files(paths: Sequence[str], key: str) -> None:
    """Raise for every prefix that has no .bin or no .idx.

    Raises:
        RecipeError: naming each file that is not there.
    """
    wanted = (f"{path}{suffix}" for path in paths for suffix in (".bin", ".idx"))
    missing = [name for name in wanted if not Path(name).is_file()]
    if missing:
        raise RecipeError(f"`{key}` needs files that are not there: {', '.join(missing)}")


class MadeUp:
    """Sequences that count upwards, each from its own start in its own stride: easy to learn."""

    def __init__(self, vocab: int, seq: int, seed: int) -> None:
        """``vocab`` tokens, ``seq`` of them in a sample."""
        self.vocab, self.seq, self.seed = vocab, seq, seed

    def __getitem__(self, number: int, /) -> dict[str, torch.Tensor]:
        """Sample ``number``; any number is there."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        start, stride = int.from_bytes(digest[:8], "big"), 1 + digest[8] % 8
        text = (start % self.vocab + stride * torch.arange(self.seq + 1)) % self.vocab
        return {"tokens": text[:-1], "labels": text[1:]}


class Behind:
    """Samples that begin behind those of another use."""

    def __init__(self, inner: Samples, first: int) -> None:
        """Sample 0 is ``first`` of ``inner``."""
        self.inner, self.first = inner, first

    def __getitem__(self, number: int, /) -> dict[str, torch.Tensor]:
        """Sample ``number``."""
        return self.inner[self.first + number]


class Tokenizer:
    """What megatron-core's datasets ask of a tokenizer whose work is already done."""

    eod = corpus.END
    # No token has this number, so none is taken for padding and masked.
    pad = -1

    def __init__(self, recipe: Recipe) -> None:
        """The tokenizer of ``recipe``."""
        self.vocab_size = recipe.model.vocab
        self.unique_identifiers = {"tokenizer": recipe.data.tokenizer or "bytes"}


def _indexed(recipe: Recipe, paths: Sequence[str], counts: tuple[int, int], cache: Path) -> Sets:
    builder = BlendedMegatronDatasetBuilder(
        GPTDataset, [*counts, 0], lambda: True, _config(recipe, paths, cache)
    )
    training, validation, _ = builder.build()
    vocab, (count, held) = recipe.model.vocab, counts
    return Sets(
        training=Checked(_long_enough(training, count, "training"), vocab),
        validation=Checked(_long_enough(validation, held, "validation"), vocab) if held else None,
    )


def _config(recipe: Recipe, paths: Sequence[str], cache: Path) -> GPTDatasetConfig:
    data, own = recipe.data, recipe.data.validation
    training = blend(paths, data.weights)
    per_split = [training, blend(own.paths, own.weights) if own.interval else None, None]
    return GPTDatasetConfig(
        random_seed=recipe.run.seed,
        sequence_length=recipe.model.seq,
        blend=None if own.paths else training,
        blend_per_split=per_split if own.paths else None,
        split=None if own.paths else ",".join(str(share) for share in data.split),
        path_to_cache=str(cache / "indices"),
        tokenizer=Tokenizer(recipe),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )


def _long_enough(found: Any, count: int, what: str) -> Any:
    if found is None or len(found) < count:
        raise RecipeError(f"`data.paths` hold too few tokens for one {what} sample")
    return found


def blend(
    paths: Sequence[str], weights: Sequence[float] | None
) -> tuple[list[str], list[float] | None]:
    """Prefixes and weights as megatron-core wants them; without weights several paths go by size.

    (megatron-core's own answer to missing weights ends after one epoch.)
    """
    if weights is None and len(paths) > 1:
        weights = [float(Path(f"{path}.bin").stat().st_size) for path in paths]
    return list(paths), None if weights is None else list(weights)


class Checked:
    """Samples whose tokens are all inside the vocabulary.

    With tensor parallelism megatron-core's embedding takes a token that is too large for zero.
    """

    def __init__(self, inner: Samples, vocab: int) -> None:
        """``inner`` with a vocabulary of ``vocab``."""
        self.inner, self.vocab = inner, vocab

    def __getitem__(self, number: int, /) -> dict[str, torch.Tensor]:
        """Sample ``number``.

        Raises:
            RecipeError: if a token is not in the vocabulary.
        """
        sample = self.inner[number]
        largest = int(max(sample["tokens"].max(), sample["labels"].max()))
        if largest >= self.vocab:
            raise RecipeError(f"token {largest} in the data; `model.vocab` is {self.vocab}")
        return sample

"""The training samples of a recipe: a fixed sequence, the same for every layout."""

import hashlib
from collections.abc import Sequence
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


def samples(recipe: Recipe, count: int) -> Samples:
    """The ``count`` samples of the run, in order; every rank must call this at the same time."""
    if recipe.data.kind == "mock":
        return MadeUp(vocab=recipe.model.vocab, seq=recipe.model.seq, seed=recipe.run.seed)
    cache = corpus.folder(recipe.data.cache)
    if recipe.data.kind == "stdlib":
        return _indexed(recipe, [str(corpus.prepare(cache))], count, cache)
    require_files(recipe.data.paths)
    return _indexed(recipe, recipe.data.paths, count, cache)


def require_files(paths: Sequence[str]) -> None:
    """Raise for every prefix that has no .bin or no .idx.

    Raises:
        RecipeError: naming each file that is not there.
    """
    wanted = (f"{path}{suffix}" for path in paths for suffix in (".bin", ".idx"))
    missing = [name for name in wanted if not Path(name).is_file()]
    if missing:
        raise RecipeError(f"`data.paths` needs files that are not there: {', '.join(missing)}")


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


class Tokenizer:
    """What megatron-core's datasets ask of a tokenizer whose work is already done."""

    eod = corpus.END
    # No token has this number, so none is taken for padding and masked.
    pad = -1

    def __init__(self, recipe: Recipe) -> None:
        """The tokenizer of ``recipe``."""
        self.vocab_size = recipe.model.vocab
        self.unique_identifiers = {"tokenizer": recipe.data.tokenizer or "bytes"}


def _indexed(recipe: Recipe, paths: Sequence[str], count: int, cache: Path) -> Samples:
    config = GPTDatasetConfig(
        random_seed=recipe.run.seed,
        sequence_length=recipe.model.seq,
        blend=blend(paths, recipe.data.weights),
        split=",".join(str(share) for share in recipe.data.split),
        path_to_cache=str(cache / "indices"),
        tokenizer=Tokenizer(recipe),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )
    builder = BlendedMegatronDatasetBuilder(GPTDataset, [count, 0, 0], lambda: True, config)
    training: Any = builder.build()[0]
    if training is None or len(training) < count:
        raise RecipeError("`data.paths` hold too few tokens for one training sample")
    return Checked(training, recipe.model.vocab)


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

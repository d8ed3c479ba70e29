"""Small texts, tokenizers that are trained here, and megatron-core's own reader and writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = [
    *("the cat sat on the mat\n", "naïve café", "日本語のテキスト", "x = [1, 2, 3]\n\n\ty()\r\n"),
    *(f"document {number} is {'very ' * (number % 7)}short" for number in range(60)),
]


@pytest.fixture(scope="session")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `tokenizers` file that also asks for texts to be cut, which no document may be."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.enable_truncation(3)
    file = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    tokenizer.save(str(file))
    return file


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=330,
        hard_vocab_limit=False,
        byte_fallback=True,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


def jsonl(texts: Sequence[Any]) -> bytes:
    """One object a line."""
    return b"".join(json.dumps({"n": 1, "text": text}).encode() + b"\n" for text in texts)


def build(prefix: Path, documents: Sequence[Sequence[int]], dtype: type[Any]) -> None:
    """Write a pair with megatron-core's builder."""
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype)
    for document in documents:
        builder.add_item(torch.tensor(list(document), dtype=torch.int64))
        builder.end_document()
    builder.finalize(f"{prefix}.idx")


def documents(prefix: Path) -> list[list[int]]:
    """Tokens of every document as megatron-core reads them."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    dataset = IndexedDataset(str(prefix))
    return [np.asarray(dataset[number]).tolist() for number in range(len(dataset))]


def pair(prefix: Path) -> tuple[bytes, bytes]:
    """Bytes of .bin and .idx."""
    return Path(f"{prefix}.bin").read_bytes(), Path(f"{prefix}.idx").read_bytes()

"""The .bin/.idx format without megatron-core is megatron-core's, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmtrain.config.errors import LaunchError
from llmtrain.data.indexed import index_file, read_index, token_type, write_index
from tests.data.conftest import build

pytestmark = pytest.mark.filterwarnings("ignore:.*(Transformer Engine|Apex).*:UserWarning")


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize("lengths", [[], [3], [3, 1, 250, 7]])
def test_an_index_is_that_of_the_builder(tmp_path: Path, kind: str, lengths: list[int]) -> None:
    """For every type of token, with no, one and several documents."""
    dtype: type[Any] = getattr(np, kind)
    build(tmp_path / "theirs", [range(length) for length in lengths], dtype)

    write_index(tmp_path / "ours.idx", kind, np.array(lengths, np.int32))

    assert index_file(tmp_path / "ours").read_bytes() == (tmp_path / "theirs.idx").read_bytes()


def test_tokens_of_a_part_are_counted_without_reading_it(tmp_path: Path) -> None:
    """Any run of sequences has the tokens that the builder was given."""
    lengths = [3, 1, 250, 7]
    build(tmp_path / "set", [range(length) for length in lengths], np.uint16)
    index = read_index(tmp_path / "set")

    assert index is not None
    assert (index.documents, index.sequences, index.token_bytes) == (4, 4, 2)
    for first in range(5):
        for last in range(first, 5):
            assert index.tokens(first, last) == sum(lengths[first:last])


def test_the_type_of_a_token_is_megatrons_choice(tmp_path: Path) -> None:
    """Above bytes, the type by size of vocabulary is that of megatron-core."""
    from megatron.core.datasets.indexed_dataset import DType

    for vocab in (257, 65499, 65500, 128_256):
        assert token_type(vocab) == DType.optimal_dtype(vocab).__name__
    assert token_type(256) == "uint8"


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    """A missing file is none; another kind of file, or half of one, is an error that names it."""
    build(tmp_path / "set", [range(5)], np.uint16)
    whole = (tmp_path / "set.idx").read_bytes()

    assert read_index(tmp_path / "nothing") is None
    for name, content in (("other", b"PK" * 40), ("half", whole[:-1])):
        (tmp_path / f"{name}.idx").write_bytes(content)
        with pytest.raises(LaunchError, match=rf"{name}\.idx is"):
            read_index(tmp_path / name)

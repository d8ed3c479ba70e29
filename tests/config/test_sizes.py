"""Bytes are written one way, whoever writes them."""

import pytest

from llmtrain.config.sizes import memory_text, storage_text


@pytest.mark.parametrize(
    ("count", "memory", "storage"),
    [
        (0, "0 MiB", "0 bytes"),
        (52_000_000, "50 MiB", "52 MB"),
        (2**30, "1.0 GiB", "1.07 GB"),
        (80 * 2**30, "80.0 GiB", "85.9 GB"),
        (7_415_000_000_000, "6905.8 GiB", "7.42 TB"),
    ],
)
def test_bytes_in_words(count: int, memory: str, storage: str) -> None:
    """Powers of two for memory, of ten for disks."""
    assert (memory_text(count), storage_text(count)) == (memory, storage)

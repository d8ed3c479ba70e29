"""The bytes of a shard: a piece of a plain file, or the whole of a packed one."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from llmtrain.data.extras import extra
from llmtrain.data.shards import Shard

BLOCK_BYTES = 2**20
"""Read at a time."""

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading a damaged or truncated packed file raises."""


def blocks(shard: Shard) -> Iterator[tuple[bytes, int]]:
    """Bytes of the shard, whole lines of a piece of a file, and what they took on disk."""
    with Path(shard.file).open("rb") as file:
        if shard.packing:
            yield from _unpacked(file, shard)
            return
        left = shard.last - _begin(file, shard)
        while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            if left == 0 and not block.endswith(b"\n"):
                # A line belongs to the piece in which it begins.
                block += file.readline()
            yield block, len(block)


def _begin(file: IO[bytes], shard: Shard) -> int:
    """Where the first line of the shard begins."""
    if shard.first:
        file.seek(shard.first - 1)
        file.readline()
    return file.tell()


def _unpacked(file: IO[bytes], shard: Shard) -> Iterator[tuple[bytes, int]]:
    inner = gzip.GzipFile(fileobj=file) if shard.packing == ".gz" else None
    source = (
        _zstandard(file, shard) if inner is None else iter(lambda: inner.read(BLOCK_BYTES), b"")
    )
    before = 0
    for block in source:
        at = file.tell()
        yield block, at - before
        before = at


def _zstandard(file: IO[bytes], shard: Shard) -> Iterator[bytes]:
    """Frame by frame; the library's own reader takes a truncated file for a whole one."""
    library = extra("zstandard", f"reading {shard.file}")
    frame = None
    while block := file.read(BLOCK_BYTES // 8):
        while block:
            frame = frame or library.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(block)
            except library.ZstdError as error:
                raise EOFError(str(error)) from error
            block = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it ends within a frame")

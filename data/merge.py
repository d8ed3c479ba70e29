"""All shards to one pair of files, and the counts held against them."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmtrain.config.errors import Problem, RunError
from llmtrain.data.indexed import (
    BYTES,
    CODES,
    index_file,
    read_index,
    token_file,
    write_index,
)
from llmtrain.data.request import BrokenLine, Request, Tally
from llmtrain.data.shards import Shard
from llmtrain.data.work import part

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHOWN = 20
"""Broken lines that are kept at hand; all of them are in PREFIX.broken.jsonl."""

COPY_BYTES = 2**22
"""Copied at a time."""


def merge(
    request: Request, shards: Sequence[Shard], tallies: Sequence[Tally], dtype: str
) -> tuple[Tally, tuple[BrokenLine, ...]]:
    """Make the pair; the counts, and the first broken lines.

    The index gets its name last: where it is, all is there.

    Raises:
        RunError: if the files do not hold what was counted.
    """
    whole = request.work / "whole"
    total = sum(tallies, Tally())
    _concatenate(token_file(whole), [part(request.work, each.number, ".bin") for each in shards])
    write_index(index_file(whole), dtype, _lengths(request.work, shards))
    _check(whole, total, dtype)
    index_file(request.prefix).unlink(missing_ok=True)
    broken = _broken(request, shards, tallies)
    for name in (token_file, index_file):
        _sync(name(whole))
        os.replace(name(whole), name(request.prefix))
    _sync(request.prefix.parent)
    return total, broken


def _concatenate(target: Path, sources: Sequence[Path]) -> None:
    with target.open("wb") as out:
        for source in sources:
            with source.open("rb") as file:
                shutil.copyfileobj(file, out, COPY_BYTES)


def _lengths(work: Path, shards: Sequence[Shard]) -> "npt.NDArray[np.int32]":
    import numpy as np

    each = [np.fromfile(part(work, shard.number, ".len"), "<i4") for shard in shards]
    return np.concatenate(each) if each else np.zeros(0, np.int32)


def _check(whole: Path, total: Tally, dtype: str) -> None:
    """Read the files back, and hold them against what was counted while they were made."""
    index = read_index(whole)
    found = {
        "documents in the index": (index.documents if index else 0, total.documents),
        "tokens in the index": (index.tokens() if index else 0, total.tokens),
        "bytes of tokens": (token_file(whole).stat().st_size, total.tokens * BYTES[CODES[dtype]]),
        "documents, empty and broken lines": (
            total.documents + total.empty + total.broken,
            total.lines,
        ),
    }
    wrong = [
        Problem(code="count", says=f"{what}: {have:,}, but {counted:,} were counted")
        for what, (have, counted) in found.items()
        if have != counted
    ]
    if wrong:
        raise RunError(wrong)


def broken_file(prefix: Path) -> Path:
    """Names every broken line."""
    return Path(f"{prefix}.broken.jsonl")


def _broken(
    request: Request, shards: Sequence[Shard], tallies: Sequence[Tally]
) -> tuple[BrokenLine, ...]:
    """Write all broken lines beside the result, if there are any; the first of them."""
    target = broken_file(request.prefix)
    target.unlink(missing_ok=True)
    if not any(tally.broken for tally in tallies):
        return ()
    partial = request.work / target.name
    first: list[BrokenLine] = []
    with partial.open("w", encoding="utf-8") as file:
        for each in _absolute(request.work, shards, tallies):
            line = {"file": each.file, "line": each.line, "says": each.says}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            if len(first) < SHOWN:
                first.append(each)
    os.replace(partial, target)
    return tuple(first)


def _absolute(
    work: Path, shards: Sequence[Shard], tallies: Sequence[Tally]
) -> Iterator[BrokenLine]:
    """Lines counted from the beginning of their file, not of their shard."""
    file, before = "", 0
    for shard, tally in zip(shards, tallies, strict=True):
        if shard.file != file or shard.first == 0:
            file, before = shard.file, 0
        with part(work, shard.number, ".broken").open(encoding="utf-8") as lines:
            for text in lines:
                line, says = json.loads(text)
                yield BrokenLine(file=file, line=before + line, says=says)
        before += tally.lines


def _sync(path: Path) -> None:
    """To the disk, so that not even a power failure leaves an index without its tokens."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

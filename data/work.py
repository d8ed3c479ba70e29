"""One shard to tokens, in a process of its own."""

import json
import multiprocessing
import os
import struct
import threading
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path

from llmtrain.config.errors import LaunchError, RunError
from llmtrain.data.indexed import LONGEST
from llmtrain.data.reading import Chunk, chunks
from llmtrain.data.request import Request, Tally
from llmtrain.data.shards import Shard
from llmtrain.data.tokenizers import Encoded, Tokenizer, load

COUNT = struct.Struct("<q")
"""What the progress file holds for each shard: bytes that are done."""


def begin() -> None:
    """Set up a worker: it does not outlive its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


# A process loads its tokenizer once, not for every shard.
_tokenizer = cache(load)


def part(work: Path, number: int, suffix: str) -> Path:
    """A file of shard ``number``: .bin (tokens), .len (lengths), .broken, .json (counts)."""
    return work / f"shard-{number:06d}{suffix}"


def progress_file(work: Path) -> Path:
    """How far each shard is."""
    return work / "progress"


def work_on(request: Request, shard: Shard) -> Tally:
    """Read, tokenize and write ``shard``; its counts are written last, and make it finished.

    Raises:
        RunError: at the first broken line, if the request is strict.
    """
    tokenizer = _tokenizer(request.tokenizer, request.end)
    writer = _Writer(request, shard)
    with writer.files():
        for chunk in chunks(shard, request.key, tokenizer.refuses):
            if chunk.broken and request.strict:
                raise RunError(_refusal(shard, *chunk.broken[0]))
            writer.add(chunk, tokenizer)
    return writer.finish()


def _refusal(shard: Shard, line: int, says: str) -> str:
    where = f"line {line}" if shard.first == 0 else f"line {line} from byte {shard.first:,} on"
    return f"{shard.file}, {where}: {says}"


class _Writer:
    """The files of one shard."""

    def __init__(self, request: Request, shard: Shard) -> None:
        self._work, self._shard = request.work, shard
        self._tally = Tally(size=shard.size)
        self._done = 0

    def files(self) -> ExitStack:
        """Open them, for as long as the context lasts."""
        stack = ExitStack()
        number = self._shard.number
        self._tokens = stack.enter_context(part(self._work, number, ".bin").open("wb"))
        self._lengths = stack.enter_context(part(self._work, number, ".len").open("wb"))
        broken = part(self._work, number, ".broken")
        self._broken = stack.enter_context(broken.open("w", encoding="utf-8"))
        self._progress = stack.enter_context(progress_file(self._work).open("r+b", buffering=0))
        return stack

    def add(self, chunk: Chunk, tokenizer: Tokenizer) -> None:
        """Write one chunk."""
        import numpy as np

        encoded = tokenizer.encode(chunk.texts)
        _require_short(encoded, self._shard)
        self._tokens.write(encoded.tokens.data)
        self._lengths.write(np.array(encoded.lengths, "<i4").data)
        for line, says in chunk.broken:
            self._broken.write(json.dumps([line, says]) + "\n")
        self._tally += Tally(
            documents=len(encoded.lengths),
            tokens=len(encoded.tokens),
            lines=chunk.lines,
            empty=chunk.empty + encoded.empty,
            broken=len(chunk.broken),
        )
        self._show(chunk.consumed)

    def _show(self, consumed: int) -> None:
        self._done += consumed
        self._progress.seek(COUNT.size * self._shard.number)
        self._progress.write(COUNT.pack(min(self._done, self._shard.size)))

    def finish(self) -> Tally:
        """Write the counts, under another name first."""
        ready = part(self._work, self._shard.number, ".json")
        partial = ready.with_suffix(".json.partial")
        partial.write_text(json.dumps(asdict(self._tally)), encoding="utf-8")
        os.replace(partial, ready)
        return self._tally


def _require_short(encoded: Encoded, shard: Shard) -> None:
    if encoded.lengths and max(encoded.lengths) > LONGEST:
        says = f"{shard.file} holds a document of {max(encoded.lengths):,} tokens"
        raise LaunchError(f"{says}; an index has room for {LONGEST:,}: cut it")

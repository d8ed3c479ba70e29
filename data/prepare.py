"""Text to a .bin/.idx pair, in parallel; a killed preparation goes on where it was."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from llmtrain.config.errors import LaunchError, Problem, RunError
from llmtrain.data.indexed import BYTES, CODES, index_file, token_type
from llmtrain.data.merge import merge
from llmtrain.data.pool import Show, work_through
from llmtrain.data.request import FORMAT, Prepared, Request, Tally
from llmtrain.data.shards import Shard, cut
from llmtrain.data.tokenizers import identity, load
from llmtrain.data.work import COUNT, part, progress_file


def prepare(request: Request, show: Show = lambda done, total: None) -> Prepared:
    """Do what ``request`` asks.

    Raises:
        UsageError: if the input or the tokenizer cannot be what is meant.
        LaunchError: if the result is there already, or something needed is not installed.
        RunError: if a broken line is an error, a process was killed, or a count does not agree.
    """
    started = time.monotonic()
    tokenizer = load(request.tokenizer, request.end)
    dtype = token_type(tokenizer.vocab)
    try:
        with _alone(request):
            shards = cut(request.files, lines=request.lines, shard_bytes=request.shard_bytes)
            _open_work(request, shards)
            kept = _finished(request.work, shards, dtype)
            tallies = kept | work_through(request, shards, kept, show)
            _require_whole(request, tallies)
            ordered = [tallies[shard.number] for shard in shards]
            total, broken = merge(request, shards, ordered, dtype)
            shutil.rmtree(request.work)
    except OSError as error:
        hint = "what is finished is kept: the same command goes on"
        raise RunError(Problem(code="files", says=str(error), hint=hint)) from error
    return Prepared(
        prefix=request.prefix,
        tally=total,
        shards=len(shards),
        kept=len(kept),
        seconds=time.monotonic() - started,
        dtype=dtype,
        vocab=tokenizer.vocab,
        end=tokenizer.end,
        broken=broken,
    )


@contextmanager
def _alone(request: Request) -> Iterator[None]:
    """While nobody else prepares the same, and only where it is not there already."""
    request.prefix.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{request.prefix}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        says = f"another process is preparing {request.prefix}"
        raise LaunchError(Problem(code="locked", says=says)) from None
    try:
        _require_free(request)
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _require_free(request: Request) -> None:
    """Where there is an .idx, there is a result."""
    index = index_file(request.prefix)
    if index.exists() and not request.overwrite:
        hint = "take another --output, or --overwrite"
        raise LaunchError(Problem(code="exists", says=f"{index} exists already", hint=hint))


def _require_whole(request: Request, tallies: dict[int, Tally]) -> None:
    """What an earlier call without --strict has kept is held to it too."""
    broken = sum(tally.broken for tally in tallies.values())
    if request.strict and broken:
        raise RunError(f"{broken:,} broken lines, met by an earlier call without --strict")


def _open_work(request: Request, shards: Sequence[Shard]) -> None:
    """The work folder of this very job; what another job has left there is removed."""
    job = _job(request)
    file = request.work / "job.json"
    if not file.exists() or json.loads(file.read_text(encoding="utf-8")) != job:
        shutil.rmtree(request.work, ignore_errors=True)
        request.work.mkdir(parents=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(job), encoding="utf-8")
        os.replace(partial, file)
    progress_file(request.work).write_bytes(bytes(COUNT.size * len(shards)))


def _job(request: Request) -> dict[str, object]:
    """All that decides the bytes of the shards."""
    about = [(file, os.stat(file)) for file in request.files]
    return {
        "format": FORMAT,
        "files": [[file, stat.st_size, stat.st_mtime_ns] for file, stat in about],
        "tokenizer": identity(request.tokenizer),
        "end": request.end,
        "key": request.key,
        "lines": request.lines,
        "shard_bytes": request.shard_bytes,
    }


def _finished(work: Path, shards: Sequence[Shard], dtype: str) -> dict[int, Tally]:
    """Counts of the shards that an earlier call has finished, by number."""
    found = {shard.number: Tally.read(part(work, shard.number, ".json")) for shard in shards}
    width = BYTES[CODES[dtype]]
    return {
        number: tally
        for number, tally in found.items()
        if tally is not None
        and _size(part(work, number, ".bin")) == tally.tokens * width
        and _size(part(work, number, ".len")) == tally.documents * 4
    }


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1

"""Shards spread over processes, watched until all are done."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from llmtrain.config.errors import Problem, RunError
from llmtrain.data.request import Request, Tally
from llmtrain.data.shards import Shard
from llmtrain.data.work import COUNT, begin, progress_file, work_on

Show = Callable[[int, int], None]
"""Called now and then with the bytes of input that are done, and all."""

SHOW_SECONDS = 0.2
"""Between two calls."""


def work_through(
    request: Request, shards: Sequence[Shard], kept: dict[int, Tally], show: Show
) -> dict[int, Tally]:
    """Counts of the shards that were still to do, by number."""
    todo = [shard for shard in shards if shard.number not in kept]
    if not todo:
        return {}
    # Largest first, or one process would be left with a large one at the end.
    todo.sort(key=lambda shard: -shard.size)
    # A process that is copied from one with threads can hang, and the tokenizers have threads.
    workers = min(request.workers, len(todo))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=begin)
    with _pipes_that_raise():
        try:
            with _sigint_held_back():
                running = {pool.submit(work_on, request, shard): shard.number for shard in todo}
            _watch(running, _Progress.of(request, shards, kept), show)
            return {number: future.result() for future, number in running.items()}
        except BrokenProcessPool as error:
            says = "a process was killed, perhaps for want of memory"
            hint = "the same command goes on; fewer --workers need less"
            raise RunError(Problem(code="killed", says=says, hint=hint)) from error
        finally:
            _end(pool)


@contextmanager
def _sigint_held_back() -> Iterator[None]:
    """Processes started meanwhile never see a Ctrl-C: it is for the one that watches them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _pipes_that_raise() -> Iterator[None]:
    """The death of a worker is an error here, although the command dies of a broken pipe."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _end(pool: ProcessPoolExecutor) -> None:
    """Now: a broken line, or a user's Ctrl-C, does not wait for what is still at work."""
    for process in list((pool._processes or {}).values()):
        process.terminate()
    pool.shutdown(cancel_futures=True)


def _watch(running: dict[Future[Tally], int], progress: "_Progress", show: Show) -> None:
    """Until all are done, or one has failed."""
    pending: set[Future[Tally]] = set(running)
    while pending:
        done, pending = wait(pending, SHOW_SECONDS, FIRST_EXCEPTION)
        for future in done:
            future.result()
        show(progress.done(), progress.total)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Progress:
    """How far the whole is."""

    file: Path
    """What the workers write."""
    before: int
    """Bytes of the shards that are kept."""
    total: int
    """Bytes of all."""

    @classmethod
    def of(cls, request: Request, shards: Sequence[Shard], kept: dict[int, Tally]) -> "_Progress":
        """At the start."""
        return cls(
            file=progress_file(request.work),
            before=sum(tally.size for tally in kept.values()),
            total=sum(shard.size for shard in shards),
        )

    def done(self) -> int:
        """Bytes that are done."""
        now: int = sum(done for (done,) in COUNT.iter_unpack(self.file.read_bytes()))
        return self.before + now

"""Which of the lines that tell of a failure is the answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmtrain.runs.why.hits import Hit

FROM_OUTSIDE = ("wall_clock", "cancelled", "preemption")
"""What a scheduler does to a run that may have failed long before."""
MESSAGE_LINES = 8
"""Of an exception at most, from the line that names it."""


def choose(found: Sequence[Hit]) -> Hit:
    """The first of them, in the words of the line that says most of it."""
    return _fullest(_plainest(sorted(found, key=_order(found))))


def _order(found: Sequence[Hit]) -> Any:
    """By time where it is known; within a log by line.

    Many stamps are whole seconds: in one second what has its own comes first.
    """
    untimed = any(hit.line.time is None for hit in found)

    def key(hit: Hit) -> tuple[int, float, bool, float, str, int]:
        time, kind = hit.line.time or 0.0, hit.pattern.kind
        late = 2 if untimed and kind in FROM_OUTSIDE else 0
        known = 1 if hit.line.time is None else late
        when = (time // 1, not hit.line.stamped, time)
        return (known, *when, str(hit.line.path), hit.line.number)

    return key


def _plainest(ordered: Sequence[Hit]) -> Sequence[Hit]:
    """Without the first where it only says that something failed, and more of it says what.

    More are the exceptions that are chained to it, and the lines of its message.
    """
    first = ordered[0]
    if not first.pattern.general:
        return ordered

    def goes_on(hit: Hit) -> bool:
        below = hit.line.number - first.line.number
        same = hit.line.path == first.line.path and first.rank in (hit.rank, None)
        inside = bool(hit.frames) or 0 < below <= MESSAGE_LINES
        return same and hit.chain == first.chain and inside and hit.pattern.kind not in FROM_OUTSIDE

    plain = (at for at, hit in enumerate(ordered) if not hit.pattern.general and goes_on(hit))
    return ordered[next(plain, 0) :]


def _fullest(ordered: Sequence[Hit]) -> Hit:
    """The first; but of the lines that say the same, the one that says more.

    Of the same rank the one with a traceback; of nobody the one that names a node or a rank.
    """
    first = ordered[0]
    same = [hit for hit in ordered if hit.pattern.kind == first.pattern.kind]
    if first.rank is None and first.host is None:
        named = next((hit for hit in same if hit.host or hit.rank is not None), None)
        return named or _named(first, ordered[1:])
    return next((hit for hit in same if hit.frames and hit.rank == first.rank), first)


def _named(first: Hit, later: Sequence[Hit]) -> Hit:
    """An assertion of nobody, by the rank that fails for it a few lines below."""
    for hit in later:
        below = hit.line.number - first.line.number
        near = hit.line.path == first.line.path and 0 < below <= MESSAGE_LINES
        if first.pattern.general and hit.pattern.general and near and hit.rank is not None:
            return replace(first, rank=hit.rank, host=hit.host, gpu=hit.gpu)
    return first

"""Lines that tell of a failure, found in logs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmtrain.runs.why.lines import Line, Log, told
from llmtrain.runs.why.patterns import Book, Pattern
from llmtrain.runs.why.trace import HEADING, PREFIX, Trace, Traces

TOLD = re.compile(r"\b[A-Z]\w*Warning: | NCCL INFO |\[(?:DEBUG|INFO|WARNING)\]")
"""Warnings of Python, and levels of NCCL and DeepSpeed, that a run lives with."""
TRIED = re.compile(r"(?:^|[\s\[])W(?:\d{3,4} [\d:.]+)?(?: \d+)? ?[\w/.]+\.(?:cpp|py):\d+\]")
"""torch's warnings: of what it tries again, mostly."""
ALSO = (b"the above exception", b'file "', b"root cause", b"traceback :", b"iteration", b"step")
"""Words of lines that are no failure, and tell when one was, or was survived."""
BLOCK_LINES = 9
"""From its heading to its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One line that a pattern knows."""

    line: Line
    """Where it stands."""
    pattern: Pattern
    """What it means."""
    host: str | None = None
    """Of the failure."""
    rank: int | None = None
    """Of the failure."""
    gpu: int | None = None
    """Number on its node."""
    pci: str | None = None
    """Address of the GPU."""
    frames: tuple[str, ...] = ()
    """Of the traceback that it ends, outermost first, each with its line of source."""
    chain: int = 0
    """Number of its traceback in its log; tracebacks that are chained count once."""


def hits_of(log: Log, book: Book) -> list[Hit]:
    """All of one log; what was survived is left out."""
    found: list[Hit] = []
    traces, nothing, passed = Traces(), set[str](), 0
    for index in told(log, (*ALSO, *book.words)):
        text = log.texts[index]
        if book.progress.search(text):
            # The step under way may still be printed after a failure; the one after it is not.
            del found[:passed]
            passed = len(found)
            continue
        trace, bare = traces.read(log.texts, index)
        found.extend(_torchrun(log, index, book))
        if trace.is_code(bare, index) or text in nothing:
            continue
        hit = _hit(log, index, book, trace, bare.lstrip() if trace.is_open(index) else bare)
        if hit is None and not trace.is_open(index):
            nothing.add(text)
        elif hit is not None:
            found.append(hit)
            if HEADING not in text:
                trace.end()
    return found


def _hit(log: Log, index: int, book: Book, trace: Trace, bare: str) -> Hit | None:
    if TOLD.search(bare):
        return None
    frames = tuple(trace.frames) if trace.is_open(index) else ()
    for pattern in book.patterns:
        match = pattern.match.search(bare)
        if match and (trace.is_open(index) or not pattern.traceback):
            meant = (_of_place(bare, frames, book) if pattern.general else None) or pattern
            if meant.role == "cause" and TRIED.search(bare):
                meant = replace(meant, role="symptom")
            hit = _placed(log.line(index), meant, match)
            host = hit.host or (trace.host if frames else None)
            return _of_block(replace(hit, host=host, frames=frames, chain=trace.chain), log, trace)
    return None


def _of_place(bare: str, frames: tuple[str, ...], book: Book) -> Pattern | None:
    """What an exception means that could be of anything: the innermost frame that is known."""
    for frame in reversed(frames):
        for place, pattern in book.places:
            if place.search(frame) and pattern.match.search(bare):
                return pattern
    return None


def _placed(line: Line, pattern: Pattern, match: "re.Match[str]") -> Hit:
    where: dict[str, str] = {}
    for name, value in match.groupdict().items():
        if value is not None:
            where.setdefault(name.rstrip("2"), value)
    # A rank that a log belongs to knows itself better than a line that several could have written.
    rank = line.rank if line.rank is not None else _number(where.get("rank"))
    missed = _number(where.get("missed"))
    return Hit(
        line=line,
        pattern=pattern,
        host=where.get("host") or (line.host if missed is None else None),
        rank=rank if missed is None else missed,
        gpu=_number(where.get("gpu")),
        pci=where.get("pci"),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None else None


def _torchrun(log: Log, index: int, book: Book) -> Iterator[Hit]:
    """A process that was killed or crashed, from the block in which torchrun says who was first."""
    if "Root Cause (first observed failure)" not in log.texts[index]:
        return
    said = _fields(log.texts[index + 1 : index + BLOCK_LINES])
    code = re.match(r"-?\d+", said.get("exitcode", ""))
    pattern = book.exits.get(int(code.group())) if code else None
    if pattern is not None:
        line = replace(log.line(index + 2), text=f"exitcode {said['exitcode']}")
        yield _by(Hit(line=line, pattern=pattern, host=line.host), said)


def _of_block(hit: Hit, log: Log, trace: Trace) -> Hit:
    """Where torchrun gives the traceback of a rank, its block says whose it is."""
    at = trace.heading
    if hit.rank is None and hit.frames and "traceback :" in log.texts[at]:
        return _by(hit, _fields(log.texts[max(0, at - BLOCK_LINES) : at][::-1]))
    return hit


def _fields(texts: Sequence[str]) -> dict[str, str]:
    """Of a block of torchrun; the first of each name."""
    said: dict[str, str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in PREFIX.sub("", text).partition(" : "))
        said.setdefault(name, value)
    return said


def _by(hit: Hit, said: dict[str, str]) -> Hit:
    rank = re.match(r"(\d+) \(local_rank: (\d+)\)", said.get("rank", ""))
    host = said.get("host", "")
    return replace(
        hit,
        host=host if host and host != "localhost" else hit.host,
        rank=int(rank.group(1)) if rank else None,
        gpu=int(rank.group(2)) if rank else None,
    )

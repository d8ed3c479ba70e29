"""Lines that tell of a failure, found in logs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmtrain.runs.why.lines import Line, Log, told
from llmtrain.runs.why.patterns import Book, Pattern

PREFIX = re.compile(r"^(?:\[(?:rank|default)\d+\]:? ?| *\d+: )")
"""What torch or ``srun --label`` put before a line."""
CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
ALSO = (b"the above exception", b'file "', b"root cause", b"traceback :", b"iteration", b"step")
"""Words of lines that are no failure, and tell when one was, or was survived."""
BLOCK_LINES = 9
"""From its heading to its end."""
FRAMES = 200
"""Of a traceback; a recursion's has a thousand."""


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
    """Of the traceback that it ends, outermost first."""
    chain: int = 0
    """Number of its traceback in its log; tracebacks that are chained count once."""


def hits_of(log: Log, book: Book) -> list[Hit]:
    """All of one log; what was survived is left out."""
    found: list[Hit] = []
    trace, nothing, passed = _Trace(), set[str](), 0
    for index in told(log, (*ALSO, *book.words)):
        text = log.texts[index]
        if book.progress.search(text):
            # The step under way may still be printed after a failure; the one after it is not.
            del found[:passed]
            passed = len(found)
        trace.read(text)
        found.extend(_torchrun(log, index, book))
        if trace.is_code(text) or text in nothing:
            continue
        hit = _hit(log, index, book, trace)
        if hit is None and not trace.open:
            nothing.add(text)
        elif hit is not None:
            found.append(hit)
            trace.end(text)
    return found


def _hit(log: Log, index: int, book: Book, trace: "_Trace") -> Hit | None:
    text = log.texts[index]
    for pattern in book.patterns:
        match = pattern.match.search(text)
        if match and (trace.open or not pattern.traceback):
            return _placed(log.line(index), pattern, match, trace)
    return None


def _placed(line: Line, pattern: Pattern, match: "re.Match[str]", trace: "_Trace") -> Hit:
    where: dict[str, str] = {}
    for name, value in match.groupdict().items():
        if value is not None:
            where.setdefault(name.rstrip("2"), value)
    # A rank that a log belongs to knows itself better than a line that several could have written.
    rank = line.rank if line.rank is not None else _number(where.get("rank"))
    return Hit(
        line=line,
        pattern=pattern,
        host=where.get("host") or line.host,
        rank=rank,
        gpu=_number(where.get("gpu")),
        pci=where.get("pci"),
        frames=tuple(trace.frames) if trace.open else (),
        chain=trace.chain,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None else None


class _Trace:
    """The traceback that is being read."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.open = False
        self.chain = 0
        self._chained = False

    def read(self, text: str) -> None:
        """Take in one line."""
        if any(words in text for words in CHAINED):
            self._chained = True
        elif "Traceback (most recent call last)" in text:
            self.chain += not self._chained
            self.open, self._chained = True, False
            self.frames = []
        elif self.open and 'File "' in text and len(self.frames) < FRAMES:
            self.frames.append(text.strip())

    def is_code(self, text: str) -> bool:
        """Whether it is a line of source that a traceback quotes."""
        return self.open and PREFIX.sub("", text)[:1] in ("", " ", "\t")

    def end(self, text: str) -> None:
        """The line was known; if it is the exception, the traceback is over."""
        if "Traceback" not in text:
            self.open = False


def _torchrun(log: Log, index: int, book: Book) -> Iterator[Hit]:
    """A process that was killed or crashed, from the block in which torchrun says who was first."""
    if "Root Cause (first observed failure)" not in log.texts[index]:
        return
    said: dict[str, str] = {}
    for text in log.texts[index + 1 : index + BLOCK_LINES]:
        name, _, value = (part.strip() for part in PREFIX.sub("", text).partition(" : "))
        said.setdefault(name, value)
    code = re.match(r"-?\d+", said.get("exitcode", ""))
    pattern = book.exits.get(int(code.group())) if code else None
    if pattern is not None:
        yield _death(log.line(index + 2), pattern, said)


def _death(line: Line, pattern: Pattern, said: dict[str, str]) -> Hit:
    rank = re.match(r"(\d+) \(local_rank: (\d+)\)", said.get("rank", ""))
    host = said.get("host", "")
    return Hit(
        line=replace(line, text=f"exitcode {said['exitcode']}"),
        pattern=pattern,
        host=host if host and host != "localhost" else line.host,
        rank=int(rank.group(1)) if rank else None,
        gpu=int(rank.group(2)) if rank else None,
    )

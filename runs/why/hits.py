"""Lines that tell of a failure, found in logs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from llmtrain.runs.why.lines import Line
from llmtrain.runs.why.patterns import Book, Pattern

PREFIX = re.compile(r"^(?:\[(?:rank|default)\d+\]:? ?| *\d+: )")
"""What torch or ``srun --label`` put before a line."""
CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
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


def hits_of(lines: Iterable[Line], book: Book) -> list[Hit]:
    """All of one log; what was survived is left out."""
    found: list[Hit] = []
    trace = _Trace()
    torchrun = _Torchrun(book)
    for line in lines:
        if book.progress.search(line.text):
            found.clear()
        trace.read(line.text)
        found.extend(torchrun.read(line))
        if trace.is_code(line.text) or not book.words.search(line.text):
            continue
        hit = _hit(line, book, trace)
        if hit is not None:
            found.append(hit)
            trace.end(line.text)
    return found


def _hit(line: Line, book: Book, trace: "_Trace") -> Hit | None:
    for pattern in book.patterns:
        match = pattern.match.search(line.text)
        if match and (trace.open or not pattern.traceback):
            return _placed(line, pattern, match, trace)
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


class _Torchrun:
    """The block in which torchrun says who failed first."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._said: dict[str, str] | None = None

    def read(self, line: Line) -> Iterator[Hit]:
        """Take in one line; a process that was killed or crashed is a hit."""
        if "Root Cause (first observed failure)" in line.text:
            self._said = {}
        elif self._said is not None:
            name, _, value = (part.strip() for part in PREFIX.sub("", line.text).partition(" : "))
            self._said[name] = value
            if name.startswith("====") or name == "traceback":
                yield from self._hit(line, self._said)
                self._said = None

    def _hit(self, line: Line, said: dict[str, str]) -> Iterator[Hit]:
        code = re.match(r"-?\d+", said.get("exitcode", ""))
        pattern = self._book.exits.get(int(code.group())) if code else None
        if pattern is None:
            return
        rank = re.match(r"(\d+) \(local_rank: (\d+)\)", said.get("rank", ""))
        host = said.get("host", "")
        yield Hit(
            line=replace(line, text=f"exitcode {said['exitcode']}"),
            pattern=pattern,
            host=host if host and host != "localhost" else line.host,
            rank=int(rank.group(1)) if rank else None,
            gpu=int(rank.group(2)) if rank else None,
        )

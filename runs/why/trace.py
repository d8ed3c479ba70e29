"""Tracebacks in a log that several ranks may write into at a time."""

import re
from collections.abc import Sequence

PREFIX = re.compile(r"^(?:\[(?:rank|default)\d+\]:? ?| *\d+: )+")
"""What torch, torchrun or ``srun --label`` put before a line."""
HOST = re.compile(r"(?!rank\d)([A-Za-z][\w.-]*\d[\w.-]*): ")
"""What pdsh puts there."""
HEADING = "Traceback (most recent call last)"
CHAINED = (
    "During handling of the above exception",
    "The above exception was the direct cause",
    "terminated with the following error:",
)
INNER = ("Original Traceback", "(RANK ")
"""On the heading of one that an exception brought along: from a worker, from another rank."""
DRAWN = ("│", "╭", "╰")
"""How a line of a traceback begins where it is drawn as a box."""
FRAMES = 200
"""Of a traceback; a recursion's has a thousand."""
LASTS = 100
"""Lines from a frame to the exception at most, others' between them."""


class Trace:
    """The last one of a rank."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.chain = 0
        self.heading = 0
        self.host: str | None = None
        self._indent = 1
        self._end = -1
        self._chained = False

    def is_open(self, index: int) -> bool:
        """Whether the line may be a part of it."""
        return index <= self._end

    def begin(self, text: str, index: int) -> None:
        """Its heading."""
        self.chain += not (self._chained or any(word in text for word in INNER))
        self._end, self._chained, self.frames = index + LASTS, False, []
        self.heading, self._indent = index, 1

    def add(self, frame: str, code: str, index: int) -> None:
        """A frame, and the line of source below it: it says what was being done."""
        if self.is_open(index):
            self._end, self._indent = index + LASTS, _indent(frame)
            quoted = [code.strip()] if code[:1] in (" ", "\t") and 'File "' not in code else []
            self.frames += [frame.strip(), *quoted][: FRAMES - len(self.frames)]

    def is_code(self, bare: str, index: int) -> bool:
        """Whether it is a line of source that a traceback quotes, or a frame."""
        inside = _indent(bare) >= self._indent or bare[:1] in DRAWN
        return self.is_open(index) and (inside or not bare.strip())

    def go_on(self) -> None:
        """The next one belongs to this one."""
        self._chained = True

    def end(self) -> None:
        """With its exception."""
        self._end = -1


class Traces:
    """Those of a log, by what stands before the lines of each rank."""

    def __init__(self) -> None:
        self._of: dict[str, Trace] = {}
        self._shapes: set[tuple[int, str]] = set()

    def read(self, texts: Sequence[str], index: int) -> tuple[Trace, str]:
        """Take in a line: the trace of its rank, and the line without what stands before it."""
        text = texts[index]
        below = texts[index + 1] if index + 1 < len(texts) else ""
        self._learn(text, below)
        before, bare = self._parted(text)
        trace = self._of.setdefault(before, Trace())
        if any(words in bare for words in CHAINED):
            trace.go_on()
        elif HEADING in bare:
            trace.begin(bare, index)
            host = HOST.match(before)
            trace.host = host.group(1) if host else None
        elif 'File "' in bare:
            trace.add(bare, self._parted(below)[1], index)
        return trace, bare

    def _learn(self, text: str, below: str) -> None:
        """Loggers and launchers put words of their own before each line of a traceback."""
        at = text.find(HEADING)
        if at > 0 and not PREFIX.match(text) and _shape(text[:at]) == _shape(below[:at]):
            self._shapes.add((at, _shape(text[:at])))

    def _parted(self, text: str) -> tuple[str, str]:
        if found := PREFIX.match(text):
            return found.group().rstrip(), text[found.end() :]
        for length, shape in self._shapes:
            if _shape(text[:length]) == shape:
                return text[:length] if HOST.match(text) else shape, text[length:]
        return "", text


def _shape(text: str) -> str:
    """Two times, or two processes, look alike."""
    return re.sub(r"\d", "0", text)


def _indent(text: str) -> int:
    """Spaces before it; in the block of torchrun a whole traceback has some."""
    return len(text) - len(text.lstrip())

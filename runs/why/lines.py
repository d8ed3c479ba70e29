"""Lines of logs, with the time, the rank and the host that each is known to come from."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

TAIL_BYTES = 8 * 1024 * 1024
"""Of a log that grows for weeks, enough for the failure and what came before."""

FULL = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T_ ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)?")
"""ISO, as Slurm, Python's logging and torchrun write it."""
GLOG = re.compile(r"(?:^|[\s\[])[EWIF](\d{3,4}) (\d\d):(\d\d):(\d\d)\.(\d+)")
"""torch in C++: month and day, no year; the month has no leading zero."""
NAMED = re.compile(r"(?:^|\[|\s)([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?: (\d{4}))?")
"""The kernel's: ``Nov 25 23:20:40``, or with a year behind it."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

RANK = re.compile(
    r"\[rank(\d+)\]:|^rank(\d+):|\[(?:PG[^\]]*)?Rank (\d+)\]"
    r"|^\[\d+,(\d+)\]<std|\(\w+, rank=(\d+), pid="
)
"""torch's prefix, what NCCL's watchdog says of itself, or the prefix of mpirun or SkyPilot."""
TASK = re.compile(r"^ *(\d+): |^\[default(\d+)\]:")
"""That of ``srun --label``, or of torchrun, which counts on a node."""
STALE_LINES = 100
"""A stamp so far above says nothing of a line any more."""
FRESH_LINES = 20
"""Where there is none above, one so far below still tells by when a line was written."""
KERNEL = re.compile(r"^\S+ +(?:\d+ [\d:]+ )?(\S+) kernel: ")
"""syslog's, with either kind of stamp."""
NCCL = re.compile(r"^(?:\[?\d+\]?:? )?([\w.-]+):\d+:\d+ \[\d+\] ")
"""NCCL's own: host, process, thread and GPU."""
FILE_RANK = re.compile(r"rank-(\d+)\.log$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a log."""

    path: Path
    """The log."""
    number: int
    """From 1."""
    text: str
    """As it was written."""
    time: float | None
    """Seconds; its own stamp, or one just before or after it. Clocks are taken to agree."""
    stamped: bool
    """Whether the stamp is its own; it may else have been written long after."""
    rank: int | None
    """Who wrote it."""
    host: str | None
    """Where."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """A log, or the end of a long one."""

    path: Path
    """Where it lies."""
    texts: Sequence[str]
    """Its lines."""
    first: int
    """Number of the first of them, from 1."""
    year: int
    """Of stamps that name none."""

    def line(self, index: int) -> Line:
        """The line with what is known of it; ``index`` counts from 0."""
        text = self.texts[index]
        file_rank, host = _of_path(self.path)
        said = RANK.search(text[:200]) or TASK.search(text[:200])
        named = KERNEL.match(text) or NCCL.match(text)
        rank = int(next(each for each in said.groups() if each)) if said else None
        return Line(
            path=self.path,
            number=self.first + index,
            text=text,
            time=self._time(index),
            stamped=stamp(text, self.year) is not None,
            rank=file_rank if file_rank is not None else rank,
            host=named.group(1) if named else host,
        )

    def _time(self, index: int) -> float | None:
        above = range(index, max(-1, index - STALE_LINES), -1)
        below = range(index + 1, min(len(self.texts), index + FRESH_LINES))
        if time := next(filter(None, (stamp(self.texts[at], self.year) for at in above)), None):
            return time
        after = next(filter(None, (stamp(self.texts[at], self.year) for at in below)), None)
        # Before the line whose stamp it is: many are whole seconds.
        return None if after is None else after - 1


def read_log(path: Path, year: int) -> Log:
    """The log, or its last part; ``year`` is that of stamps without one."""
    with path.open("rb") as file:
        skipped = max(0, file.seek(0, 2) - TAIL_BYTES)
        file.seek(0)
        first = 1
        while skipped > 0:
            chunk = file.read(min(skipped, 1 << 20))
            skipped -= len(chunk)
            first += chunk.count(b"\n")
        text = file.read().decode("utf-8", errors="replace")
    return Log(path=path, texts=text.replace("\r\n", "\n").split("\n"), first=first, year=year)


def told(log: Log, words: Sequence[bytes]) -> Iterator[int]:
    """Indices of the lines that hold one of ``words``, in order.

    One search of the whole log for each word: many times quicker than line by line.
    """
    lower = "\n".join(log.texts).lower().encode()
    starts = [0, *(found.end() for found in re.finditer(b"\n", lower))]
    lines: set[int] = set()
    for word in words:
        at = lower.find(word)
        while at >= 0:
            line = bisect_right(starts, at) - 1
            lines.add(line)
            end = starts[line + 1] if line + 1 < len(starts) else len(lower)
            at = lower.find(word, end)
    yield from sorted(lines)


def _of_path(path: Path) -> tuple[int | None, str | None]:
    """``logs/NODE/rank-N.log`` says both."""
    found = FILE_RANK.search(path.name)
    return (int(found.group(1)), path.parent.name) if found else (None, None)


def stamp(text: str, year: int) -> float | None:
    """The time that a line begins with, or has near its beginning."""
    head = text[:160]
    if found := FULL.search(head):
        *parts, fraction, zone = found.groups()
        return _seconds([int(each) for each in parts if each], fraction, zone)
    if found := GLOG.search(head):
        date, *clock, fraction = found.groups()
        return _seconds([year, int(date[:-2]), int(date[-2:]), *map(int, clock)], fraction)
    if (found := NAMED.search(head)) and found.group(1) in MONTHS:
        month, day, *clock, named = found.groups()
        date = [int(named or year), MONTHS.index(month) + 1, int(day)]
        return _seconds([*date, *map(int, clock)], None)
    return None


def _seconds(parts: Sequence[int], fraction: str | None, zone: str | None = None) -> float | None:
    """Seconds on the clock of this machine's zone: most logs write no zone, and mean their own."""
    try:
        year, month, day, hour, minute, second = parts
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    if zone:
        there = datetime.fromisoformat(f"{moment.isoformat()}{zone.replace('Z', '+00:00')}")
        moment = there.astimezone().replace(tzinfo=None)
    return moment.replace(tzinfo=UTC).timestamp() + (float(f"0.{fraction}") if fraction else 0)


def year_of(paths: Sequence[Path]) -> int:
    """The newest year that any of the logs names; 1970 where none does."""
    years = [1970]
    for path in paths:
        with path.open("rb") as file:
            head = file.read(1 << 18).decode("utf-8", errors="replace")
        years += [int(each) for each in re.findall(r"\b(20\d\d)-\d\d-\d\d[T_ ]", head)]
    return max(years)

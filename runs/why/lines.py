"""Lines of logs, with the time, the rank and the host that each is known to come from."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

TAIL_BYTES = 16 * 1024 * 1024
"""Of a log that grows for weeks, enough for the failure and what came before."""

FULL = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T_ ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)?")
"""ISO, as Slurm, Python's logging and torchrun write it."""
GLOG = re.compile(r"(?:^|[\s\[])[EWIF](\d{3,4}) (\d\d):(\d\d):(\d\d)\.(\d+)")
"""torch in C++: month and day, no year; the month has no leading zero."""
NAMED = re.compile(r"(?:^|\[|\s)([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?: (\d{4}))?")
"""The kernel's: ``Nov 25 23:20:40``, or with a year behind it."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

RANK = re.compile(r"^\[?(?:rank|default)(\d+)\]?:|^ *(\d+): |\[(?:PG[^\]]*)?Rank (\d+)\]")
"""torch's prefix, that of ``srun --label``, or what NCCL's watchdog says of itself."""
STALE_LINES = 100
"""A stamp so far above says nothing of a line any more."""
KERNEL = re.compile(r"^\S+ +(?:\d+ [\d:]+ )?(\S+) kernel: ")
"""syslog's, with either kind of stamp."""
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
    """Seconds; its own stamp, or one just before it. Clocks are taken to agree."""
    rank: int | None
    """Who wrote it."""
    host: str | None
    """Where."""


def lines_of(path: Path, year: int) -> Iterator[Line]:
    """The lines of a log, or the last of a long one; ``year`` is that of stamps without one."""
    file_rank, host = _of_path(path)
    time, since = None, 0
    for number, text in _texts(path):
        own = stamp(text, year)
        since = 0 if own else since + 1
        time = own or (time if since < STALE_LINES else None)
        said, kernel = RANK.search(text[:200]), KERNEL.match(text)
        rank = int(next(each for each in said.groups() if each)) if said else None
        yield Line(
            path=path,
            number=number,
            text=text,
            time=time,
            rank=file_rank if file_rank is not None else rank,
            host=kernel.group(1) if kernel else host,
        )


def _of_path(path: Path) -> tuple[int | None, str | None]:
    """``logs/NODE/rank-N.log`` says both."""
    found = FILE_RANK.search(path.name)
    return (int(found.group(1)), path.parent.name) if found else (None, None)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        skipped = max(0, file.seek(0, 2) - TAIL_BYTES)
        file.seek(0)
        first = 1
        while skipped > 0:
            chunk = file.read(min(skipped, 1 << 20))
            skipped -= len(chunk)
            first += chunk.count(b"\n")
        for number, line in enumerate(file, first):
            yield number, line.rstrip(b"\r\n").decode("utf-8", errors="replace")


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

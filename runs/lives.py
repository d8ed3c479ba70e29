"""The lives of a run: every start of its ranks, as they part its events and its logs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmtrain.config.errors import Problem, RunError
from llmtrain.runs.events import json_lines

BEGINNINGS = ("launched", "started", "resumed")
"""Events with which a life begins; launched: its processes start."""
MARK = re.compile(r"^(?:\d+: )?llmtrain: life (\d+) begins")
"""The line that begins a life in a log: what stands above it is of an earlier one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """One start of the ranks."""

    number: int
    """As control/life counts, or counted here."""
    marked: bool
    """Whether the number is the run's own, which parts the logs too."""
    events: tuple[dict[str, Any], ...]
    """What happened in it."""


def lives(folder: Path) -> list[Life]:
    """Every life of the run in ``folder``, the first one first."""
    parts: list[list[dict[str, Any]]] = []
    for event in json_lines(folder / "events.jsonl"):
        if not parts or _begins(parts[-1], event):
            parts.append([])
        parts[-1].append(event)
    return [_life(place, events) for place, events in enumerate(parts, 1)]


def _begins(life: Sequence[dict[str, Any]], event: dict[str, Any]) -> bool:
    """Whether ``event`` is the first of another life."""
    kind = event.get("event")
    if kind not in BEGINNINGS:
        return False
    known = [each for each in life if each.get("event") in BEGINNINGS]
    return kind == "launched" or any(each["event"] != "launched" for each in known) or not known


def _life(place: int, events: list[dict[str, Any]]) -> Life:
    said = [event["life"] for event in events if isinstance(event.get("life"), int)]
    number = said[-1] if said else place
    return Life(number=number, marked=bool(said), events=tuple(events))


def find_life(folder: Path, number: int) -> Life:
    """The life of that number.

    Raises:
        RunError: if the run has no such life.
    """
    found = lives(folder)
    for life in found:
        if life.number == number:
            return life
    known = ", ".join(str(life.number) for life in found) or "none"
    says = f"{folder.name} has no life {number}"
    raise RunError(Problem(code="no_life", says=says, hint=f"its lives: {known}"))


def part(texts: Sequence[str], number: int) -> range | None:
    """Indices of a log's lines that belong to one life; None: the log does not part them."""
    marks = [
        (at, int(found.group(1))) for at, line in enumerate(texts) if (found := MARK.match(line))
    ]
    if not marks:
        return None
    ends = [at for at, _ in marks[1:]] + [len(texts)]
    for (begin, life), end in zip(marks, ends, strict=True):
        if life == number:
            return range(begin, end)
    return range(0)

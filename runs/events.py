"""The files that a run writes line by line: events.jsonl and metrics.jsonl."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def note(folder: Path, kind: str, **more: Any) -> None:
    """Append what was done to a run from outside, among the events that it writes itself.

    ``more``: what else belongs to the event.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"time": now, "event": kind, "step": None, **more}) + "\n")


def json_lines(path: Path, tail: int | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a .jsonl file, or of its last ``tail`` bytes; half-written lines are not.

    ``NaN`` and ``Infinity``, which are no JSON, are null.
    """
    try:
        with path.open("rb") as file:
            if tail is not None:
                size = file.seek(0, 2)
                file.seek(max(0, size - tail))
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            value = json.loads(line, parse_constant=lambda word: None)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value

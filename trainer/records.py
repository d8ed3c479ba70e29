"""What a run writes down: metrics.jsonl and events.jsonl."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TextIO

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.boards import Boards
from llmtrain.trainer.life import Life

if TYPE_CHECKING:
    from llmtrain.trainer.validation import ValidationRow

SLOWEST = 3
"""Ranks whose compute time is written by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """One of the slowest ranks of a step."""

    rank: int
    """Its number."""
    seconds: float
    """What it computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compute:
    """Forward and backward pass of all ranks, without what they spent in collectives."""

    min: float
    """Of the quickest rank."""
    median: float
    """Of the ranks."""
    max: float
    """Of the slowest rank."""
    slowest: tuple[Slow, ...]
    """Slowest first."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Compute":
        """From the times of all ranks, by rank."""
        ranked = sorted(enumerate(seconds), key=lambda pair: -pair[1])
        return cls(
            min=min(seconds),
            median=median(seconds),
            max=max(seconds),
            slowest=tuple(Slow(rank=rank, seconds=time) for rank, time in ranked[:SLOWEST]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One step in metrics.jsonl."""

    step: int
    """From 1."""
    loss: float
    """Mean nats per token over the global batch."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    """What the step used."""
    step_seconds: float
    """Wall clock."""
    tokens_per_second: float
    """Of all ranks together."""
    memory_bytes: int
    """Most bytes of tensors at one time, of the rank with the most."""
    stage_memory_bytes: tuple[int, ...]
    """The same for each stage."""
    compute_seconds: Compute
    """Who computed how long."""

    def scalars(self) -> dict[str, float]:
        """What can be drawn as curves, by name."""
        values = asdict(self)
        compute = values.pop("compute_seconds")
        del values["step"], values["stage_memory_bytes"]
        for name in ("min", "median", "max"):
            values[f"compute_seconds_{name}"] = compute[name]
        return values


def event(folder: Path, kind: str, step: int | None, **more: Any) -> None:
    """Append one line to events.jsonl; any rank may, one write a line.

    A full disk does not end a run that could go on: the line is then in the rank's log alone. So is
    that of a rank whose run has gone on without it.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "event": kind, "step": step, **more})
    if Life.read(folder).newer():
        print(f"a newer life has this run; not written: {line}", file=sys.stderr)
        return
    try:
        with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        print(f"events.jsonl: {error}; not written: {line}", file=sys.stderr)


def has_failed(folder: Path) -> bool:
    """Whether a rank has failed since the newest life has begun to train."""
    with suppress(OSError, ValueError):
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        for said in map(json.loads, reversed(lines)):
            if said["event"] in ("started", "resumed"):
                return False
            if said["event"] == "failed" and said.get("rank") is not None:
                return True
    return False


class Metrics:
    """Writes rows to metrics.jsonl, and hands them to the boards."""

    def __init__(self, folder: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
        """Append to the files of the run in ``folder``; troubles are said once."""
        self._file: TextIO = (folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")
        self._full = False
        self._say = say
        self._boards = Boards(folder, recipe, say)

    def write(self, row: "Row | ValidationRow") -> None:
        """Add one row; what is not a finite number becomes null, as JSON has no other word."""
        values = asdict(row)
        finite = {key: None if _wild(value) else value for key, value in values.items()}
        self._append(json.dumps(finite))
        self._boards.write(row.step, row.scalars())

    def _append(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
            self._full = False
        except OSError as error:
            if not self._full:
                self._say(f"metrics.jsonl cannot be written, the run goes on without: {error}")
            self._full = True

    def close(self) -> None:
        """Write what is still held back."""
        # What could not be written is lost with the file.
        with suppress(OSError):
            self._file.close()
        self._boards.close()


def _wild(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

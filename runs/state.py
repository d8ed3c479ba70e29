"""The state of a run, read from what the job itself wrote."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from llmtrain.runs.events import json_lines
from llmtrain.runs.folder import read_plan
from llmtrain.runs.lives import BEGINNINGS
from llmtrain.runs.metrics import has_begun, program_checkpoint, rows
from llmtrain.runs.presence import Presence, presence
from llmtrain.runs.slurm import end_of, submitted

Status = Literal[
    "prepared",
    "queued",
    "starting",
    "running",
    "finished",
    "stopped",
    "cancelled",
    "failed",
    "lost",
    "unknown",
]

TAIL_BYTES = 64 * 1024
"""Enough for the last lines of a file that grows for weeks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Where a run stands."""

    name: str
    """Name of its folder."""
    path: Path
    """The folder."""
    status: Status
    """lost: it was started and ended without a word; unknown: Slurm does not answer."""
    step: int
    """The last step that is in metrics.jsonl."""
    steps: int | None
    """Steps of the whole run."""
    loss: float | None
    """Mean nats per token at that step."""
    tokens_per_second: float | None
    """At that step."""
    step_seconds: float | None
    """What that step took."""
    memory_bytes: int | None
    """Most bytes of tensors, of the rank with the most."""
    checkpoint: int | None
    """Step of the newest checkpoint that is complete."""
    error: str | None
    """What the job said when it failed."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return asdict(self) | {"path": str(self.path)}


def read_state(folder: Path, there: Presence | None = None) -> State:
    """The state of the run in ``folder``. Half-written lines are passed over.

    ``there``: whether its job is, where that is known already.
    """
    # In this order: a run that ends in between has left its last word when that is read.
    there = there or presence(folder)
    events = list(json_lines(folder / "events.jsonl"))
    life = _last_life(events)
    steps = rows(folder, TAIL_BYTES)
    last: dict[str, Any] = steps[-1] if steps else {}
    saved = _saved(events)
    failures = [event.get("error") for event in life if event.get("event") == "failed"]
    kinds = [str(event.get("event")) for event in life]
    status = _status(kinds, there, any("job" in event for event in life))
    if status == "starting" and has_begun(folder, TAIL_BYTES):
        status = "running"
    return State(
        name=folder.name,
        path=folder,
        status=status,
        step=int(last.get("step", 0)),
        steps=_steps(folder),
        loss=last.get("loss"),
        tokens_per_second=last.get("tokens_per_second"),
        step_seconds=last.get("step_seconds"),
        memory_bytes=last.get("memory_bytes"),
        checkpoint=saved[-1] if saved else program_checkpoint(folder, TAIL_BYTES),
        # The first to fail says why; one rank's failure is echoed by the others.
        error=_error(folder, status, failures),
    )


def _saved(events: list[dict[str, Any]]) -> list[Any]:
    """Steps of the checkpoints that were made, without those that were found damaged since."""
    found: list[dict[str, Any]] = []
    for event in events:
        if event.get("event") == "checkpoint":
            found.append(event)
        elif event.get("event") == "checkpoint_damaged":
            found = [each for each in found if each.get("name") != event.get("name")]
    return [each.get("step") for each in found]


def _error(folder: Path, status: Status, failures: list[Any]) -> str | None:
    if status == "failed" and failures:
        return str(failures[0])
    job = submitted(folder) if status in ("failed", "lost") else None
    end = end_of(job) if job else None
    return f"Slurm says {end} of job {job.job}" if job and end else None


ENDINGS: tuple[Status, ...] = ("finished", "stopped", "cancelled", "failed")
"""Events after which a run is over, until it is resumed."""


def _last_life(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened since the run was started last, or prepared anew for another layout."""
    kinds = (*BEGINNINGS, "changed")
    begun = [number for number, event in enumerate(events) if event.get("event") in kinds]
    return events[begun[-1] if begun else 0 :]


def _status(life: list[str], there: Presence, by_slurm: bool) -> Status:
    if there == "queued":
        return "queued"
    ended = [kind for kind in life if kind in ENDINGS]
    if there == "here" and by_slurm and ended[:1] == ["failed"] and "job_ended" not in life:
        return "starting"  # the script looks whether another life is worth it
    if ended:
        # A request to cancel is noted after the stop that it asked for.
        return "cancelled" if "cancelled" in ended else ended[0]
    if there == "here":
        return "running" if life and life[0] != "launched" else "starting"
    if there == "unknown":
        return "unknown"
    return "lost" if life and life[0] != "changed" else "prepared"


def _steps(folder: Path) -> int | None:
    steps = read_plan(folder).get("steps")
    return steps if isinstance(steps, int) else None

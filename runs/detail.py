"""One run against its plan: how fast it is, how long it takes, and where it differs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from llmtrain.runs.events import json_lines
from llmtrain.runs.folder import read_plan
from llmtrain.runs.lives import Life, lives
from llmtrain.runs.metrics import rows
from llmtrain.runs.progress import repeated
from llmtrain.runs.state import TAIL_BYTES, State

WINDOW = 50
"""Steps of which the median is the measured step time."""
COMPUTING = ("gemm", "attention", "elementwise", "recompute", "launch")
"""Parts of the plan's step that a rank spends by itself, forward and backward."""
SLOW = 1.1
"""A rank that computes so many times longer than the median is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detail:
    """What ``status RUN`` adds to a state. None: not known, or not planned."""

    median_step_seconds: float | None
    """Median of the last steps."""
    planned_step_seconds: float | None
    """What the plan says."""
    deviation: float | None
    """Measured over planned, less one."""
    computing: float | None
    """Seconds of the deviation that the ranks compute longer than planned; the rest is waiting
    for each other and for the network."""
    slow_ranks: tuple[int, ...]
    """Ranks that compute clearly longer than the median."""
    stragglers: tuple[str, ...]
    """Ranks that the trainer has found to compute longer than their stage, in its last life, and
    their nodes."""
    mfu: float | None
    """Model FLOP utilisation, by the convention of the plan."""
    planned_mfu: float | None
    """What the plan says."""
    left_seconds: float | None
    """To the last step, while it runs."""
    planned_memory_bytes: int | None
    """What the plan says of the worst rank."""
    memory_by_stage: tuple[tuple[int, int], ...]
    """Measured and planned bytes of each pipeline stage."""
    checkpoint_seconds: float | None
    """What the newest checkpoint took."""
    checkpoint_time: str | None
    """When it was complete."""
    silent_seconds: float | None
    """Since the last step, while it runs."""
    repeated_steps: int
    """Steps that were trained again after a resume."""
    repeated_difference: float | None
    """Largest difference of their losses, nats per token; 0: exact."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return asdict(self)


def read_detail(state: State) -> Detail:
    """From what the run wrote and its plan."""
    plan = read_plan(state.path)
    steps = steady_rows(state.path, TAIL_BYTES)[-WINDOW:]
    last: Mapping[str, Any] = steps[-1] if steps else {}
    measured = _median([row.get("step_seconds") for row in steps])
    planned = _number(plan.get("step_seconds"))
    saved, parts = _last_checkpoint(state.path), lives(state.path)
    running = state.status == "running"
    again, apart = repeated(state.path) if len(parts) > 1 else (0, None)
    return Detail(
        median_step_seconds=measured,
        planned_step_seconds=planned,
        deviation=measured / planned - 1 if measured and planned else None,
        computing=_computing(steps, plan),
        slow_ranks=_slow_ranks(last),
        stragglers=stragglers(parts[-1:]),
        mfu=mfu(steps, plan),
        planned_mfu=_number(plan.get("mfu")),
        left_seconds=_left(state, measured) if running else None,
        planned_memory_bytes=plan.get("peak_memory_bytes"),
        memory_by_stage=_by_stage(last, plan),
        checkpoint_seconds=_number(saved.get("seconds")),
        checkpoint_time=saved.get("time"),
        silent_seconds=_silent(state.path) if running and steps else None,
        repeated_steps=again,
        repeated_difference=apart,
    )


def steady_rows(folder: Path, tail: int | None = None) -> list[dict[str, Any]]:
    """The steps, or those in the last ``tail`` bytes, without the first of each life.

    That one holds what is done once.
    """
    found = rows(folder, tail)
    resumed = {
        event.get("step") or 0
        for event in json_lines(folder / "events.jsonl")
        if event.get("event") in ("started", "resumed")
    }
    steady = [row for row in found if row.get("step", 0) - 1 not in resumed]
    return steady or found


def _median(values: Sequence[Any]) -> float | None:
    known = [value for value in values if _number(value) is not None]
    return float(median(known)) if known else None


def _number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number else None


def _left(state: State, step_seconds: float | None) -> float | None:
    if state.steps is None or step_seconds is None:
        return None
    return (state.steps - state.step) * step_seconds


def mfu(steps: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> float | None:
    """The plan's, scaled by tokens a second: it holds for every batch size of a ramp."""
    speed = _median([row.get("tokens_per_second") for row in steps])
    names = ("tokens_per_second_per_gpu", "mfu", "gpus")
    planned, whole, gpus = (_number(plan.get(name)) for name in names)
    if not (speed and planned and whole and gpus):
        return None
    return whole * speed / (planned * gpus)


def _computing(steps: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> float | None:
    measured = _median([(row.get("compute_seconds") or {}).get("median") for row in steps])
    breakdown = plan.get("breakdown")
    if measured is None or not isinstance(breakdown, dict):
        return None
    return float(measured - sum(breakdown.get(name, 0) for name in COMPUTING))


def _slow_ranks(row: Mapping[str, Any]) -> tuple[int, ...]:
    compute = row.get("compute_seconds") or {}
    usual = _number(compute.get("median"))
    if not usual:
        return ()
    return tuple(
        each["rank"] for each in compute.get("slowest", ()) if each["seconds"] > SLOW * usual
    )


def stragglers(found: Sequence[Life]) -> tuple[str, ...]:
    """What the trainer said in these lives of ranks that are slow, once of each rank."""
    said = {}
    for event in (event for life in found for event in life.events):
        if event.get("event") == "straggler":
            times = event["seconds"] / event["usual_seconds"]
            said[event["rank"]] = f"rank {event['rank']} on {event['node']}, {times:.1f} times"
    return tuple(said.values())


def _by_stage(row: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    measured, stages = row.get("stage_memory_bytes"), plan.get("stages")
    if not measured or not stages or len(measured) != len(stages):
        return ()
    return tuple(
        (int(most), int(stage["memory"]["total"]))
        for most, stage in zip(measured, stages, strict=True)
    )


def _last_checkpoint(folder: Path) -> dict[str, Any]:
    found = [e for e in json_lines(folder / "events.jsonl") if e.get("event") == "checkpoint"]
    return found[-1] if found else {}


def _silent(folder: Path) -> float | None:
    try:
        return max(0.0, time.time() - (folder / "metrics.jsonl").stat().st_mtime)
    except OSError:
        return None

"""Runs as tables."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from llmtrain.config.sizes import memory_text
from llmtrain.runs.detail import Detail
from llmtrain.runs.plot import plot
from llmtrain.runs.progress import losses
from llmtrain.runs.state import State

COLUMNS = ("run", "status", "step", "loss", "tokens/s", "checkpoint", "left")
TEXT_COLUMNS = 2
"""Of these the first are text, and stand to the left."""


def show_runs(states: Sequence[State], roots: Sequence[Path], console: Console) -> None:
    """One line for each run. Lines are written at once: there may be thousands."""
    if not states:
        console.print(f"no runs in {' or '.join(map(str, roots))}")
        return
    rows = [
        COLUMNS,
        *((state.name, state.status, *_figures(state), _left(state)) for state in states),
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = "\n".join("  ".join(_cells(row, widths)).rstrip() for row in rows)
    console.print(lines, soft_wrap=True)


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if at < TEXT_COLUMNS else cell.rjust(width)


def show_run(state: State, detail: Detail, console: Console) -> None:
    """One run with its losses, beside its plan."""
    step, loss, speed, checkpoint = _figures(state)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("run", state.name),
        ("status", state.status),
        ("step", step),
        ("loss", loss),
        ("tokens/s", speed),
        *_measured(state, detail),
        ("checkpoint", checkpoint + _saved(detail)),
        ("resumed", _repeated(detail)),
        ("folder", str(state.path)),
        ("error", state.error or ""),
    ]
    for name, value in rows:
        if value or name not in ("error", *OPTIONAL):
            table.add_row(name, value)
    console.print(table)
    curve = plot(losses(state.path))
    if curve:
        console.print(curve)


OPTIONAL = ("step time", "off plan", "MFU", "left", "memory", "silent", "resumed")
"""Rows that are left out where nothing is known."""


def _measured(state: State, detail: Detail) -> Iterator[tuple[str, str]]:
    yield "step time", _beside(detail.median_step_seconds, detail.planned_step_seconds, "{:.3g} s")
    yield "off plan", _deviation(detail)
    yield "MFU", _beside(detail.mfu, detail.planned_mfu, "{:.1%}")
    yield "left", _duration(detail.left_seconds)
    yield "memory", _memory(state.memory_bytes, detail.planned_memory_bytes) + _stages(detail)
    slow = detail.silent_seconds or 0
    usual = detail.median_step_seconds or 0
    for each in detail.stragglers:
        yield "slow", f"{each} as long as its stage"
    yield "silent", f"no step for {_duration(slow)}" if slow > max(60, 10 * usual) else ""


def _memory(measured: int | None, planned: int | None) -> str:
    if measured is None:
        return ""
    plan = "" if planned is None else f" (plan {memory_text(planned)})"
    return memory_text(measured) + plan


def _beside(measured: float | None, planned: float | None, form: str) -> str:
    if measured is None:
        return ""
    plan = "" if planned is None else f" (plan {form.format(planned)})"
    return form.format(measured) + plan


def _deviation(detail: Detail) -> str:
    if detail.deviation is None:
        return ""
    said = [f"{detail.deviation:+.1%}"]
    if detail.computing is not None and detail.median_step_seconds and detail.planned_step_seconds:
        waiting = detail.median_step_seconds - detail.planned_step_seconds - detail.computing
        said.append(f"computing {detail.computing:+.3g} s, the rest {waiting:+.3g} s")
    if detail.slow_ranks:
        said.append(f"slow: rank {', '.join(map(str, detail.slow_ranks))}")
    return "; ".join(said)


def _stages(detail: Detail) -> str:
    if len(detail.memory_by_stage) < 2:
        return ""
    worst = max(detail.memory_by_stage, key=lambda pair: abs(pair[0] / pair[1] - 1))
    number = detail.memory_by_stage.index(worst)
    return f"; most off plan: stage {number}, {worst[0] / worst[1] - 1:+.1%}"


def _saved(detail: Detail) -> str:
    when = "" if detail.checkpoint_time is None else f" at {detail.checkpoint_time[:19]}"
    took = "" if detail.checkpoint_seconds is None else f", {detail.checkpoint_seconds:.1f} s"
    return when + took


def _repeated(detail: Detail) -> str:
    if detail.repeated_difference is None:
        return ""
    apart = detail.repeated_difference
    same = (
        "with the same losses" if apart == 0 else f"their losses apart by {apart:.2g} at the most"
    )
    return f"{detail.repeated_steps} steps were trained again, {same}"


def _left(state: State) -> str:
    known = state.status == "running" and state.steps is not None
    if not known or state.step_seconds is None:
        return ""
    return _duration(((state.steps or 0) - state.step) * state.step_seconds)


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def _figures(state: State) -> tuple[str, str, str, str]:
    return (
        f"{state.step}/{state.steps or '?'}",
        "" if state.loss is None else f"{state.loss:.4f}",
        "" if state.tokens_per_second is None else f"{state.tokens_per_second:,.0f}",
        "" if state.checkpoint is None else str(state.checkpoint),
    )

"""Runs as tables."""

from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.table import Table

from llmtrain.runs.plot import plot
from llmtrain.runs.state import State, losses


def show_runs(states: list[State], root: Path, console: Console) -> None:
    """One line for each run."""
    if not states:
        console.print(f"no runs in {root}")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("run", "status", "step", "loss", "tokens/s", "checkpoint"):
        justify: JustifyMethod = "left" if name in ("run", "status") else "right"
        table.add_column(name, justify=justify, overflow="fold")
    for state in states:
        table.add_row(state.name, state.status, *_figures(state))
    console.print(table)


def show_run(state: State, console: Console) -> None:
    """One run with its losses."""
    step, loss, speed, checkpoint = _figures(state)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("run", state.name),
        ("status", state.status),
        ("step", step),
        ("loss", loss),
        ("tokens/s", speed),
        ("checkpoint", checkpoint),
        ("folder", str(state.path)),
    ):
        table.add_row(name, value)
    if state.error:
        table.add_row("error", state.error)
    console.print(table)
    curve = plot(losses(state.path))
    if curve:
        console.print(curve)


def _figures(state: State) -> tuple[str, str, str, str]:
    return (
        f"{state.step}/{state.steps or '?'}",
        "" if state.loss is None else f"{state.loss:.4f}",
        "" if state.tokens_per_second is None else f"{state.tokens_per_second:,.0f}",
        "" if state.checkpoint is None else str(state.checkpoint),
    )

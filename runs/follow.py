"""Following a run by what it writes: a progress line while it lives."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from llmtrain.config.sizes import memory_text
from llmtrain.runs.detail import mfu
from llmtrain.runs.folder import read_plan
from llmtrain.runs.state import State, read_state

POLL_SECONDS = 0.2
PLAIN_SECONDS = 15.0
"""Between two lines where there is no terminal."""


Reader = Callable[[Path], State]


def follow(
    folder: Path, alive: Callable[[], bool], console: Console, read: Reader = read_state
) -> State:
    """Show the run's progress on ``console`` until ``alive`` says it is over; its last state."""
    show = _bar if console.is_terminal else _lines
    return show(folder, alive, console, read)


def _bar(folder: Path, alive: Callable[[], bool], console: Console, read: Reader) -> State:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}/{task.total:.0f} · {task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
    )
    plan = read_plan(folder)
    with Progress(*columns, console=console) as progress:
        state = read(folder)
        begun = progress.add_task(
            "starting", total=state.steps or 1, completed=state.step, figures=""
        )
        while alive():
            state = read(folder)
            _update(progress, begun, state, plan)
            time.sleep(POLL_SECONDS)
        state = read(folder)
        _update(progress, begun, state, plan)
    return state


def _update(progress: Progress, task: TaskID, state: State, plan: Mapping[str, Any]) -> None:
    figures = _figures(state, plan)
    progress.update(task, description=state.status, completed=state.step, figures=figures)


def _lines(folder: Path, alive: Callable[[], bool], console: Console, read: Reader) -> State:
    plan, shown = read_plan(folder), ("", -1)
    due = time.monotonic()
    while alive():
        state = read(folder)
        if state.status != shown[0] or (time.monotonic() >= due and state.step != shown[1]):
            console.print(_plain(state, plan))
            shown, due = (state.status, state.step), time.monotonic() + PLAIN_SECONDS
        time.sleep(POLL_SECONDS)
    return read(folder)


def _plain(state: State, plan: Mapping[str, Any]) -> str:
    if not state.step:
        return state.status
    return f"{state.status} · step {state.step} of {state.steps or '?'} · {_figures(state, plan)}"


def _figures(state: State, plan: Mapping[str, Any]) -> str:
    if not state.step:
        return ""
    speed = {"tokens_per_second": state.tokens_per_second}
    used, planned = mfu([speed], plan), plan.get("mfu")
    figures = [
        "no finite loss" if state.loss is None else f"loss {state.loss:.3f}",
        f"{state.tokens_per_second or 0:,.0f} tokens/s",
        f"MFU {used:.1%} (plan {planned:.1%})" if used and planned else "",
        memory_text(state.memory_bytes) if state.memory_bytes else "",
        f"saved at {state.checkpoint}" if state.checkpoint else "",
    ]
    return " · ".join(figure for figure in figures if figure)

"""Following a run by what it writes: a progress line while it lives."""

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

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
    with Progress(*columns, console=console) as progress:
        state = read(folder)
        begun = progress.add_task(
            "starting", total=state.steps or 1, completed=state.step, figures=""
        )
        while alive():
            state = read(folder)
            _update(progress, begun, state)
            time.sleep(POLL_SECONDS)
        state = read(folder)
        _update(progress, begun, state)
    return state


def _update(progress: Progress, task: TaskID, state: State) -> None:
    progress.update(task, description=state.status, completed=state.step, figures=_figures(state))


def _lines(folder: Path, alive: Callable[[], bool], console: Console, read: Reader) -> State:
    shown: tuple[str, int] = ("", -1)
    due = time.monotonic()
    while alive():
        state = read(folder)
        if state.status != shown[0] or (time.monotonic() >= due and state.step != shown[1]):
            console.print(_plain(state))
            shown, due = (state.status, state.step), time.monotonic() + PLAIN_SECONDS
        time.sleep(POLL_SECONDS)
    return read(folder)


def _plain(state: State) -> str:
    if not state.step:
        return state.status
    return f"{state.status} · step {state.step} of {state.steps or '?'} · {_figures(state)}"


def _figures(state: State) -> str:
    if state.loss is None:
        return ""
    return f"loss {state.loss:.3f} · {state.tokens_per_second or 0:,.0f} tokens/s"

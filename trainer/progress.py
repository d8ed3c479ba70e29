"""What the terminal shows while a run goes on."""

import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from llmtrain.trainer.records import Row

LINE_SECONDS = 10.0
"""Time between two lines where there is no terminal."""

DRAW_SECONDS = 0.2
"""Shortest time between two drawings of the progress line."""


class Line:
    """A progress line with the time left; plain lines where the output is not a terminal."""

    def __init__(self, terminal: TextIO, name: str, steps: int) -> None:
        """Show a run of ``steps`` called ``name``."""
        self.steps, self._shown = steps, 0.0
        self._console = Console(file=terminal)
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = _bar(self._console)
            self._task = self._bar.add_task(name, total=steps, speed=0.0, loss=0.0)

    def begin(self, done: int) -> None:
        """So many steps are behind the run."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def show(self, row: Row) -> None:
        """Show the last step."""
        now = time.monotonic()
        if now - self._shown < (DRAW_SECONDS if self._bar else LINE_SECONDS) and (
            row.step < self.steps
        ):
            return
        self._shown = now
        if self._bar is None:
            self.say(describe(row, self.steps))
            return
        self._bar.start()
        self._bar.update(self._task, completed=row.step, loss=row.loss, speed=row.tokens_per_second)
        self._bar.refresh()

    def say(self, text: str) -> None:
        """Print one line, above the bar where there is one."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()


def describe(row: Row, steps: int) -> str:
    """One step as a line of text."""
    left = (steps - row.step) * row.step_seconds
    return (
        f"step {row.step}/{steps}  loss {row.loss:.4f}  {row.tokens_per_second:,.0f} tokens/s"
        f"  {left:.0f} s left"
    )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[speed]:,.0f} tokens/s"),
        TimeRemainingColumn(),
        console=console,
        # Drawn by the training loop: a thread of its own would take the processor from it.
        auto_refresh=False,
    )

"""What ``llmtrain status`` shows: once, or again and again while something runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from llmtrain.cli.answer import err, out, print_json
from llmtrain.cli.footer import print_footer, print_footer_of_runs
from llmtrain.cli.show_runs import show_run, show_runs
from llmtrain.runs import prometheus
from llmtrain.runs.detail import read_detail
from llmtrain.runs.registry import LIVING, all_runs
from llmtrain.runs.state import State, read_state

WATCH_SECONDS = 5.0
"""Between two looks: each asks Slurm once, whose controller serves a whole cluster."""
RECENT = 30
"""Runs that are shown without ``--all``, besides those that live."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What is asked for."""

    roots: tuple[Path, ...]
    """Where runs lie."""
    folder: Path | None
    """One run; None: the table."""
    everything: bool
    """Runs of long ago too."""
    prometheus: Path | None
    """Where the metrics go."""


def show(shown: Shown, *, as_json: bool) -> None:
    """Once."""
    states, older = _states(shown, everything=shown.everything or as_json)
    _export(shown, states)
    if as_json:
        _print_json(shown, states)
        return
    _print(shown, states, out())
    if older:
        err().print(f"{older} older runs: llmtrain status --all")
    _footer(shown, states)


def watching(shown: Shown) -> None:
    """Until nothing runs any more; where there is no terminal, whenever something has changed."""
    from rich.live import Live
    from rich.text import Text

    console = out()
    last = ""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            states, _ = _states(shown, everything=shown.everything)
            _export(shown, states)
            text = _text(shown, states, console)
            if console.is_terminal:
                live.update(Text.from_ansi(text), refresh=True)
            elif text != last:
                console.print(Text.from_ansi(text))
            last = text
            if not any(state.status in LIVING for state in states):
                break
            time.sleep(WATCH_SECONDS)
    if console.is_terminal:
        _print(shown, states, console)
    _footer(shown, states)


def _footer(shown: Shown, states: Sequence[State]) -> None:
    if shown.folder is not None:
        print_footer(states[0], err(), without="status")
    else:
        print_footer_of_runs(states, err())


def _states(shown: Shown, *, everything: bool) -> tuple[list[State], int]:
    """What is shown, and how many runs of long ago are not."""
    if shown.folder is not None:
        return [read_state(shown.folder)], 0
    newest = None if everything else RECENT
    found = [all_runs(root, newest) for root in shown.roots]
    states = [state for states, _ in found for state in states]
    return states, sum(older for _, older in found)


def _print(shown: Shown, states: Sequence[State], console: Console) -> None:
    if shown.folder is not None:
        show_run(states[0], read_detail(states[0]), console)
    else:
        show_runs(states, shown.roots, console)


def _text(shown: Shown, states: Sequence[State], console: Console) -> str:
    with console.capture() as captured:
        _print(shown, states, console)
    return captured.get().rstrip("\n")


def _print_json(shown: Shown, states: Sequence[State]) -> None:
    if shown.folder is None:
        print_json({"runs": [state.as_json() for state in states]})
    else:
        print_json(states[0].as_json() | read_detail(states[0]).as_json())


def _export(shown: Shown, states: Sequence[State]) -> None:
    if shown.prometheus is not None:
        chosen = [(state, read_detail(state)) for state in states]
        prometheus.write(shown.prometheus, prometheus.text(chosen))

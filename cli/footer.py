"""What to type next, to copy and paste: on stderr, behind the data."""

import shlex
from collections.abc import Sequence

from rich.console import Console

from llmtrain.runs.folder import spoken
from llmtrain.runs.named import Named
from llmtrain.runs.registry import LIVING
from llmtrain.runs.state import State, read_state

NEXT = {
    "prepared": (("go on", "resume"),),
    "queued": (("end it", "cancel"),),
    "starting": (("logs", "logs {} --follow"), ("end it", "cancel")),
    "running": (("logs", "logs {} --follow"), ("end it", "cancel")),
    "finished": (("logs", "logs"), ("status", "status")),
    "stopped": (("go on", "resume"),),
    "cancelled": (("go on", "resume"),),
    "failed": (("why", "why"), ("logs", "logs"), ("go on", "resume")),
    "lost": (("why", "why"), ("logs", "logs"), ("go on", "resume")),
    "unknown": (("logs", "logs"), ("status", "status")),
}
"""Title and verb by status; without a place for the run its name comes last."""


def print_footer(state: State, console: Console, *, without: str = "") -> None:
    """The commands that make sense for a run; ``without`` the verb that has just been used."""
    name = spoken(state.path.absolute())
    for title, verb in NEXT[state.status]:
        if verb.partition(" ")[0] != without:
            words = verb.format(name) if "{}" in verb else f"{verb} {name}"
            console.print(f"{title + ':':<7} llmtrain {words}")


def print_footer_of_runs(states: Sequence[State], console: Console) -> None:
    """Behind the table: of one that lives, else of the newest."""
    if not states:
        console.print("begin:  llmtrain run recipe=gpt-tiny")
        return
    living = [state for state in states if state.status in LIVING]
    chosen = (living or states)[0]
    console.print(f"status: llmtrain status {spoken(chosen.path.absolute())}")
    print_footer(chosen, console, without="status")


def print_footer_of_pair(second: Named, console: Console) -> None:
    """Behind a comparison: of what the first was held against."""
    if second.run is None:
        words = shlex.quote(f"recipe={second.name}")
        console.print(f"plan:   llmtrain plan {words}")
        console.print(f"run:    llmtrain run {words} --dry-run")
        return
    console.print(f"status: llmtrain status {spoken(second.run)}")
    print_footer(read_state(second.run), console, without="status")

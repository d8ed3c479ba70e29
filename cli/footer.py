"""What to type next, to copy and paste: on stderr, behind the data."""

from rich.console import Console

from llmtrain.runs.folder import spoken
from llmtrain.runs.state import State

NEXT = {
    "prepared": (("go on", "resume"),),
    "queued": (("end it", "cancel"),),
    "starting": (("logs", "logs {} --follow"), ("end it", "cancel")),
    "running": (("logs", "logs {} --follow"), ("end it", "cancel")),
    "finished": (("logs", "logs"),),
    "stopped": (("go on", "resume"),),
    "cancelled": (("go on", "resume"),),
    "failed": (("why", "why"), ("logs", "logs"), ("go on", "resume")),
    "lost": (("why", "why"), ("logs", "logs"), ("go on", "resume")),
    "unknown": (("logs", "logs"),),
}
"""Title and verb by status; without a place for the run its name comes last."""


def print_footer(state: State, console: Console, *, without: str = "") -> None:
    """The commands that make sense for a run; ``without`` the verb that has just been used."""
    name = spoken(state.path)
    for title, verb in NEXT[state.status]:
        if verb.partition(" ")[0] != without:
            words = verb.format(name) if "{}" in verb else f"{verb} {name}"
            console.print(f"{title + ':':<7} llmtrain {words}")

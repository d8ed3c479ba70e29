"""Starting, stopping and going on: the verbs on a local run."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from llmtrain.config.errors import Interrupted, LaunchError, Problem, RunError
from llmtrain.runs.events import note
from llmtrain.runs.folder import spoken
from llmtrain.runs.follow import follow
from llmtrain.runs.going_on import require_ended
from llmtrain.runs.process import ask, is_alive, is_ours, kill, start
from llmtrain.runs.progress import newest_checkpoint
from llmtrain.runs.state import State, read_state

CANCEL_SECONDS = 60.0
"""How long a cancelled run may take for its last step and checkpoint."""

ENDED_WELL = ("finished", "stopped", "cancelled")


def run_here(folder: Path, console: Console) -> State:
    """Start the run in ``folder`` and follow it to its end.

    After a failure it goes on, as long as each life has made a checkpoint. A first Ctrl-C asks for
    a checkpoint and a stop, a second one kills.

    Raises:
        LaunchError: if it cannot be started.
        RunError: if it failed.
        Interrupted: if Ctrl-C ended it.
    """
    while True:
        before = newest_checkpoint(folder)
        state, status = _life(folder, console)
        if status == 0 and state.status in ENDED_WELL:
            return state
        says = state.error or f"the job ended with status {status} and said nothing"
        problem, newest = run_failed(folder, says), newest_checkpoint(folder)
        if state.status not in ("failed", "lost") or newest <= before:
            raise RunError(problem)
        console.print(f"{problem.message}: going on from step {newest}")


def _life(folder: Path, console: Console) -> tuple[State, int]:
    """One start of the ranks: the state after it, and the status of the job."""
    process = start(folder, _script(folder))

    def alive() -> bool:
        return process.poll() is None

    try:
        follow(folder, alive, console)
    except KeyboardInterrupt:
        console.print("stopping after a checkpoint; Ctrl-C again kills the run")
        raise Interrupted(_stopped(folder, process, alive, console)) from None
    _note_end(folder, process.returncode)
    return read_state(folder), process.returncode


def _note_end(folder: Path, status: int) -> None:
    """How a program has ended that writes no events, where nobody else has written it."""
    if is_ours(folder) or read_state(folder).status != "lost":
        return
    asked = any((folder / "control" / name).exists() for name in ("stop", "stopping"))
    if status:
        note(folder, "failed", error=f"the ranks ended with status {status}")
    else:
        note(folder, "stopped" if asked and not _has_all_steps(folder) else "finished")


def _has_all_steps(folder: Path) -> bool:
    """Whether the last step is trained, whatever was asked for meanwhile."""
    state = read_state(folder)
    return state.steps is not None and state.steps <= max(state.step, newest_checkpoint(folder))


def _stopped(
    folder: Path, process: "subprocess.Popen[bytes]", alive: Callable[[], bool], console: Console
) -> Problem:
    ask(folder, "stop")
    try:
        follow(folder, alive, console)
    except KeyboardInterrupt:
        kill(folder)
        process.wait()
        note(folder, "cancelled")
    _note_end(folder, process.wait())
    state = read_state(folder)
    if state.status == "finished":
        return Problem(code="interrupted", says="interrupted when all steps were done")
    again = f"llmtrain resume {spoken(folder)}"
    if state.checkpoint is None:
        says, hint = "interrupted before the first checkpoint", f"begin again with: {again}"
    else:
        says = f"interrupted; the newest checkpoint is step {state.checkpoint}"
        hint = f"go on with: {again}"
    return Problem(code="interrupted", says=says, hint=hint)


def resume(folder: Path, console: Console) -> State:
    """Go on with a run that has ended before its last step; errors as :func:`run_here`.

    Raises:
        LaunchError: if it runs still, or has nothing left to do.
    """
    require_ended(folder)
    return run_here(folder, console)


def cancel(folder: Path, console: Console, patience: float = CANCEL_SECONDS) -> State:
    """End a running job: after a checkpoint if it can, by force after ``patience`` seconds.

    Raises:
        RunError: if it does not run.
    """
    if not is_alive(folder):
        raise RunError(f"{folder.name} does not run here; it is {read_state(folder).status}")
    ask(folder, "stop")
    console.print("waiting for the last checkpoint")
    until = time.monotonic() + patience
    while is_alive(folder) and time.monotonic() < until:
        time.sleep(0.2)
    if is_alive(folder):
        # First of all: who follows the run elsewhere would go on with one that only failed.
        note(folder, "cancelled")
        kill(folder)
    if read_state(folder).status not in ("finished", "cancelled"):
        note(folder, "cancelled")
    return read_state(folder)


def _script(folder: Path) -> str:
    try:
        return str(json.loads((folder / "launch.json").read_text(encoding="utf-8"))["script"])
    except (OSError, ValueError, KeyError) as error:
        raise LaunchError(f"{folder} holds no launch: {error}") from error


def run_failed(folder: Path, says: str) -> Problem:
    """Of the run in ``folder``, and where to read on."""
    hint = f"llmtrain logs {spoken(folder)}; all output: {folder / 'logs'}"
    return Problem(code="run_failed", says=f"{folder.name}: {says}", hint=hint)

"""Going on with a run that has ended: what it will load, and its folder for another layout."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.files import read_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Launch
from llmtrain.runs.checkpoints.check import Check, check
from llmtrain.runs.checkpoints.outcome import no
from llmtrain.runs.checkpoints.tracker import move
from llmtrain.runs.events import json_lines, note
from llmtrain.runs.folder import spoken
from llmtrain.runs.metrics import program_checkpoint
from llmtrain.runs.presence import presence
from llmtrain.runs.state import TAIL_BYTES, read_state


def require_ended(folder: Path, steps: int | None = None) -> None:
    """Refuse a run that goes on by itself, or has nothing left to do.

    Args:
        folder: the run's.
        steps: how many it is to have from now on; None: no more than before.

    Raises:
        LaunchError: if it is in the queue, runs, or has done all its steps.
    """
    there = presence(folder)
    state = read_state(folder, there)
    if there != "gone":
        if there == "here":
            hint = f"llmtrain logs {spoken(folder)} --follow"
            raise LaunchError(f"{folder.name} is running", hint=hint)
        raise LaunchError(f"{folder.name} is {state.status}", hint="see `llmtrain status`")
    if state.status == "finished" and (steps is None or steps <= state.step):
        raise LaunchError(f"{folder.name} has finished all {state.steps} steps")


def read_check(folder: Path, recipe: Recipe | None = None) -> Check:
    """What the run in ``folder`` will go on from; ``recipe``: where it is not the run's own."""
    found = check(folder / "checkpoints", recipe or read_recipe(folder / "recipe.yaml"))
    written = _written(folder) if found.verdict.outcome == "none" else None
    if written is None:
        return found
    begin = f"llmtrain run recipe={shlex.quote(str(folder / 'recipe.yaml'))}"
    says = f"{written} was written and is gone; `{begin}` begins another run"
    return replace(found, verdict=no(says))


def _written(folder: Path) -> str | None:
    """The newest checkpoint that the run's own records tell of."""
    events = json_lines(folder / "events.jsonl")
    names = [
        each["name"] for each in events if each.get("event") == "checkpoint" and "name" in each
    ]
    step = program_checkpoint(folder, TAIL_BYTES)
    return names[-1] if names else f"the checkpoint of step {step}" if step else None


def commands(folder: Path, found: Check, changes: Sequence[str]) -> tuple[str, ...]:
    """What makes a checkpoint one that loads, and goes on from it: lines for a shell, in order."""
    if found.verdict.outcome != "convert":
        return ()
    then = [text for text in (*changes, found.verdict.then) if text]
    line = f"llmtrain resume {spoken(folder)} {shlex.join(dict.fromkeys(then))}"
    return (*found.verdict.commands, line)


def require_loads(folder: Path, found: Check, changes: Sequence[str] = ()) -> None:
    """Refuse a checkpoint that the program would not load.

    Raises:
        LaunchError: with the reason, and the commands that convert it.
    """
    if not found.verdict.loads:
        name = found.stored.path.name if found.stored else f"{folder.name}/checkpoints"
        code = f"checkpoint_{found.verdict.outcome}"
        lines = (f"{name} {found.verdict.says}", *commands(folder, found, changes))
        raise LaunchError(Problem(code=code, says="\n  ".join(lines)))


def lead(folder: Path, found: Check) -> None:
    """Make the program find the checkpoint that is whole, where its tracker names another.

    Raises:
        LaunchError: if the tracker cannot be written.
    """
    if found.tracker is None:
        return
    try:
        move(found.tracker, folder)
    except OSError as error:
        says = f"{found.tracker.path} cannot be written: {error.strerror}"
        raise LaunchError(Problem(code="tracker", says=says)) from error


def refill(folder: Path, launch: Launch, changed: tuple[str, ...]) -> None:
    """Put another launch of the same run into its folder; what is not prepared stays.

    Raises:
        LaunchError: if it cannot be written.
    """
    try:
        for name, text in launch.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        (folder / launch.script).chmod(0o755)
        (folder / "control" / "finished").unlink(missing_ok=True)
    except OSError as error:
        raise LaunchError(f"{folder} cannot be written: {error}") from error
    note(folder, "changed", overrides=list(changed))

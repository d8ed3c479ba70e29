"""What ``llmtrain resume`` looks at and says before it starts anything."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from typer import Exit

from llmtrain.cli.answer import err, out, print_json, print_warnings
from llmtrain.cli.launching import prepared
from llmtrain.config.compose import compose
from llmtrain.config.errors import LaunchError, PlanError
from llmtrain.config.files import read_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.prepare import require_startable
from llmtrain.launchers.secrets import known_values
from llmtrain.planner.mending import LAUNCH
from llmtrain.planner.plan import make_plan
from llmtrain.runs.checkpoints.check import Check
from llmtrain.runs.checkpoints.stored import Stored
from llmtrain.runs.diff import differences
from llmtrain.runs.folder import spoken
from llmtrain.runs.going_on import (
    commands,
    lead,
    read_check,
    refill,
    require_ended,
    require_loads,
)


def show_check(folder: Path, changes: Sequence[str], *, as_json: bool) -> None:
    """What would be loaded, and whether it can be; nothing is changed.

    Raises:
        Exit: with the status of a launch that is impossible, if it cannot.
    """
    recipe = _changed(folder, changes)
    found = read_check(folder, recipe)
    lines = commands(folder, found, changes)
    if as_json:
        print_json({"run": folder.name, **found.as_json(), "commands": list(lines)})
    else:
        # Commands are to be pasted: a line is never broken.
        out().print("\n  ".join(("\n".join(said(found)), *lines)), soft_wrap=True)
        _say_next(folder, changes, loads=found.verdict.loads)
    if not found.verdict.loads:
        raise Exit(LaunchError.status)


def _say_next(folder: Path, changes: Sequence[str], *, loads: bool) -> None:
    if loads:
        err().print(
            f"go on:  llmtrain resume {' '.join((spoken(folder), *map(shlex.quote, changes)))}"
        )
    else:
        err().print(f"status: llmtrain status {spoken(folder)}")


def begin(folder: Path, changes: Sequence[str], console: Console) -> None:
    """Look at the checkpoint, say what will happen to it, and make the folder ready.

    Raises:
        LaunchError: if the run goes on still, or the checkpoint would not be loaded.
        PlanError: if the changed recipe cannot be launched.
    """
    recipe = _changed(folder, changes)
    launch = _launch(folder, recipe) if changes else None
    steps = make_plan(recipe).steps if changes else None
    require_ended(folder, steps)
    found = read_check(folder, recipe)
    require_loads(folder, found, changes)
    console.print("\n".join(said(found)))
    print_warnings(_warnings(folder, recipe), console)
    lead(folder, found)
    if launch is not None:
        refill(folder, launch, tuple(changes))


def said(found: Check) -> list[str]:
    """The verdict in words, with what is passed over and where the program is led."""
    lines = []
    if found.skipped is not None:
        lines.append(f"{found.skipped.path.name} is passed over: {found.skipped.damage}")
    if found.tracker is not None:
        was = f"{found.tracker.was!r}" if found.tracker.was is not None else "missing"
        name = found.tracker.path.name
        lines.append(f"{name} is {was}, to be {found.tracker.now!r}: {found.tracker.why}")
    if found.stored is None:
        return [*lines, found.verdict.says]
    stored = found.stored
    about = ", ".join(filter(None, (stored.format, _degrees(stored), stored.dtype)))
    return [*lines, f"{stored.path.name} ({about}): {found.verdict.says}"]


def _degrees(stored: Stored) -> str:
    """The usual three, and what else is not 1; the stage of ZeRO if there is one."""
    layout = stored.layout
    shown = [name for name in ("tp", "pp", "dp") if name in layout]
    shown += [name for name in ("vpp", "cp", "ep") if layout.get(name, 1) > 1]
    shown += ["zero"] if layout.get("zero") else []
    return " · ".join(f"{name} {layout[name]}" for name in shown)


def _changed(folder: Path, changes: Sequence[str]) -> Recipe:
    """The run's recipe, with what is to be another from now on."""
    file = folder / "recipe.yaml"
    if not changes:
        return read_recipe(file)
    return compose([f"recipe={file}", *changes], (), LAUNCH)


def _launch(folder: Path, recipe: Recipe) -> Launch:
    plan, launch = prepared(make_plan(recipe))
    if launch is None:
        raise PlanError(plan.errors)
    if recipe.site.scheduler != read_recipe(folder / "recipe.yaml").site.scheduler:
        raise LaunchError("a run goes on where it was: its `site.scheduler` cannot change")
    require_startable(launch, known_values(recipe.site.secrets))
    return launch


def _warnings(folder: Path, recipe: Recipe) -> tuple[str, ...]:
    """Changed keys that make the rest another experiment."""
    found = differences(read_recipe(folder / "recipe.yaml"), recipe)
    return tuple(
        f"`{each.key}` = {each.first} → {each.second} changes the experiment: {each.why}"
        for each in found
        if each.label == "experiment"
    )

"""What ``llmtrain run`` does on a Slurm site: submit, and on a terminal follow."""

import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console

from llmtrain.cli.answer import err, print_json, print_warnings
from llmtrain.cli.launching import home_warning, report
from llmtrain.cli.planning import said
from llmtrain.config.errors import LaunchError
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.prepare import require_startable
from llmtrain.launchers.schedulers.local import require_here
from llmtrain.launchers.secrets import known_values
from llmtrain.planner.plan import Plan
from llmtrain.runs.excluded import alive
from llmtrain.runs.folder import make_folder, runs_root, spoken
from llmtrain.runs.presubmit import (
    must_confirm,
    predicted_start,
    require_paths,
    require_within_limits,
    space_warnings,
)
from llmtrain.runs.slurm import Submitted
from llmtrain.runs.state import read_state
from llmtrain.runs.submitted import follow_job, submit


def submit_to_slurm(plan: Plan, launch: Launch, *, as_json: bool, yes: bool, wait: bool) -> None:
    """Make the run's folder, submit it, follow it on a terminal or with ``wait``.

    Raises:
        LaunchError: if it lacks a key, or Slurm refuses it.
        RunError: if it was followed and failed.
    """
    console = err()
    site = plan.recipe.site
    root = runs_root(site)
    start = require_submittable(plan, launch, console, yes=yes)
    print_warnings((*said(plan), *launch.warnings), console)
    print_warnings((*home_warning(plan), *space_warnings(plan, root)), console)
    for each in alive(root):
        console.print(f"without {each}")
    if start:
        console.print(f"Slurm expects it to start at {start}")
    folder = make_folder(launch, root, datetime.now(), site)
    after_submit(folder, submit(folder, console), as_json=as_json, wait=wait)


def require_submittable(plan: Plan, launch: Launch, console: Console, *, yes: bool) -> str | None:
    """Everything that is known to fail, and the question of what it costs; the predicted start.

    Raises:
        LaunchError: if it would fail, or is not wanted.
    """
    site = plan.recipe.site
    require_startable(launch, known_values(site.secrets))
    if site.scheduler == "local":
        require_here(plan.recipe, plan.nodes)
    if site.scheduler != "slurm":
        return None
    require_within_limits(plan)
    require_paths(plan)
    start = predicted_start(launch, runs_root(site))
    _confirm(must_confirm(plan), console, yes=yes)
    return start


def after_submit(folder: Path, job: Submitted, *, as_json: bool, wait: bool) -> None:
    """Follow the job where somebody looks on, else say what to type next.

    Raises:
        RunError: if it was followed and failed.
    """
    console = err()
    if not (wait or console.is_terminal):
        if as_json:
            print_json(read_state(folder, "queued").as_json())
        _footer(folder, job, console)
        return
    try:
        state = follow_job(folder, console)
    except KeyboardInterrupt:
        console.print("detached; the job goes on")
        _footer(folder, job, console)
        return
    report(state, console, as_json=as_json)


def _confirm(question: str | None, console: Console, *, yes: bool) -> None:
    if question is None or yes:
        return
    if not sys.stdin.isatty():
        raise LaunchError(question, hint="`--yes` answers without a terminal")
    console.print(f"{question} [y/N] ", end="")
    if input().strip().lower() not in ("y", "yes"):
        raise LaunchError("not submitted")


def _footer(folder: Path, job: Submitted, console: Console) -> None:
    name = spoken(folder)
    console.print(f"run:    {folder} (job {job.job})")
    console.print(f"status: llmtrain status {name}")
    console.print(f"logs:   llmtrain logs {name} --follow")
    console.print(f"end it: llmtrain cancel {name}")

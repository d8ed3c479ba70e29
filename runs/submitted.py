"""The verbs on a run that Slurm has: follow, end, go on."""

import re
import time
from pathlib import Path

from rich.console import Console

from llmtrain.config.errors import RunError
from llmtrain.runs import slurm
from llmtrain.runs.cache import cache_job, submit_cache
from llmtrain.runs.events import note
from llmtrain.runs.excluded import damaged, exclude_option
from llmtrain.runs.folder import spoken
from llmtrain.runs.follow import follow
from llmtrain.runs.going_on import require_ended
from llmtrain.runs.operate import CANCEL_SECONDS, ENDED_WELL, run_failed
from llmtrain.runs.presence import Watch, presence
from llmtrain.runs.process import ask
from llmtrain.runs.slurm import Submitted, Unreachable, submitted
from llmtrain.runs.state import State, read_state

SCRIPT = "job.sbatch"
POLL_SECONDS = 1.0
"""Between two looks at a job that is to end."""


def on_slurm(folder: Path) -> bool:
    """Whether the run in ``folder`` is started by a batch script."""
    return (folder / SCRIPT).is_file()


def submit(folder: Path, console: Console) -> Submitted:
    """Put a run, whose folder is whole, into the queue.

    Raises:
        LaunchError: if Slurm refuses it.
    """
    script = (folder / SCRIPT).read_text(encoding="utf-8")
    options = list(exclude_option(script, folder.parent))
    for each in damaged(folder.parent):
        console.print(f"warning: {each}")
    before = submit_cache(folder)
    if before:
        console.print(f"job {before.job} builds the index of the data first")
        options += [f"--dependency=afterok:{before.job}", "--kill-on-invalid-dep=yes"]
    job = slurm.submit(folder, SCRIPT, options)
    console.print(f"job {job.job}: {spoken(folder)}")
    return job


def follow_job(folder: Path, console: Console) -> State:
    """Show the run's progress until its job has ended.

    Raises:
        RunError: if it failed.
    """
    watch = Watch(folder)
    state = follow(folder, watch.alive, console, lambda path: read_state(path, watch.presence))
    if state.status not in ENDED_WELL:
        says = state.error or f"the job has ended, {state.status}"
        raise RunError(run_failed(folder, says))
    return state


def resume_job(folder: Path, console: Console) -> Submitted:
    """Submit a run again that has ended before its last step.

    Raises:
        LaunchError: if it is in the queue still, or has nothing left to do.
    """
    require_ended(folder)
    return submit(folder, console)


def cancel_job(folder: Path, console: Console) -> State:
    """End the run's job: after a checkpoint if it runs.

    Raises:
        RunError: if there is no job, or Slurm does not answer.
    """
    job = submitted(folder)
    there = presence(folder)
    if job is None or there == "gone":
        raise RunError(f"{folder.name} is not in the queue; it is {read_state(folder).status}")
    try:
        slurm.cancel(job, pending_only=True)
        before = cache_job(folder)
        if before:
            slurm.cancel(Submitted(job=before))
        if there == "here" and not _ended(folder):
            ask(folder, "stop")
            slurm.tell_ranks(job)
            console.print("waiting for the last checkpoint")
            _wait(folder, max(CANCEL_SECONDS, lead_seconds(folder)))
        slurm.cancel(job)
    except Unreachable as error:
        raise RunError(f"{folder.name} cannot be cancelled: {error}") from error
    (folder / "control" / "stop").unlink(missing_ok=True)
    state = read_state(folder, "gone")
    if state.status != "finished":
        note(folder, "cancelled")
    return read_state(folder, "gone")


def lead_seconds(folder: Path) -> float:
    """How long the ranks need for a checkpoint, as the batch script says it."""
    try:
        text = (folder / SCRIPT).read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^#SBATCH --signal=B:USR1@(\d+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0


def _ended(folder: Path) -> bool:
    return read_state(folder, "gone").status in ("finished", "stopped", "failed")


def _wait(folder: Path, seconds: float) -> None:
    watch, until = Watch(folder), time.monotonic() + seconds
    while watch.alive() and time.monotonic() < until:
        time.sleep(POLL_SECONDS)

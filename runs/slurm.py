"""Slurm's commands, each with a time-out: on a dead controller they hang.

Their answers are evidence, not truth: what the job itself wrote comes first.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmtrain.config.errors import LaunchError, Problem

SECONDS = 10.0
"""How long a command may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """The job of a run: the content of control/slurm.json, which the job also writes itself."""

    job: str
    """Its number."""
    array: str = ""
    """Number of the array that it is a task of."""
    step: str = "0"
    """The step of its ranks."""
    next: str = ""
    """The job that waits for its end, in a chain."""

    @property
    def key(self) -> str:
        """What Slurm's commands are told: the array, or the job."""
        return self.array or self.job


class Unreachable(Exception):
    """A command of Slurm's is not there, or has not answered in time."""


def submitted(folder: Path) -> Submitted | None:
    """The newest job of the run in ``folder``; None if it never went to Slurm."""
    try:
        found = json.loads((folder / "control" / "slurm.json").read_text(encoding="utf-8"))
        known = {name: str(found[name]) for name in ("job", "array", "step") if name in found}
        return Submitted(**known, next=_next(folder, known["job"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _next(folder: Path, job: str) -> str:
    """The last that control/chain names, if it is not ``job`` itself."""
    try:
        jobs = (folder / "control" / "chain").read_text(encoding="utf-8").split()
    except OSError:
        return ""
    return jobs[-1] if jobs and jobs[-1] != job else ""


def submit(
    folder: Path, script: str, options: Sequence[str] = (), *, record: bool = True
) -> Submitted:
    """Put the run in ``folder``, which is complete, into the queue.

    Args:
        folder: the run's.
        script: in the folder.
        options: of ``sbatch``, beside those in the script.
        record: it is the run's own job, whose number the run keeps.

    Raises:
        LaunchError: with what Slurm said, if it refuses.
    """
    try:
        done = ask_slurm("sbatch", "--parsable", *options, script, cwd=folder, seconds=60)
    except Unreachable as error:
        raise LaunchError(f"the job cannot be submitted: {error}") from error
    if done.returncode != 0:
        says = f"Slurm refuses the job: {said(done)}"
        hint = f"the run's folder is {folder}; `sbatch job.sbatch` there tries again"
        raise LaunchError(Problem(code="refused", says=says, hint=hint))
    job = Submitted(job=done.stdout.strip().split(";")[0])
    if not record:
        return job
    draft = folder / "control" / ".submitted.json"
    draft.write_text(json.dumps({"job": job.job, "array": ""}) + "\n")
    # The job may have begun, and knows its number better.
    if not (folder / "control" / "slurm.json").exists() or _older(folder, job):
        draft.rename(folder / "control" / "slurm.json")
    draft.unlink(missing_ok=True)
    return job


def _older(folder: Path, job: Submitted) -> bool:
    known = submitted(folder)
    return known is None or job.job not in (known.job, known.array)


def in_queue(jobs: Iterable[Submitted]) -> dict[str, str]:
    """State (``PENDING``, ``RUNNING``, …) of those that are in the queue, by their key.

    Of an array the task that runs counts.

    Raises:
        Unreachable: if Slurm does not answer.
    """
    keys = sorted({key for job in jobs for key in (job.key, job.next) if key})
    if not keys:
        return {}
    done = ask_slurm("squeue", "--noheader", "--format=%F|%T", f"--jobs={','.join(keys)}")
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise Unreachable(said(done))
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        key, _, state = line.strip().partition("|")
        if found.get(key) != "RUNNING":
            found[key] = state
    return found


def end_of(job: Submitted) -> str | None:
    """What Slurm says of a job that has ended: ``TIMEOUT``, ``NODE_FAIL``, …; None: nothing.

    From accounting where there is one, else from the controller, which forgets after minutes.
    """
    for words, read in (
        (("sacct", "-X", "-n", "-P", "-D", "-j", job.job, "-o", "State"), _of_sacct),
        (("scontrol", "show", "job", job.job), _of_scontrol),
    ):
        try:
            done = ask_slurm(*words)
        except Unreachable:
            continue
        state = read(done.stdout) if done.returncode == 0 else None
        if state:
            return state
    return None


def _of_sacct(text: str) -> str | None:
    """The last of its lines, one for each time the job was requeued; ``CANCELLED by 0``."""
    lines = text.split("\n")
    states = [line.split()[0] for line in lines if line.strip()]
    return states[-1] if states else None


def _of_scontrol(text: str) -> str | None:
    found = [word for word in text.split() if word.startswith("JobState=")]
    return found[0].partition("=")[2] if found else None


def cancel(job: Submitted, *, pending_only: bool = False) -> None:
    """Take the job from the queue, or end it.

    Raises:
        Unreachable: if Slurm does not answer.
    """
    only = ("--state=PENDING",) if pending_only else ()
    ask_slurm("scancel", *only, *([job.next] if job.next else []), job.key)


def tell_ranks(job: Submitted) -> None:
    """Ask the ranks for a checkpoint and a stop: task.sh hands the signal on to them.

    Raises:
        Unreachable: if Slurm does not answer.
    """
    # The step, not the job: signals to a task of an array take Slurm a minute.
    ask_slurm("scancel", "--signal=USR1", f"{job.job}.{job.step}")


def ask_slurm(
    *words: str, cwd: Path | None = None, seconds: float = SECONDS, text: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run one of Slurm's commands.

    Raises:
        Unreachable: if it is not there or does not answer in time.
    """
    if shutil.which(words[0]) is None:
        raise Unreachable(f"there is no {words[0]} on this machine")
    try:
        return subprocess.run(
            words,
            cwd=cwd,
            input=text or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{words[0]} has not answered in {seconds:.0f} s") from error
    except OSError as error:
        raise Unreachable(f"{words[0]}: {error}") from error


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command complained of, in one line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or f"{_name(done.args)} ended with status {done.returncode}"


def _name(words: Sequence[str]) -> str:
    return words[0] if words else "the command"

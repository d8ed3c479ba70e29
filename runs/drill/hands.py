"""What a drill does to a run: on this machine, or to a job of Slurm's."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil
from rich.console import Console

from llmtrain.config.errors import RunError
from llmtrain.runs import operate, process, slurm, submitted
from llmtrain.runs.logs import node_of
from llmtrain.runs.presence import presence

KILL = r"""
for each in /proc/[0-9]*; do
    { tr '\0' '\n' <"$each/environ"; } 2>/dev/null >/tmp/drill.$$ || continue
    grep -qxF "LLMTRAIN_RUN=$1" /tmp/drill.$$ || continue
    [[ ! $2 ]] || grep -qxF "RANK=$2" /tmp/drill.$$ || continue
    kill -KILL "${each#/proc/}"
done
rm -f /tmp/drill.$$
"""
"""On a node: ends the processes of a run, or of one of its ranks."""


class Hands(Protocol):
    """One way to start, disturb and end a run."""

    def start(self) -> None:
        """Start the run, or go on with it."""
        ...

    def goes_on(self) -> bool:
        """Whether a life is under way, or comes by itself."""
        ...

    def warn(self) -> None:
        """What comes before the end of the wall clock."""
        ...

    def kill_rank(self, rank: int) -> None:
        """SIGKILL to one rank."""
        ...

    def kill_node(self, node: str) -> None:
        """SIGKILL to everything of the run on one node."""
        ...

    def interrupt(self) -> None:
        """End the life without a warning, as a requeue does."""
        ...

    def end(self) -> None:
        """End the run for good, after a checkpoint."""
        ...


class Local:
    """A run on this machine: after each fault somebody resumes it."""

    def __init__(self, folder: Path, console: Console) -> None:
        """Over the prepared run in ``folder``."""
        self._folder, self._console = folder, console
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """``llmtrain resume``, in the background."""
        self._started.append(process.start(self._folder, "job.sh"))

    def goes_on(self) -> bool:
        """Whether its process lives."""
        return bool(self._started) and self._started[-1].poll() is None

    def warn(self) -> None:
        """SIGTERM to the launcher of the ranks."""
        self._started[-1].send_signal(signal.SIGTERM)

    def kill_rank(self, rank: int) -> None:
        """SIGKILL to it."""
        for child in self._children():
            with suppress(psutil.Error):
                if child.environ().get("RANK") == str(rank):
                    child.kill()

    def kill_node(self, node: str) -> None:
        """Everything is on this machine."""
        self.interrupt()

    def interrupt(self) -> None:
        """SIGKILL to launcher and ranks."""
        process.kill(self._folder)
        self._started[-1].wait()

    def end(self) -> None:
        """``llmtrain cancel``."""
        operate.cancel(self._folder, self._console)
        self._started[-1].wait()

    def _children(self) -> Iterator[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            yield from psutil.Process(self._started[-1].pid).children(recursive=True)


class OnSlurm:
    """A run that Slurm has: it goes on by itself, as the site says."""

    def __init__(self, folder: Path, console: Console) -> None:
        """Over the prepared run in ``folder``."""
        self._folder, self._console = folder, console

    def start(self) -> None:
        """Submit it."""
        submitted.submit(self._folder, self._console)

    def goes_on(self) -> bool:
        """Whether it is in the queue, or Slurm does not say."""
        return presence(self._folder) != "gone"

    def warn(self) -> None:
        """The signal of ``--signal=B:USR1``."""
        self._ask("scancel", "--batch", "--signal=USR1", self._job())

    def kill_rank(self, rank: int) -> None:
        """By a step beside the ranks, on the node of the rank."""
        self._kill(node_of(self._folder, rank), str(rank))

    def kill_node(self, node: str) -> None:
        """By a step beside the ranks."""
        self._kill(node, "")

    def interrupt(self) -> None:
        """Requeue it where the site does, else cancel it; it is then submitted again."""
        done = slurm.ask_slurm("scontrol", "requeue", self._job())
        if done.returncode != 0:
            self._ask("scancel", self._job())

    def end(self) -> None:
        """``llmtrain cancel``."""
        submitted.cancel_job(self._folder, self._console)

    def _kill(self, node: str, rank: str) -> None:
        where = (f"--jobid={self._job()}", f"--nodelist={node}", "--nodes=1", "--ntasks=1")
        words = ("srun", *where, "--overlap", "--cpu-bind=none", "bash", "-c", KILL, "drill")
        folder = os.path.realpath(self._folder)
        done = slurm.ask_slurm(*words, folder, rank, seconds=120)
        if done.returncode != 0 and rank:
            raise RunError(f"rank {rank} on {node} cannot be killed: {slurm.said(done)}")

    def _job(self) -> str:
        job = slurm.submitted(self._folder)
        if job is None:
            raise RunError(f"{self._folder.name} has no job")
        return job.job

    def _ask(self, *words: str) -> None:
        done = slurm.ask_slurm(*words)
        if done.returncode != 0:
            raise RunError(slurm.said(done))

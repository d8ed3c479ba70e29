"""Whether a run's job is there: a process of this machine, or a job of Slurm's."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from llmtrain.runs.events import json_lines
from llmtrain.runs.process import is_alive
from llmtrain.runs.slurm import Submitted, Unreachable, in_queue, submitted

Presence = Literal["gone", "queued", "here", "unknown"]
"""queued: it waits for nodes; unknown: Slurm does not answer."""

POLL_SECONDS = 5.0
"""Between two questions to Slurm: its controller serves a whole cluster."""
TAIL_BYTES = 4096


def presences(
    folders: Sequence[Path], known: Mapping[Path, Submitted] | None = None
) -> dict[Path, Presence]:
    """Of every run, with one question to Slurm for all; ``known``: more, whose jobs are known."""
    jobs = {folder: job for folder in folders if (job := submitted(folder)) is not None}
    found: dict[Path, Presence] = {
        folder: "here" if is_alive(folder) else "gone" for folder in folders
    }
    found |= dict.fromkeys(known or {}, "gone")
    jobs |= known or {}
    try:
        states = in_queue(jobs.values())
    except Unreachable:
        return found | dict.fromkeys(jobs, "unknown")
    for folder, job in jobs.items():
        state = states.get(job.key) or states.get(job.next)
        if state:
            found[folder] = "queued" if state == "PENDING" else "here"
    return found


def presence(folder: Path) -> Presence:
    """Of one run."""
    return presences([folder])[folder]


class Watch:
    """Follows one job: by the last word that it writes itself, and now and then by Slurm's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = 0.0
        self.presence: Presence = "queued"

    def alive(self) -> bool:
        """Whether there is more to come."""
        if self._over():
            self.presence = "gone"
        elif time.monotonic() >= self._due:
            self.presence = presence(self._folder)
            self._due = time.monotonic() + (POLL_SECONDS if submitted(self._folder) else 0)
        return self.presence != "gone"

    def _over(self) -> bool:
        """The job's last word was that it has ended for good."""
        events = list(json_lines(self._folder / "events.jsonl", TAIL_BYTES))
        last = events[-1] if events else {}
        return last.get("event") == "job_ended" and not last.get("next")

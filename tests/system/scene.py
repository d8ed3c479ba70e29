"""A run of gpt-tiny over two nodes of the test-bed, and what can be done to it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from tests.system.conftest import Bed

RECIPE = (
    *("recipe=bed-tiny", "schedule.kind=constant", "checkpoint.interval=4", "checkpoint.keep=3"),
    # Whoever looks at its own clock need not wait for minutes here.
    *("hang.least_seconds=10", "hang.start_seconds=90"),
)
"""The learning rate does not depend on the number of steps, so nor does a step's loss."""
STEPS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One run."""

    bed: Bed
    """Where it runs."""
    folder: Path
    """Its own."""

    @classmethod
    def begin(cls, bed: Bed, name: str, *words: str) -> Scene:
        """Submit it."""
        whole = (*RECIPE, f"run.steps={STEPS}", *words)
        return cls(bed=bed, folder=bed.launch(name, *whole, LLMTRAIN_SETTLE_SECONDS="1"))

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of events.jsonl or metrics.jsonl, whole lines only."""
        try:
            text = (self.folder / f"{name}.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind."""
        return [event for event in self.lines("events") if event["event"] == kind]

    def step(self) -> int:
        """The last one that was written down."""
        rows = self.lines("metrics")
        return int(rows[-1]["step"]) if rows else 0

    def job(self) -> str:
        """Number of the newest job."""
        return str(json.loads((self.folder / "control" / "slurm.json").read_text())["job"])

    def until(self, happens: Callable[[], bool], what: str, seconds: float = 240) -> None:
        """Wait for something, looking often: a step takes a fifth of a second."""
        end = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < end, f"{what} has not happened in {seconds} s\n{self.said()}"
            time.sleep(0.05)

    def resumed(self, times: int = 1) -> None:
        """Wait until the ranks have loaded a checkpoint, so many times in all, and trained on."""
        self.until(lambda: len(self.events("resumed")) >= times, "a restart")
        rows = len(self.lines("metrics"))
        self.until(lambda: len(self.lines("metrics")) > rows or self.step() == STEPS, "a step")

    def until_step(self, step: int) -> None:
        """Wait until the run has trained so far."""
        self.until(lambda: self.step() >= step, f"step {step}")

    def processes(self, word: str) -> Iterator[psutil.Process]:
        """Processes of this run whose command line has ``word``."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = process.environ().get("LLMTRAIN_RUN") == str(self.folder)
                if mine and word in " ".join(process.cmdline()):
                    yield process

    def rank(self, number: int) -> psutil.Process:
        """The process of one rank, of the newest life."""
        found = [
            (process.create_time(), process)
            for process in self.processes("llmtrain.trainer")
            if process.environ().get("RANK") == str(number)
        ]
        return max(found, key=lambda pair: pair[0])[1]

    def node(self, rank: int) -> str:
        """The node where a rank of the newest life is, by its log."""
        logs = self.folder.glob(f"logs/*/rank-{rank}.log")
        return max(logs, key=lambda path: path.stat().st_mtime).parent.name

    def node_script(self, what: str, node: str) -> None:
        """tests/slurm/node.sh: switch a node off, kill its daemon, pull its cable, …"""
        self.bed.run(self.bed.scripts / "node.sh", what, node.removeprefix("node"))

    def batch_script(self) -> psutil.Process:
        """The process that runs job.sbatch, of the newest job."""
        spool, job = (
            f"{self.bed.environment['BED']}/spool",
            f"job{int(self.job()):05d}/slurm_script",
        )
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if spool in line and job in line:
                    found.append(process)
        return min(found, key=lambda process: process.pid)

    def why(self, life: int) -> dict[str, Any]:
        """What ``llmtrain why`` says of one life."""
        words = ("why", self.folder.name, "--life", str(life), "--json")
        found: dict[str, Any] = json.loads(self.bed.llmtrain(*words))
        return found

    def losses(self) -> dict[int, list[float]]:
        """Each step's, as often as it was trained."""
        found: dict[int, list[float]] = {}
        for row in self.lines("metrics"):
            found.setdefault(int(row["step"]), []).append(row["loss"])
        return found

    def lost_steps(self) -> int:
        """Steps before the newest checkpoint, if it is whole, that some life trained again."""
        saved, lost = [0], 0
        for event in self.lines("events"):
            if event["event"] == "checkpoint":
                saved.append(event["step"])
            elif event["event"] == "checkpoint_damaged" and len(saved) > 1:
                saved.pop()
            elif event["event"] in ("started", "resumed"):
                lost += max(0, saved[-1] - event["step"])
        return lost

    def turns(self) -> int:
        """How often a step follows that is not the next: each life may begin with one."""
        steps = [int(row["step"]) for row in self.lines("metrics")]
        return sum(after != before + 1 for before, after in pairwise(steps))

    def orphans(self, seconds: float = 40) -> list[str]:
        """Processes of the run that are still there, some time after its end."""
        end = time.monotonic() + seconds
        while left := [" ".join(each.cmdline()[:4]) for each in self.processes("")]:
            if time.monotonic() > end:
                return left
            time.sleep(0.3)
        return []

    def said(self) -> str:
        """What the launcher and the ranks wrote at the end, for who reads a failed test."""
        paths = [self.folder / "events.jsonl", *sorted(self.folder.glob("logs/**/*.log"))]
        texts = [f"== {path.name}\n{path.read_text()[-3000:]}" for path in paths if path.exists()]
        return "\n".join(texts)


def clean(text: str) -> str:
    """A name for a run."""
    return re.sub(r"\W+", "-", text)

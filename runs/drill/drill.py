"""A drill from end to end: prepare, submit, disturb, compare."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from llmtrain.launchers.launch import Launch
from llmtrain.launchers.schedulers.slurm_time import lead_seconds
from llmtrain.planner.plan import Plan
from llmtrain.runs.drill.hands import Hands, Local, OnSlurm
from llmtrain.runs.drill.rehearsal import Comparison, Rehearsal, Rehearsed
from llmtrain.runs.folder import make_folder, runs_root


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """What was rehearsed and how it went."""

    folder: Path
    """Of the disturbed run."""
    rehearsed: tuple[Rehearsed, ...]
    """Each fault."""
    comparison: Comparison | None
    """With the undisturbed run; None: a fault was not survived."""
    asked_seconds: int | None
    """How early the script of the real run has its ranks warned; None: it has no time limit."""

    @property
    def passed(self) -> bool:
        """Whether the run survived everything, with the losses that it would have had."""
        found = self.comparison
        close = found is not None and found.difference <= found.allowed
        return close and all(each.passed for each in self.rehearsed)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        found = self.comparison
        return {
            "run": str(self.folder),
            "passed": self.passed,
            "rehearsed": [each.as_json() for each in self.rehearsed],
            "compared_steps": found.steps if found else None,
            "largest_difference": found.difference if found else None,
            "exact": found.exact if found else None,
            "noise": found.noise if found else None,
            "allowed_difference": found.allowed if found else None,
            "asked_lead_seconds": self.asked_seconds,
        }


def drill(real: Plan, plan: Plan, launch: Launch, console: Console) -> Drill:
    """Rehearse ``real`` by its small ``plan``; both runs stay where runs are kept.

    Raises:
        LaunchError: if the run cannot be started.
        RunError: if it ends, or does not get on, where nothing was done to it.
    """
    site = plan.recipe.site
    on_slurm = site.scheduler == "slurm"

    def folder() -> Path:
        return make_folder(launch, runs_root(site), datetime.now(), site)

    def hands(path: Path) -> Hands:
        return OnSlurm(path, console) if on_slurm else Local(path, console)

    say: Callable[[str], None] = console.print
    disturbed, undisturbed = folder(), folder()
    rehearsal = Rehearsal(disturbed, hands(disturbed), say)
    found = tuple(rehearsal.faults(plan.recipe.gpus, plan.nodes))
    whole = all(each.passed for each in found)
    compared = rehearsal.compare(undisturbed, hands(undisturbed)) if whole else None
    return Drill(
        folder=disturbed,
        rehearsed=found,
        comparison=compared,
        asked_seconds=lead_seconds(real) if on_slurm else None,
    )

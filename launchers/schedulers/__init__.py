"""Schedulers: where the ranks are started. One module each, imported when used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol, cast

from llmtrain.launchers.launch import Job, Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.planner.plan import Plan

MODULES: Mapping[str, str] = {
    "local": "llmtrain.launchers.schedulers.local",
    "slurm": "llmtrain.launchers.schedulers.slurm",
    "hostfile": "llmtrain.launchers.schedulers.hostfile",
}
"""Scheduler name to module."""


class Scheduler(Protocol):
    """What a scheduler's module offers."""

    job: Callable[[Plan, Program, tuple[Variable, ...], Provenance], Job]
    """The script that starts the program, without side effects."""


def scheduler(name: str) -> Scheduler:
    """The module of the scheduler ``name``."""
    return cast(Scheduler, import_module(MODULES[name]))

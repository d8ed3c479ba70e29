"""Peak memory of a row, as the planner's memory model says it."""

from dataclasses import dataclass

from benchmarks.express import Expressed
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.programs import program
from llmtrain.planner.verdict import verdict, worst


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """What the worst rank needs. None: not known."""

    bytes: int | None = None
    """At the peak."""
    fits: bool | None = None
    """Whether it fits; tight counts as true."""
    verdict: str | None = None
    """fits, tight or no."""


def peak_of(expressed: Expressed) -> Peak:
    """The peak of a row under the program that ran it."""
    recipe = expressed.recipe
    peaks = peak_memory(recipe, program(expressed.program))
    said = verdict(recipe, peaks)
    return Peak(
        bytes=worst(peaks).memory.total,
        fits=None if said is None else said != "no",
        verdict=said,
    )

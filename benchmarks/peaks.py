"""Peak memory of a recipe, as the planner's memory model says it."""

from dataclasses import dataclass

from llmtrain.config.recipe import Recipe
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.programs import program
from llmtrain.planner.verdict import verdict, worst

PROGRAMS = {
    "megatron-deepspeed-2021": "megatron-deepspeed",
    "zero3-deepspeed-2021": "megatron-deepspeed",
    "nanotron-2024": "nanotron",
    "fsdp-compiled": "fsdp",
    "fsdp-llm-foundry": "fsdp",
    "metaseq-2022": "fsdp",
}
"""Whose memory habits a stack has; the others are Megatron's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """What the worst rank needs. None: not known."""

    bytes: int | None = None
    """At the peak."""
    fits: bool | None = None
    """Whether it fits; tight counts as true."""
    verdict: str | None = None
    """fits, tight or no."""


def peak_of(recipe: Recipe, stack: str) -> Peak:
    """The peak of ``recipe`` under a software stack."""
    peaks = peak_memory(recipe, program(PROGRAMS.get(stack, "megatron")))
    said = verdict(recipe, peaks)
    return Peak(
        bytes=worst(peaks).memory.total,
        fits=None if said is None else said != "no",
        verdict=said,
    )

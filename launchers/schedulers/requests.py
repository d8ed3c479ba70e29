"""What a job does for a program that does not do it itself: looks into ``control/`` for requests,
and for the newest checkpoint among two kinds."""

from collections.abc import Iterator

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Program
from llmtrain.launchers.shell import assign, package_text


def first_step(recipe: Recipe, log: str) -> Iterator[str]:
    """Settings of ``shell/requests.sh``: in which log, a pattern, which line tells of a step.

    The line is that of ``training_log`` in ``megatron/training/training.py`` of Megatron-LM and
    ``megatron/training.py`` of Megatron-DeepSpeed; of another script every line is taken for one.
    """
    yield assign("step_log", log)
    yield assign("step_line", "iteration .*/" if recipe.backend.name != "deepspeed" else "")


def own_first(program: Program) -> Iterator[str]:
    """Below ``start=(…)``: a universal checkpoint is for a run that has none of its own yet."""
    if "--universal-checkpoint" in program.command:
        yield package_text("universal.sh").rstrip("\n")

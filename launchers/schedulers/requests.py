"""Requests in a run's ``control/``, where the program does not look for them itself."""

from collections.abc import Iterator

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.shell import assign


def first_step(recipe: Recipe, log: str) -> Iterator[str]:
    """Settings of ``shell/requests.sh``: in which log, a pattern, which line tells of a step.

    The line is that of ``training_log`` in ``megatron/training/training.py`` of Megatron-LM and
    ``megatron/training.py`` of Megatron-DeepSpeed; of another script every line is taken for one.
    """
    yield assign("step_log", log)
    yield assign("step_line", "iteration .*/" if recipe.backend.name != "deepspeed" else "")

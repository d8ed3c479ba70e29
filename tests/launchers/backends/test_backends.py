"""The registry, and the backends that render little."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, get_args, get_type_hints

import pytest

from llmtrain.config.errors import PlanError
from llmtrain.config.place import Backend
from llmtrain.launchers.backends import BACKENDS, program
from llmtrain.launchers.launch import Program
from llmtrain.planner.expressible import LIMITS

if TYPE_CHECKING:
    from tests.launchers.backends.conftest import Rendering


def test_every_backend_has_limits_and_a_module() -> None:
    """Every name that a recipe may give is in both tables."""
    names = set(get_args(get_type_hints(Backend)["name"]))

    assert LIMITS.keys() == names
    assert BACKENDS.keys() == names


def test_the_reference_trainer_reads_the_run_folder(rendering: Rendering) -> None:
    """Its only argument is the working directory."""
    assert program(rendering.plan("recipe=gpt-tiny")) == Program(
        module="llmtrain.trainer", arguments=(".",)
    )


def test_a_plan_with_errors_is_not_rendered(rendering: Rendering) -> None:
    """What a backend cannot express never becomes arguments that say something else."""
    with pytest.raises(PlanError, match="ALiBi"):
        program(rendering.plan("recipe=bloom-176b"))


def test_an_accepted_approximation_is_a_warning(rendering: Rendering) -> None:
    """GeGLU becomes quick GeGLU, and the launch says so."""
    plan = rendering.plan("recipe=llama2-7b", "model.activation=geglu", "backend.approximate=true")
    rendered = program(plan)

    assert "--quick-geglu" in rendered.arguments
    assert any("quick GeGLU" in warning for warning in rendered.warnings)


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        ("megatron-lm", ()),
        ("megatron-deepspeed", ()),
        ("deepspeed", ("backend.path=/opt/train.py",)),
    ],
)
def test_what_only_the_reference_trainer_has_is_left_out_and_said(
    rendering: Rendering, backend: str, more: tuple[str, ...]
) -> None:
    """One sentence for each key; without such keys there is none."""
    plain = ("recipe=gpt3-126m", f"backend={backend}", *more, "optim.overlap_param_gather=false")
    asked = {
        "guard": "guard.spike=skip",
        "hang": "hang.factor=5",
        "straggler": "straggler.window=10",
        "checkpoint.keep": "checkpoint.keep=3",
        "log.wandb": "log.wandb=mine",
    }
    before = program(rendering.plan(*plain)).warnings
    said = program(rendering.plan(*plain, *asked.values())).warnings

    assert not any("left out" in each for each in before)
    assert said == (
        *before,
        *(f"`{key}` is left out: only the reference trainer has it" for key in asked),
    )


@pytest.mark.parametrize("backend", ["megatron-lm", "megatron-deepspeed"])
def test_tensorboard_is_where_and_as_often_as_asked(rendering: Rendering, backend: str) -> None:
    """In the run's logs at every step, every few steps, or not at all."""

    def flags(*changes: str) -> list[str]:
        words = program(
            rendering.plan("recipe=gpt3-126m", f"backend={backend}", *changes)
        ).arguments
        pairs = pairwise(words)
        return [" ".join(pair) for pair in pairs if pair[0].startswith("--tensorboard-")]

    assert flags() == ["--tensorboard-dir logs/tensorboard"]
    assert flags("log.interval=5")[1:] == ["--tensorboard-log-interval 5"]
    assert flags("log.tensorboard=false") == []


def test_what_is_missing_is_named(rendering: Rendering) -> None:
    """Without a checkout the program is still shown, by its plain name."""
    rendered = program(rendering.plan("recipe=llama2-7b", "backend.path=null"))

    assert rendered.script == "pretrain_gpt.py"
    assert rendered.missing == ("backend.path",)

"""The registry, and the backends that render little."""

from __future__ import annotations

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


def test_what_is_missing_is_named(rendering: Rendering) -> None:
    """Without a checkout the program is still shown, by its plain name."""
    rendered = program(rendering.plan("recipe=llama2-7b", "backend.path=null"))

    assert rendered.script == "pretrain_gpt.py"
    assert rendered.missing == ("backend.path",)

"""A recipe that was made for one engine is offered what it takes to run on another."""

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import Problem, RecipeError
from llmtrain.planner.mending import LAUNCH, is_launchable
from llmtrain.planner.plan import make_plan

RECIPES = ("gpt-tiny", "llama2-7b", "llama3-8b", "llama3-70b", "gpt3-175b", "gpt3-530b")


def problems(asked: list[str]) -> tuple[Problem, ...]:
    """What is wrong, whoever finds it."""
    try:
        return make_plan(compose(asked, judge=LAUNCH)).errors
    except RecipeError as error:
        return error.problems


@pytest.mark.parametrize("backend", ["deepspeed", "megatron-core+deepspeed"])
@pytest.mark.parametrize("name", RECIPES)
def test_another_engine_is_one_paste_away(name: str, backend: str) -> None:
    """Whatever stands in the way, one of the repairs mends all of it, memory too."""
    asked = [f"recipe={name}", f"backend={backend}"]
    found = problems(asked)
    offered = [repair.overrides for problem in found for repair in problem.repairs]

    assert bool(offered) == bool(found)
    assert all(is_launchable(compose([*asked, *overrides])) for overrides in offered)


def test_rules_limits_and_memory_are_mended_together() -> None:
    """What breaks a rule hides what the engine cannot and what does not fit: all in one answer."""
    asked = ["recipe=llama3-70b", "backend=deepspeed", "gpus=256", "optim.zero=3"]
    asked += ["parallel.tp=1", "parallel.pp=1"]
    found = problems(asked)
    (repair,) = found[0].repairs

    assert [problem.code for problem in found] == ["vpp_needs_pp", "sequence_needs_tp"]
    assert {key.partition("=")[0] for key in repair.overrides} == {
        *("parallel.sequence", "parallel.vpp", "parallel.cp"),
        *("kernels.tp_overlap", "recompute.kind"),
    }
    assert is_launchable(compose([*asked, *repair.overrides]))

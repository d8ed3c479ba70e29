"""``plan --explain``: formula, source and numbers of a field."""

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import UsageError
from llmtrain.planner.explain import FIELDS, explanation
from llmtrain.planner.plan import Plan, make_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The plan of a published run."""
    return make_plan(compose(["recipe=gpt3-530b"]))


@pytest.mark.parametrize("field", FIELDS)
def test_every_explained_field_is_in_the_plan_with_source_and_numbers(
    plan: Plan, field: str
) -> None:
    """No field is explained that the plan does not have, and none without what went in."""
    explained = explanation(plan, field)

    assert explained.value is not None
    assert explained.formula and explained.source and explained.numbers


def test_the_numbers_give_the_value(plan: Plan) -> None:
    """What is shown is enough to compute the field by hand."""
    dp = explanation(plan, "parallel.dp")
    rate = explanation(plan, "tokens_per_second_per_gpu")
    memory = explanation(plan, "peak_memory_bytes")
    parts = ("weights", "gradients", "optimizer", "activations", "workspace")

    numbers = dp.numbers
    assert dp.value == numbers["gpus"] // (numbers["tp"] * numbers["pp"] * numbers["cp"])
    per_gpu = rate.numbers["step_seconds"] * rate.numbers["gpus"]
    assert rate.value == pytest.approx(rate.numbers["tokens of a step"] / per_gpu)
    assert memory.value == sum(memory.numbers[part] for part in parts)


def test_a_part_of_a_field_is_explained_by_the_whole(plan: Plan) -> None:
    """``breakdown.gemm`` is a field too."""
    explained = explanation(plan, "breakdown.gemm")

    assert explained.value == pytest.approx(plan.speed.breakdown["gemm"] if plan.speed else None)


@pytest.mark.parametrize("field", ["mfuu", "breakdown.nothing", ""])
def test_an_unknown_field_is_refused(plan: Plan, field: str) -> None:
    """The answer names what can be asked for."""
    with pytest.raises(UsageError):
        explanation(plan, field)

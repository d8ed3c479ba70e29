"""``plan --explain``: formula, source and numbers of a field."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import UsageError
from llmtrain.planner.explain.explanation import explanation
from llmtrain.planner.explain.fields import FIELDS
from llmtrain.planner.plan import Plan, make_plan, plan_json


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The plan of a published run."""
    return make_plan(compose(["recipe=gpt3-530b"]))


def leaves(value: Any, way: str = "") -> Iterator[str]:
    """Dotted keys of everything that ``plan --json`` says."""
    pairs: Iterable[tuple[object, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value[:1])
    else:
        yield way
    for key, part in pairs:
        yield from leaves(part, f"{way}.{key}" if way else str(key))


@pytest.mark.parametrize("name", ["gpt3-530b", "deepseek-v3", "gpt-tiny"])
def test_everything_that_is_shown_is_explained(name: str) -> None:
    """Every leaf of ``plan --json`` has a formula and a source, and, where it is known, numbers."""
    made = make_plan(compose([f"recipe={name}"]))
    said = plan_json(made)

    for field in [*said, *leaves(said)]:
        explained = explanation(made, field)
        assert explained.formula and explained.source
        assert explained.numbers or made.speed is None


def test_every_name_of_the_table_can_be_asked_for(plan: Plan) -> None:
    """So can every name that a hint offers; what lies on each stage is that of the worst one."""
    # Nothing has corrected this plan, without offload the host holds nothing, and it has no price.
    none = ("calibration", "host_memory_bytes", "goodput.price")
    for field in FIELDS:
        assert explanation(plan, field).value is not None or field in none

    most = max(stage.memory.total for stage in plan.stages)
    told = explanation(plan, "stages.memory.total")
    assert (told.value, told.field) == (most, f"stages.{told.numbers['stage']}.memory.total")
    assert told.numbers["stages.memory.total"] == "the worst stage's"
    numbered = explanation(plan, "stages.34.parameters")
    assert (
        numbered.value == plan.stages[34].parameters != explanation(plan, "stages.parameters").value
    )


def test_a_part_of_what_is_not_known_is_not_known() -> None:
    """A run without a length has no price, and that is no mistake of the name's."""
    made = make_plan(compose(["recipe=gpt3-530b", "tokens=null", "run.steps=null"]))

    assert made.outlook is None
    assert explanation(made, "goodput.price").value is None


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


@pytest.mark.parametrize("field", ["mfuu", "breakdown.nothing", "stages.99.layers", "mfu.more", ""])
def test_an_unknown_field_is_refused(plan: Plan, field: str) -> None:
    """The answer names what can be asked for."""
    with pytest.raises(UsageError):
        explanation(plan, field)

"""Warnings of a plan: each stands where it should, and what it offers helps."""

import pytest

from llmtrain.config.compose import compose
from llmtrain.planner.plan import Plan, make_plan


def plan_of(*arguments: str) -> Plan:
    """The plan of a shipped recipe with changes."""
    return make_plan(compose(list(arguments)))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("recipe=gpt3-5b",), "tight_memory"),
        (("recipe=gpt3-175b", "parallel.vpp=1", "batch.global=256"), "bubble"),
        (("recipe=deepseek-v3",), "exposed_exchange"),
        (("recipe=gpt3-175b", "parallel.tp=16", "parallel.pp=4"), "tp_leaves_node"),
    ],
)
def test_a_warning_and_what_it_offers(arguments: tuple[str, ...], code: str) -> None:
    """With the first offer the warning is gone, or the step is faster, and nothing is broken."""
    plan = plan_of(*arguments)
    (warning,) = [each for each in plan.warnings if each.code == code]

    for repair in warning.repairs[:1]:
        keys = {text.partition("=")[0] for text in repair.overrides}
        kept = [text for text in arguments if text.partition("=")[0] not in keys]
        mended = plan_of(*kept, *repair.overrides)
        faster = plan.speed and mended.speed and mended.speed.step_seconds < plan.speed.step_seconds
        assert not mended.errors
        assert faster or code not in {each.code for each in mended.warnings}


def test_nothing_is_said_of_a_sound_plan() -> None:
    """Korthikanti's run has room and little bubble."""
    assert plan_of("recipe=gpt3-530b").warnings == ()

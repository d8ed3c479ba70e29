"""Whatever is offered is valid: typed after the recipe, it composes."""

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrain.config.change import as_overrides, changed
from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import OFFERED, Judge, with_repairs
from llmtrain.config.rules import violations

if TYPE_CHECKING:
    from tests.config.conftest import Small

NAMES = (
    *("gpt-tiny", "gpt3-530b", "gpt3-175b", "bloom-176b", "mt-nlg-530b"),
    *("llama3-405b", "mixtral-8x7b", "deepseek-v3"),
)
"""Recipes of every kind of layout."""

degree = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 35])
gpus = st.sampled_from([1, 2, 7, 8, 12, 64, 100, 384, 1000, 2000, 2048, 2240])
size = st.sampled_from([1, 7, 64, 100, 1000, 1921, 2000, 2048, 2240])
values: dict[str, st.SearchStrategy[Any]] = {
    "gpus": gpus,
    "parallel.tp": degree,
    "parallel.pp": degree,
    "parallel.vpp": st.integers(1, 4),
    "parallel.cp": st.sampled_from([1, 2, 3]),
    "parallel.ep": degree,
    "parallel.etp": st.none() | degree,
    "parallel.sequence": st.booleans(),
    "parallel.account_for_embedding": st.booleans(),
    "parallel.account_for_loss": st.booleans(),
    "batch.micro": st.integers(1, 4),
    "batch.global": size,
    "optim.zero": st.integers(0, 3),
    "precision.kind": st.sampled_from(["fp16", "bf16", "fp8", "fp32"]),
    "kernels.tp_overlap": st.booleans(),
    "schedule.warmup": st.sampled_from([0, 10**6]),
    "schedule.decay": st.sampled_from([None, 1000]),
    "nodes.spare": st.sampled_from([0, 3]),
    "model.layers": st.sampled_from([12, 61, 96, 105]),
    "model.bias": st.booleans(),
}
names = st.sampled_from(NAMES)
changes = st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=4, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: values[key] for key in keys})
)


@cache
def shipped(name: str) -> Recipe:
    """One of them, composed."""
    return compose([f"recipe={name}"])


@given(name=names, change=changes)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_offers_are_valid_whatever_is_changed(name: str, change: dict[str, Any]) -> None:
    """A change gives a valid recipe or problems, and every offer mends all of them."""
    try:
        broken = changed(shipped(name), change)
    except RecipeError:
        return  # a concern refused its own value: there is no recipe to mend
    for problem in with_repairs(broken, violations(broken)):
        assert len(problem.repairs) <= OFFERED
        assert len({repair.overrides for repair in problem.repairs}) == len(problem.repairs)
        for repair in problem.repairs:
            assert violations(changed(broken, read(repair.overrides))) == ()


def read(overrides: tuple[str, ...]) -> dict[str, Any]:
    """What the overrides of a repair say: whole numbers, flags, null, names."""
    plain = {"true": True, "false": False, "null": None}
    pairs = dict(text.split("=") for text in overrides)
    return {
        key: plain[text] if text in plain else int(text) if text.isdigit() else text
        for key, text in pairs.items()
    }


@given(name=names, change=changes)
@settings(deadline=None, derandomize=True, max_examples=15)
def test_offers_can_be_pasted(name: str, change: dict[str, Any]) -> None:
    """Through the command line, beside what was typed: the answer to a mistake is a valid run."""
    typed = [f"recipe={name}", *as_overrides(change)]
    try:
        compose(typed)
    except RecipeError as error:
        offered = [repair for problem in error.problems for repair in problem.repairs]
    else:
        offered = []
    for repair in offered[:3]:
        keys = {text.partition("=")[0] for text in repair.overrides}
        rest = [text for text in typed if text.partition("=")[0] not in keys]

        assert violations(compose([*rest, *repair.overrides])) == ()


def offers(recipe: Recipe) -> list[list[str]]:
    """The repairs of every problem, as a user reads them."""
    found = with_repairs(recipe, violations(recipe))
    return [[str(repair) for repair in problem.repairs] for problem in found]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"gpus": 2000},
            [
                "`gpus=2240` (dp 8)",
                "`gpus=1120` (dp 4)",
                "`gpus=1960 batch.global=1960` (dp 7, 280 micro-batches)",
            ],
        ),
        (
            {"batch.global": 1921},
            ["`batch.global=1960` (245 micro-batches)", "`batch.global=1680` (210 micro-batches)"],
        ),
        ({"parallel.vpp": 2}, ["`parallel.vpp=1` (280 micro-batches)"]),
        ({"optim.zero": 3}, ["`optim.zero=1`"]),
        ({"precision.kind": "fp8"}, ["`precision.kind=bf16`"]),
        ({"schedule.warmup": 9, "schedule.decay": 8}, ["`schedule.decay=null`"]),
    ],
)
def test_the_offers_of_530b(change: dict[str, Any], expected: list[str]) -> None:
    """The nearest first."""
    (found,) = offers(changed(shipped("gpt3-530b"), change))

    assert expected == found[: len(expected)]


def test_an_offer_says_only_what_changes() -> None:
    """`gpus=2240 batch.global=1960` on 2240 GPUs is `batch.global=1960` once more."""
    (found,) = offers(changed(shipped("gpt3-530b"), {"batch.global": 1921}))

    assert not [repair for repair in found if "gpus=2240" in repair]


def test_two_mistakes_are_mended_together(small: "Small") -> None:
    """No single change does: the offers stand with the first and mend both."""
    recipe = small(optim={"zero": 2}, schedule={"warmup": 3, "decay": 2})
    first, second = offers(recipe)

    assert first == [
        "`schedule.decay=null optim.zero=1`",
        "`schedule.decay=null parallel.pp=1` (dp 8)",
    ]
    assert second == []


def test_a_stricter_judge_decides() -> None:
    """A planner that wants dp 4 or less is not offered the nearest valid recipe."""
    recipe = changed(shipped("gpt3-530b"), {"gpus": 2000})
    judge = Judge(accepts=lambda mended: not violations(mended) and mended.gpus <= 1120)
    judged = with_repairs(recipe, violations(recipe), judge)

    assert next(r.overrides for p in judged for r in p.repairs) == ("gpus=1120",)


def test_a_change_below_a_group_that_another_takes_away() -> None:
    """One problem would drop the batch ramp, another move it: both are tried together."""
    broken = changed(shipped("deepseek-v3"), {"parallel.tp": 12, "backend.name": "megatron-core"})
    judged: list[Recipe] = []

    def refuse(mended: Recipe) -> bool:
        judged.append(mended)
        return False

    with_repairs(broken, violations(broken), Judge(accepts=refuse))

    assert judged

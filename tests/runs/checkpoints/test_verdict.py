"""Which layouts read which format, as the programs were seen to do it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.layout import degrees
from llmtrain.config.recipe import Recipe
from llmtrain.config.training import Optim
from llmtrain.runs.checkpoints.stored import Stored
from llmtrain.runs.checkpoints.verdict import verdict

RECIPE = ("recipe=llama2-7b", "gpus=16", "parallel.tp=2", "parallel.pp=2", "optim.zero=1")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Megatron-LM with the distributed optimizer: tp 2, pp 2, dp 4."""
    return compose(RECIPE)


def stored(recipe: Recipe, **changed: Any) -> Stored:
    """A checkpoint of that recipe, but for what is changed."""
    was = Stored(
        path=Path("iter_0000010"),
        format="torch_dist",
        step=10,
        layout=degrees(recipe) | {"zero": recipe.optim.zero},
        sizes={"layers": recipe.model.layers, "hidden": recipe.model.hidden},
        optimizer="fully_reshardable",
    )
    layout = {**was.layout, **changed.pop("layout", {})}
    return replace(was, layout=layout, **changed)


CASES: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "as_is", "loads as it is"),
    ({"layout": {"tp": 4, "pp": 1}}, "resharded", "tp 4 → 2, pp 1 → 2"),
    ({"layout": {"tp": 4}, "optimizer": "fully_sharded_model_space"}, "resharded", "tp 4 → 2"),
    ({"layout": {"dp": 2}, "optimizer": "dp_reshardable"}, "resharded", "dp 2 → 4"),
    ({"layout": {"tp": 4}, "optimizer": "dp_reshardable"}, "no", "cut by the old layout"),
    ({"layout": {"pp": 4}, "optimizer": "dp_zero_gather_scatter"}, "no", "save once more"),
    ({"layout": {"zero": 0}}, "no", "`optim.zero` = 0, not 1"),
    ({"sizes": {"layers": 4}}, "no", "its `model.layers` is 4, the recipe's 32"),
    ({"sizes": {"vocab": 50304}}, "no", "has 50304 rows, the recipe's 32000"),
    ({"damage": "x is missing"}, "no", "x is missing"),
    ({"format": "deepspeed"}, "no", "megatron-lm does not read the format deepspeed"),
    ({"format": "megatron"}, "as_is", "loads as it is"),
    ({"format": "megatron", "layout": {"dp": 1}}, "resharded", "dp 1 → 4"),
    ({"format": "megatron", "layout": {"pp": 1}}, "convert", "pp 1 → 2; weights alone"),
)


@pytest.mark.parametrize(("changed", "outcome", "says"), CASES)
def test_megatron_lm(recipe: Recipe, changed: dict[str, Any], outcome: str, says: str) -> None:
    """As its load_checkpoint decides; the first five and the last two were tried on the program."""
    found = verdict(stored(recipe, **changed), recipe)

    assert (found.outcome, says in found.says) == (outcome, True), found.says
    assert bool(found.commands) == (outcome == "convert")


DEEPSPEED: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({}, 1, "as_is"),
    ({"layout": {"zero": 2}}, 1, "as_is"),
    ({"layout": {"dp": 8}}, 1, "convert"),
    ({"layout": {"tp": 1}}, 1, "convert"),
    ({"layout": {"dp": 8}}, 0, "resharded"),
    ({"layout": {"tp": 1}}, 0, "no"),
    ({"layout": {"zero": 3}}, 1, "no"),
    ({"layout": {"zero": 0}}, 1, "no"),
    ({"format": "universal", "layout": {"dp": 8, "tp": 1}}, 1, "resharded"),
    ({"format": "universal", "layout": {"zero": 3}}, 1, "no"),
)


@pytest.mark.parametrize(("changed", "zero", "outcome"), DEEPSPEED)
def test_deepspeed(recipe: Recipe, changed: dict[str, Any], zero: int, outcome: str) -> None:
    """As deepspeed 0.19.8 was seen to load, or to refuse."""
    backend = replace(recipe.backend, name="megatron-deepspeed")
    wanted = replace(recipe, backend=backend, optim=Optim(zero=zero))
    found = verdict(stored(wanted, **{"format": "deepspeed"} | changed), wanted)

    assert found.outcome == outcome, found.says
    if outcome == "convert":
        assert "python -m deepspeed.checkpoint.ds_to_universal" in found.commands[0]


OWN: tuple[tuple[dict[str, Any], int, str, str], ...] = (
    ({}, 1, "as_is", "loads as it is"),
    ({"layout": {"dp": 8}}, 1, "resharded", "the job makes a universal checkpoint of it first"),
    ({"layout": {"dp": 8}}, 3, "no", "ZeRO-3 with tensor parallel has its own layout only"),
    ({"layout": {"tp": 1}}, 0, "no", "only a checkpoint of ZeRO can be converted"),
)


@pytest.mark.parametrize(("changed", "zero", "outcome", "says"), OWN)
def test_the_trainers_own(
    recipe: Recipe, changed: dict[str, Any], zero: int, outcome: str, says: str
) -> None:
    """The reference trainer converts DeepSpeed's checkpoints by itself, as far as they can be."""
    backend = replace(recipe.backend, name="megatron-core+deepspeed")
    wanted = replace(recipe, backend=backend, optim=Optim(zero=zero))
    changed = {"layout": {"zero": zero} | changed.get("layout", {})}
    found = verdict(stored(wanted, **{"format": "deepspeed"} | changed), wanted)

    assert (found.outcome, says in found.says) == (outcome, True), found.says

"""The plan: what ``plan --json`` holds, and the plan of 530B."""

import json
from typing import Any

import pytest

from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from llmtrain.config.layout import Axis
from llmtrain.planner.memory import model_states
from llmtrain.planner.mending import is_launchable
from llmtrain.planner.parameters import rank_parameters
from llmtrain.planner.plan import make_plan, plan_json

KEYS: dict[str, Any] = {
    "schema": 1,
    "recipe": "gpt3-530b",
    "gpus": 2240,
    "nodes": 280,
    "parallel": {
        "tp": 8,
        "pp": 35,
        "vpp": 3,
        "cp": 1,
        "ep": 1,
        "etp": 8,
        "dp": 8,
        "edp": 8,
    },
    "batch": {"micro": 1, "global": 2240, "microbatches": 280},
}
"""What ``plan --json`` of gpt3-530b begins with. Programs read it: a change needs a new schema."""

OTHERS = {
    *("steps", "params", "stages", "peak_memory_bytes", "memory_capacity_bytes"),
    *("host_memory_bytes", "verdict", "fits"),
    *("step_seconds", "step_seconds_range", "breakdown", "tokens_per_second_per_gpu"),
    *("model_tflops_per_gpu", "mfu", "hfu", "mfu_convention", "days", "gpu_hours", "goodput"),
    *("calibration", "checkpoint_bytes", "data", "warnings", "errors"),
}
"""Its other keys."""


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    """``llmtrain plan recipe=gpt3-530b --json``, as a program reads it."""
    found: dict[str, Any] = json.loads(
        json.dumps(plan_json(make_plan(compose(["recipe=gpt3-530b"]))))
    )
    return found


def test_the_keys_of_the_plan(plan: dict[str, Any]) -> None:
    assert {key: plan[key] for key in KEYS} == KEYS
    assert KEYS.keys() | OTHERS == plan.keys()


def test_530b_has_three_layers_a_stage_in_three_chunks(plan: dict[str, Any]) -> None:
    stages = make_plan(compose(["recipe=gpt3-530b"])).stages

    assert [stage["layers"] for stage in plan["stages"]] == [3] * 35
    assert stages[0].chunks == ((0,), (35,), (70,))
    assert stages[34].chunks == ((34,), (69,), (104,))


def test_530b_holds_530_billion_parameters(plan: dict[str, Any]) -> None:
    """530 billion of a stage's ranks together, tied embeddings counted on both ends."""
    ranks = [2060874240, *[1887859200] * 33, 2018972160]

    assert ranks == [stage["parameters"] for stage in plan["stages"]]
    assert plan["params"]["total"] / 1e9 == pytest.approx(530, rel=0.01)
    assert plan["params"]["active"] == plan["params"]["total"]
    # What tensor parallel ranks hold twice: norms, biases behind a row-cut matrix, positions.
    assert [8 * rank for rank in ranks] == plan["params"]["per_stage"]


def test_a_stage_says_its_bytes(plan: dict[str, Any]) -> None:
    """18 bytes a parameter, as Korthikanti et al. have without a distributed optimizer."""
    middle = plan["stages"][17]
    memory = middle["memory"]
    states = {part: memory[part] / 1887859200 for part in ("weights", "gradients", "optimizer")}
    parts = {*states, "activations", "workspace"}

    assert middle.keys() == {"stage", "layers", "parameters", "memory"}
    assert states == {"weights": 2, "gradients": 4, "optimizer": 12}
    assert memory.keys() == parts | {"total"}
    assert memory["total"] == sum(memory[part] for part in parts)
    assert plan["peak_memory_bytes"] == max(stage["memory"]["total"] for stage in plan["stages"])


def test_days_are_net_and_goodput_is_gross(plan: dict[str, Any]) -> None:
    """Days of the steps alone, and with failures."""
    assert plan["days"] * 24 * 2240 == pytest.approx(plan["gpu_hours"])
    assert plan["goodput"]["days"] * plan["goodput"]["fraction"] == pytest.approx(plan["days"])
    assert plan["days"] * 86_400 == pytest.approx(plan["steps"] * plan["step_seconds"])


def test_what_is_not_known_is_null() -> None:
    """Without a length there are no days."""
    plan = plan_json(make_plan(changed(compose(["recipe=gpt3-530b"]), {"tokens": None})))

    assert {plan[key] for key in ("steps", "days", "gpu_hours", "goodput")} == {None}
    assert plan["checkpoint_bytes"] > 0


def test_tokens_and_batch_give_the_steps(plan: dict[str, Any]) -> None:
    """270 billion tokens in batches of 2240 sequences of 2048 tokens."""
    assert plan["steps"] == -(-270 * 10**9 // (2240 * 2048))


def test_where_the_groups_of_530b_lie() -> None:
    """tp inside a node, dp across the eight nodes next to each other, pp over all blocks."""
    axes = make_plan(compose(["recipe=gpt3-530b"])).axes
    expected = (
        Axis(name="tp", size=8, stride=1, nodes=1),
        Axis(name="cp", size=1, stride=8, nodes=1),
        Axis(name="dp", size=8, stride=8, nodes=8),
        Axis(name="pp", size=35, stride=64, nodes=35),
    )

    assert expected == axes
    assert [a.place for a in axes] == ["inside a node", "not used", "over 8 nodes", "over 35 nodes"]


def test_a_broken_recipe_has_no_plan_but_repairs() -> None:
    recipe = changed(compose(["recipe=gpt3-530b"]), {"gpus": 2000})
    with pytest.raises(RecipeError) as caught:
        make_plan(recipe)
    (problem,) = caught.value.problems
    mended = [compose(["recipe=gpt3-530b", *repair.overrides]) for repair in problem.repairs]

    assert problem.code == "gpus_not_multiple"
    assert [recipe.gpus for recipe in mended] == [2240, 1120, 1960]
    assert all(is_launchable(recipe) for recipe in mended)


def test_what_the_backend_cannot_express_stands_beside_the_plan() -> None:
    """BLOOM's ALiBi: the plan is whole, and says why it cannot be launched."""
    found = plan_json(make_plan(compose(["recipe=bloom-176b", "backend=megatron-lm"])))
    error = found["errors"][0]

    assert found["nodes"] == 48
    assert {"code", "message", "key", "where", "hint", "repairs"} == error.keys()
    assert error["code"] == "backend_cannot"


def test_the_plan_of_each_stage_is_its_own_rank() -> None:
    """Uneven stages: BLOOM's ends have five layers and the embedding."""
    recipe = compose(["recipe=bloom-176b"])
    plan = make_plan(recipe)

    assert [5, *[6] * 10, 5] == [stage.layers for stage in plan.stages]
    for stage in plan.stages:
        count = rank_parameters(recipe, stage.number)
        states = model_states(recipe, count).model_states

        assert (count.total, states) == (stage.parameters, stage.memory.model_states)

"""Parameters of every rank against megatron-core's own modules."""

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrain.config.build import build
from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.layout import chunk_layers, stage_layers
from llmtrain.config.parallel import Parallel
from llmtrain.config.recipe import Recipe
from llmtrain.config.search import search_path
from llmtrain.planner.parameters import (
    active_parameters,
    rank_parameters,
    stage_parameters,
    total_parameters,
)

if TYPE_CHECKING:
    from tests.planner.conftest import Megatron


def recipe_of(model: dict[str, Any], parallel: dict[str, Any]) -> Recipe:
    """A recipe with this model and layout, and nothing else of interest."""
    shape = {"hidden": 32, "heads": 4, "vocab": 250, "vocab_multiple": 8, "seq": 16}
    cluster = {"name": "some", "gpu": {"name": "some", "arch": "some"}, "gpus_per_node": 8}
    data = {
        "name": "some",
        "gpus": 1,
        "model": shape | model,
        "cluster": cluster,
        "backend": {"name": "megatron-core"},
        "batch": {"global": 1},
        "parallel": parallel,
    }
    return build(Recipe, data)


def compared(megatron: "Megatron", recipe: Recipe, stage: int, tp_rank: int = 0) -> tuple[Any, Any]:
    """Total, experts and layers of a rank: megatron-core's, and the planner's."""
    shard, count = megatron.shard(recipe, stage, tp_rank), rank_parameters(recipe, stage)
    theirs = (shard.parameters, shard.experts, shard.chunks)
    return theirs, (count.total, count.expert, stage_layers(recipe)[stage])


@pytest.mark.parametrize("name", search_path().recipes())
def test_every_stage_of_every_recipe_is_megatrons(megatron: "Megatron", name: str) -> None:
    """BLOOM's norm behind the embedding is left out: megatron-core has none."""
    recipe = compose([f"recipe={name}", "model.embedding_norm=false"])
    each = [compared(megatron, recipe, stage) for stage in range(recipe.parallel.pp)]

    assert [theirs for theirs, _ in each] == [ours for _, ours in each]


@pytest.mark.parametrize(
    ("stage", "expected"), [(0, 2060874240), (17, 1887859200), (34, 2018972160)]
)
def test_the_ranks_of_530b(megatron: "Megatron", stage: int, expected: int) -> None:
    """The last tensor parallel rank holds what the first does, and both what is known of 530B."""
    recipe = compose(["recipe=gpt3-530b"])

    assert [expected] * 3 == [
        rank_parameters(recipe, stage).total,
        megatron.shard(recipe, stage, 0).parameters,
        megatron.shard(recipe, stage, 7).parameters,
    ]


@pytest.mark.parametrize(
    ("model", "parallel"),
    [
        pytest.param({}, {"tp": 2, "pp": 2, "vpp": 2}, id="tied, interleaved"),
        pytest.param({"tied": False}, {"tp": 4, "pp": 2}, id="untied"),
        pytest.param({"bias": False, "qkv_bias": True}, {"tp": 2}, id="biases of qkv alone"),
        pytest.param({"vocab": 257}, {"tp": 4}, id="padding grows with tp"),
        pytest.param({"head_dim": 24, "kv_heads": 2}, {"tp": 2}, id="wide heads in groups"),
        pytest.param(
            {"experts": 4, "topk": 2}, {"tp": 2, "ep": 2, "etp": 1}, id="experts with biases"
        ),
        pytest.param(
            {"experts": 8, "topk": 2, "moe_ffn": 48, "dense_layers": 3, "bias": False}
            | {"shared_experts": 2, "activation": "swiglu"},
            {"tp": 4, "ep": 2, "etp": 2, "pp": 2},
            id="experts and dense layers",
        ),
        pytest.param({"mla": {"q_rank": 12, "kv_rank": 10}}, {"tp": 2}, id="latent, layer norm"),
        pytest.param(
            {"mla": {}, "bias": False, "norm": "rmsnorm"}, {"tp": 2}, id="latent, whole queries"
        ),
        pytest.param({"mtp": 2, "positions": "rope"}, {"tp": 2}, id="prediction on one stage"),
        pytest.param(
            {"mtp": 1, "positions": "rope"}, {"tp": 2, "pp": 2}, id="prediction, tied, two stages"
        ),
        pytest.param({"mtp": 1}, {"pp": 2}, id="prediction copies learned positions"),
        pytest.param(
            {"mtp": 1, "positions": "rope", "tied": False},
            {"tp": 2, "pp": 2, "layers_per_stage": [8, 0]},
            id="prediction on a stage of its own",
        ),
        pytest.param({}, {"pp": 4, "layers_per_stage": [1, 3, 3, 1]}, id="uneven stages"),
        pytest.param({}, {"pp": 2, "vpp": 2, "layers_per_stage": [0, 3, 4, 1]}, id="uneven chunks"),
    ],
)
def test_every_kind_of_part(
    megatron: "Megatron", model: dict[str, Any], parallel: dict[str, Any]
) -> None:
    recipe = recipe_of({"layers": 8} | model, parallel)
    each = [compared(megatron, recipe, stage) for stage in range(recipe.parallel.pp)]

    assert [theirs for theirs, _ in each] == [ours for _, ours in each]


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Shapes and layouts that megatron-core can build, of every kind at once."""
    parallel, layers = draw(layouts())
    heads = parallel["tp"] * draw(st.integers(1, 3))
    model: dict[str, Any] = {
        "layers": layers,
        "heads": heads,
        "hidden": heads * 2 * draw(st.integers(1, 8)),
        "head_dim": draw(st.sampled_from([None, 6, 16])),
        "kv_heads": draw(st.sampled_from([None, parallel["tp"]])),
        "ffn": draw(st.sampled_from([None, parallel["tp"] * 12])),
        "vocab": draw(st.integers(1, 500)),
        "activation": draw(st.sampled_from(["gelu", "geglu", "swiglu", "relu2"])),
        "norm": draw(st.sampled_from(["layernorm", "layernorm1p", "rmsnorm"])),
        "positions": draw(st.sampled_from(["learned", "rope", "none"])),
        "tied": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "qkv_bias": draw(st.booleans()),
        "mtp": draw(st.integers(0, 2)),
    }
    if draw(st.booleans()):
        model["mla"] = {"q_rank": draw(st.sampled_from([None, 8])), "kv_rank": 12}
        model["kv_heads"] = None
    if draw(st.booleans()):
        width = draw(st.sampled_from([None, 24]))
        shared = 0 if model["bias"] else draw(st.integers(0, 2))
        dense = draw(st.integers(0, layers))
        model |= {"experts": 8, "topk": 2, "moe_ffn": width}
        model |= {"shared_experts": shared, "dense_layers": dense}
        parallel["ep"] = draw(st.sampled_from([1, 2, 8]))
        # megatron-core refuses biases of experts that are cut.
        parallel["etp"] = 1 if model["bias"] else draw(st.sampled_from([None, 1, 2]))
    return recipe_of(model, parallel)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """tp, pp, vpp, cp and a split of the layers, with the number of layers."""
    pp = draw(st.integers(1, 4))
    vpp = draw(st.integers(1, 3)) if pp > 1 else 1
    tp, cp = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2]))
    parallel: dict[str, Any] = {"tp": tp, "pp": pp, "vpp": vpp, "cp": cp}
    if draw(st.booleans()):
        split = draw(st.lists(st.integers(0, 3), min_size=pp * vpp, max_size=pp * vpp))
        split[draw(st.integers(0, len(split) - 1))] += 1
        return parallel | {"layers_per_stage": split}, sum(split)
    first, last = draw(st.booleans()), draw(st.booleans())
    layers = pp * vpp * draw(st.integers(1, 3)) - first - last
    if layers < 1:
        first, last, layers = False, False, pp * vpp
    return parallel | {"account_for_embedding": first, "account_for_loss": last}, layers


@given(recipe=recipes(), data=st.data())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_any_rank_of_any_shape(megatron: "Megatron", recipe: Recipe, data: st.DataObject) -> None:
    stage = data.draw(st.integers(0, recipe.parallel.pp - 1))
    tp_rank = data.draw(st.integers(0, recipe.parallel.tp - 1))
    theirs, ours = compared(megatron, recipe, stage, tp_rank)

    assert theirs == ours


@given(recipe=recipes())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_whole_model_is_the_one_rank_model(megatron: "Megatron", recipe: Recipe) -> None:
    """Distinct parameters, the vocabulary padded for the layout, are those of one rank alone."""
    padded = recipe.model.padded_vocab(recipe.parallel.tp)
    whole = {"parallel": Parallel(), "model.vocab": padded, "model.vocab_multiple": 1}
    alone = changed(recipe, whole)

    assert megatron.shard(alone, 0).parameters == total_parameters(recipe)


def test_a_stage_sums_over_its_ranks(megatron: "Megatron") -> None:
    """Experts are summed over the expert parallel ranks too; what is not cut counts tp times."""
    model = {"layers": 4, "experts": 8, "topk": 2, "moe_ffn": 24, "bias": False}
    recipe = recipe_of(model, {"tp": 4, "pp": 2, "ep": 4, "etp": 2})
    shard = megatron.shard(recipe, 0)
    expected = (shard.parameters - shard.experts) * 4 + shard.experts * 4 * 2

    assert expected == stage_parameters(recipe, 0)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # arXiv 2401.04088, section 2.1; arXiv 2412.19437, abstract, of which its section 4.2
        # leaves out the 1.6 billion that MTP adds for a token.
        pytest.param("mixtral-8x7b", 12.9, id="mixtral-8x7b"),
        pytest.param("deepseek-v3", 37, id="deepseek-v3"),
    ],
)
def test_a_token_passes_few_experts(name: str, billions: float) -> None:
    recipe = compose([f"recipe={name}", "model.mtp=0"])

    assert active_parameters(recipe) / 1e9 == pytest.approx(billions, rel=0.02)


def test_every_token_passes_a_dense_model() -> None:
    recipe = compose(["recipe=gpt3-175b"])

    assert total_parameters(recipe) == active_parameters(recipe)


def test_chunks_come_from_the_recipe() -> None:
    """A guard of the tests above: the uneven splits they draw reach the layout."""
    recipe = recipe_of({"layers": 8}, {"pp": 2, "vpp": 2, "layers_per_stage": [0, 3, 4, 1]})

    assert chunk_layers(recipe) == (0, 3, 4, 1)

"""Shapes, layouts and sizes of the recipes that ship are the published ones."""

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.layout import data_parallel, stage_layers
from llmtrain.planner.parameters import total_parameters
from tests.recipes.published import PUBLISHED, recipe_of


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shape_is_the_published_one(name: str) -> None:
    published, model = PUBLISHED[name], recipe_of(name).model
    shape = (model.layers, model.hidden, model.heads, model.kv_head_count, model.ffn_size)
    form = (model.activation, model.norm, model.positions, model.tied, model.bias)

    assert published.shape == shape
    assert published.seq == model.seq
    assert published.form == form


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_padded_vocabulary_is_the_published_one(name: str) -> None:
    recipe = recipe_of(name)

    assert PUBLISHED[name].vocab == recipe.model.padded_vocab(recipe.parallel.tp)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layout_is_the_published_one(name: str) -> None:
    published, recipe = PUBLISHED[name], recipe_of(name)
    parallel, batch = recipe.parallel, recipe.batch
    layout = (parallel.tp, parallel.pp, parallel.vpp, parallel.cp, parallel.ep)
    micro = published.batch[0] or batch.micro

    assert published.layout == (recipe.gpus, *layout, data_parallel(recipe))
    assert (micro, published.batch[1]) == (batch.micro, batch.global_)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_size_is_the_published_one(name: str) -> None:
    """Exactly, where weights were published; else within a percent, or its name's rounding."""
    published = PUBLISHED[name]
    billions = total_parameters(recipe_of(name)) / 1e9

    assert published.billions == pytest.approx(billions, rel=published.within or 1e-12)


def test_deepseek_v3_without_prediction_has_671_billion() -> None:
    """671.026 billion are its published weights without MTP."""
    recipe = compose(["recipe=deepseek-v3", "model.mtp=0"])

    assert total_parameters(recipe) / 1e9 == pytest.approx(671.026, abs=0.002)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt3-530b", [3] * 35),
        ("bloom-176b", [5, *[6] * 10, 5]),  # the ends hold the embedding
        ("glm-130b", [8, *[9] * 6, 8]),
        ("deepseek-v3", [*[4] * 15, 1]),
    ],
)
def test_stages_are_the_published_ones(name: str, expected: list[int]) -> None:
    stages = stage_layers(recipe_of(name))

    assert expected == [sum(len(chunk) for chunk in chunks) for chunks in stages]

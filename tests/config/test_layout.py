"""Layout arithmetic against megatron-core's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from megatron.core import parallel_state
from megatron.core.num_microbatches_calculator import (
    ConstantNumMicroBatchesCalculator,
    RampupBatchsizeNumMicroBatchesCalculator,
)
from megatron.core.transformer.pipeline_parallel_layer_layout import PipelineParallelLayerLayout
from megatron.core.transformer.transformer_block import get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset

from llmtrain.config.batch import Batch, Ramp
from llmtrain.config.layout import (
    axes,
    chunk_layers,
    data_parallel,
    expert_data_parallel,
    microbatches,
    node_count,
    ranks_per_node,
    stage_layers,
    step_samples,
    steps_for_samples,
    total_steps,
)
from llmtrain.config.recipe import Recipe

if TYPE_CHECKING:
    from tests.config.conftest import Small

ORDERS = ("tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp")

Layers = tuple[tuple[tuple[int, ...], ...], ...]
"""Layer numbers from 0 as [stage][chunk][layer]."""


def megatrons_layers(layers: int, pp: int, vpp: int, **split: Any) -> Layers | None:
    """What megatron-core puts on every stage and chunk; None if it refuses."""
    interleaved = vpp if vpp > 1 else None
    try:
        config = TransformerConfig(
            num_layers=layers,
            hidden_size=8,
            num_attention_heads=1,
            pipeline_model_parallel_size=pp,
            virtual_pipeline_model_parallel_size=interleaved,
            pipeline_dtype=torch.float32,
            cuda_graph_scope=[],  # its own default warns
            **split,
        )
        return tuple(
            tuple(_chunk(config, stage, chunk if interleaved else None) for chunk in range(vpp))
            for stage in range(pp)
        )
    except (AssertionError, ValueError):
        return None


def _chunk(config: TransformerConfig, stage: int, chunk: int | None) -> tuple[int, ...]:
    first = get_transformer_layer_offset(config, chunk, stage)
    return tuple(range(first, first + get_num_layers_to_build(config, chunk, stage)))


def our_layers(recipe: Recipe) -> Layers | None:
    """What the recipe puts there; None if the layers do not divide."""
    return None if chunk_layers(recipe) is None else stage_layers(recipe)


@pytest.mark.parametrize("pp", [1, 2, 3, 4])
@pytest.mark.parametrize("vpp", [1, 2, 3])
@pytest.mark.parametrize(("first", "last"), [*product([False, True], repeat=2)])
def test_layers_lie_where_megatron_puts_them(
    small: "Small", pp: int, vpp: int, first: bool, last: bool
) -> None:
    """For every number of layers, also where megatron-core refuses it."""
    found, expected = {}, {}
    for layers in range(1, 26):
        parallel = {"pp": pp, "vpp": vpp if pp > 1 else 1}
        account = {"account_for_embedding": first, "account_for_loss": last}
        recipe = small(model={"layers": layers}, parallel=parallel | account)
        found[layers] = our_layers(recipe)
        expected[layers] = megatrons_layers(
            layers,
            **parallel,
            account_for_embedding_in_pipeline_split=first,
            account_for_loss_in_pipeline_split=last,
        )

    assert expected == found


@pytest.mark.parametrize(
    ("pp", "vpp", "first", "middle", "last"),
    [(4, 1, 2, 3, 1), (4, 2, 2, 4, 6), (3, 3, 3, 6, 3), (2, 1, 6, 0, 2), (8, 1, 1, 2, 5)],
)
def test_uneven_ends_lie_where_megatron_puts_them(
    small: "Small", pp: int, vpp: int, first: int, middle: int, last: int
) -> None:
    """One number a stage is Megatron's --decoder-first/last-pipeline-num-layers."""
    split = [first, *[middle] * (pp - 2), last]
    layers = sum(split)
    parallel = {"pp": pp, "vpp": vpp, "layers_per_stage": split}
    expected = megatrons_layers(
        *(layers, pp, vpp),
        num_layers_in_first_pipeline_stage=first,
        num_layers_in_last_pipeline_stage=last,
    )

    assert expected is not None
    assert expected == our_layers(small(model={"layers": layers}, parallel=parallel))


@contextmanager
def virtual_stages(vpp: int) -> Iterator[None]:
    """megatron-core's layout asks its global state whether there are virtual stages."""
    parallel_state.set_virtual_pipeline_model_parallel_world_size(vpp)
    try:
        yield
    finally:
        parallel_state.set_virtual_pipeline_model_parallel_world_size(None)


@given(st.data())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_chunks_lie_where_megatron_puts_them(small: "Small", data: st.DataObject) -> None:
    """One number a chunk is Megatron's --pipeline-model-parallel-layout."""
    pp, vpp = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    counts = data.draw(st.lists(st.integers(0, 4), min_size=pp * vpp, max_size=pp * vpp))
    assume(sum(counts))
    layout = [["decoder"] * count for count in counts]
    layout[0].insert(0, "embedding")
    layout[-1].append("loss")
    theirs = PipelineParallelLayerLayout(layout, pp)
    with virtual_stages(vpp):
        expected = tuple(
            tuple(
                tuple(theirs.get_layer_id_list(vp_stage=chunk, pp_rank=stage))
                for chunk in range(vpp)
            )
            for stage in range(pp)
        )
    parallel = {"pp": pp, "vpp": vpp, "layers_per_stage": counts}

    assert expected == our_layers(small(model={"layers": sum(counts)}, parallel=parallel))


layouts = st.fixed_dictionaries(
    {
        "tp": st.integers(1, 8),
        "cp": st.integers(1, 3),
        "pp": st.integers(1, 4),
        "order": st.sampled_from(ORDERS),
    }
)


@given(parallel=layouts, dp=st.integers(1, 5))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_groups_are_megatrons(small: "Small", parallel: dict[str, Any], dp: int) -> None:
    """Every group of every axis holds the same ranks in the same order."""
    tp, cp, pp = parallel["tp"], parallel["cp"], parallel["pp"]
    recipe = small(gpus=tp * cp * pp * dp, parallel=parallel)
    generator = parallel_state.RankGenerator(
        tp=tp, ep=1, dp=dp, pp=pp, cp=cp, order=parallel["order"]
    )

    for name in ("tp", "cp", "dp", "pp"):
        assert sorted(map(tuple, generator.get_ranks(name))) == groups(recipe, name)


def coordinates(recipe: Recipe, rank: int) -> dict[str, int]:
    """The place of ``rank`` on every dense axis."""
    return {axis.name: rank // axis.stride % axis.size for axis in axes(recipe)}


def groups(recipe: Recipe, axis: str) -> list[tuple[int, ...]]:
    """Ranks that differ on ``axis`` alone, in its order."""
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for rank in range(recipe.gpus):
        place = coordinates(recipe, rank)
        own = place.pop(axis)
        found.setdefault(tuple(place.values()), []).append((own, rank))
    return sorted(tuple(rank for _, rank in sorted(group)) for group in found.values())


@given(parallel=layouts, dp=st.integers(1, 5), per_node=st.sampled_from([1, 4, 6, 8]))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_every_rank_has_a_place_of_its_own(
    small: "Small", parallel: dict[str, Any], dp: int, per_node: int
) -> None:
    """Coordinates are a bijection, and an axis spans as many nodes as its worst group does."""
    gpus = parallel["tp"] * parallel["cp"] * parallel["pp"] * dp
    cluster = {"gpus_per_node": per_node, "nodes": None}
    recipe = small(gpus=gpus, parallel=parallel, cluster=cluster)
    places = {tuple(coordinates(recipe, rank).values()) for rank in range(gpus)}
    sizes = [axis.size for axis in axes(recipe)]

    assert gpus == len(places)
    assert places == set(product(*(range(size) for size in sizes)))
    for axis in axes(recipe):
        spans = [len({rank // per_node for rank in group}) for group in groups(recipe, axis.name)]
        assert max(spans) == axis.nodes


def test_places_in_words(small: "Small") -> None:
    """tp 3 on nodes of 8: the third group lies over two of them."""
    recipe = small(gpus=24, parallel={"tp": 3, "pp": 8, "cp": 1}, cluster={"nodes": None})
    words = {axis.name: axis.place for axis in axes(recipe)}

    assert words == {"tp": "over 2 nodes", "cp": "not used", "dp": "not used", "pp": "over 3 nodes"}


@given(
    micro=st.integers(1, 4),
    dp=st.integers(1, 4),
    start=st.integers(1, 6),
    step=st.integers(1, 4),
    rises=st.integers(1, 8),
    samples=st.integers(1, 5000),
)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_ramp_is_megatrons(
    small: "Small", micro: int, dp: int, start: int, step: int, rises: int, samples: int
) -> None:
    """Batch and micro-batches of every step, up to where the batch is full."""
    unit = micro * dp
    size = (start + step * rises) * unit
    ramp = {"start": start * unit, "step": step * unit, "samples": samples}
    recipe = small(
        gpus=dp,
        parallel={"tp": 1, "pp": 1},
        batch={"micro": micro, "global": size, "ramp": ramp},
    )
    theirs = RampupBatchsizeNumMicroBatchesCalculator(
        *(size, micro, dp, False, 0), *(start * unit, step * unit, samples)
    )
    consumed, steps, seen = 0, 0, set()
    while consumed <= samples:
        theirs.update(consumed, consistency_check=True)
        current = theirs.get_current_global_batch_size()
        assert range(consumed, consumed + current) == step_samples(recipe, steps)
        assert theirs.get() == microbatches(recipe, current)
        seen.add(current)
        consumed, steps = consumed + current, steps + 1

    assert seen <= set(recipe.batch.sizes())
    assert steps == steps_for_samples(recipe, consumed)
    assert steps + 3 == steps_for_samples(recipe, consumed + 3 * size)
    assert step_samples(recipe, steps + 3) == range(consumed + 3 * size, consumed + 4 * size)


@given(micro=st.integers(1, 4), dp=st.integers(1, 9), count=st.integers(1, 40))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_micro_batches_are_megatrons(small: "Small", micro: int, dp: int, count: int) -> None:
    size = micro * dp * count
    recipe = small(gpus=dp * 8, parallel={"tp": 2, "pp": 4}, batch={"micro": micro, "global": size})
    theirs = ConstantNumMicroBatchesCalculator(size, micro, dp, False, 0)

    assert (theirs.get(), dp) == (microbatches(recipe), data_parallel(recipe))


def test_every_size_of_a_ramp() -> None:
    """MT-NLG 530B: 32 by 32 to 1920 (its paper, section 3)."""
    batch = Batch(global_=1920, ramp=Ramp(start=32, step=32, samples=6_000_000))

    assert tuple(32 * rise for rise in range(1, 61)) == batch.sizes()
    assert Batch(global_=8).sizes() == (8,)


@given(st.data())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_expert_replicas_are_megatrons(small: "Small", data: st.DataObject) -> None:
    """edp is the size of the data parallel group beside etp, ep and pp."""
    etp, ep, pp = (data.draw(st.integers(1, 4)) for _ in range(3))
    edp = data.draw(st.integers(1, 4))
    generator = parallel_state.RankGenerator(tp=etp, ep=ep, dp=edp, pp=pp, cp=1, order=ORDERS[0])
    parallel = {"tp": 1, "etp": etp, "ep": ep, "pp": pp}
    recipe = small(gpus=etp * ep * pp * edp, parallel=parallel)

    assert len(generator.get_ranks("dp")[0]) == expert_data_parallel(recipe)


@pytest.mark.parametrize(
    ("gpus", "per_node", "expected"), [(2240, 8, (280, 8)), (4, 8, (1, 4)), (9, 8, (2, 8))]
)
def test_nodes(small: "Small", gpus: int, per_node: int, expected: tuple[int, int]) -> None:
    recipe = small(gpus=gpus, cluster={"gpus_per_node": per_node})

    assert expected == (node_count(recipe), ranks_per_node(recipe))


def test_the_length_of_a_run(small: "Small") -> None:
    """Steps win over tokens; tokens are rounded up to whole steps; one of both is enough."""
    assert total_steps(small()) is None
    assert total_steps(small(tokens=64 * 16 * 10)) == 10
    assert total_steps(small(tokens=64 * 16 * 10 + 1)) == 11
    assert total_steps(small(tokens=1, run={"steps": 7})) == 7


def test_layers_that_do_not_divide_have_no_stages(small: "Small") -> None:
    with pytest.raises(ValueError, match="do not divide"):
        stage_layers(small(model={"layers": 7}))

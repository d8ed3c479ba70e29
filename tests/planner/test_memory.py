"""Bytes of weights, gradients and optimizer states against published figures."""

from typing import Any

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.planner.memory import Memory, model_states
from llmtrain.planner.parameters import Count

D = 16
"""Data parallel ranks of the recipe below; megatron-core's table calls them d."""

MANY = Count(dense=10**6 * D)
"""Parameters that divide evenly, so that bytes a parameter are exact."""


def recipe_with(*overrides: str) -> Recipe:
    """GPT-3 175B on 16 replicas, without what the data parallel ranks could share."""
    return compose(["recipe=gpt3-175b", "optim=adam", *overrides])


def bytes_each(recipe: Recipe, count: Count = MANY) -> float:
    """Bytes of a parameter's model states."""
    return model_states(recipe, count).model_states / count.total


@pytest.mark.parametrize(
    ("overrides", "alone", "sharded"),
    [
        # NVIDIA/Megatron-LM docs/source/api-guide/dist_optimizer.md. Its fp16 row keeps gradients
        # in fp16, which Megatron's own trainer does not do.
        pytest.param(
            ["precision=fp16", "optim.grad_dtype=weights"],
            20,
            4 + 16 / D,
            id="fp16 param, fp16 grad",
        ),
        pytest.param(["precision=bf16"], 18, 6 + 12 / D, id="bf16 param, fp32 grad"),
        pytest.param(["precision=fp32"], 16, 8 + 8 / D, id="fp32 param, fp32 grad"),
    ],
)
def test_bytes_a_parameter(overrides: list[str], alone: float, sharded: float) -> None:
    """Without and with the distributed optimizer they are those of megatron-core's own table."""
    assert alone == bytes_each(recipe_with(*overrides))
    assert sharded == bytes_each(recipe_with(*overrides, "optim.zero=1"))


@pytest.mark.parametrize(
    ("zero", "expected"), [(0, 16), (1, 4 + 12 / 64), (2, 2 + 14 / 64), (3, 16 / 64)]
)
def test_zero_stages(zero: int, expected: float) -> None:
    """Rajbhandari et al. 2020 (arXiv 1910.02054), section 3.1 and figure 1: K = 12, Nd = 64.

    Their fp32 states need no copy of the gradients, whose sum here is kept in 16 bits.
    """
    layout = ["parallel={tp: 1, pp: 1, sequence: false}", "gpus=64", "recompute.kind=none"]
    recipe = recipe_with(*layout, f"optim.zero={zero}", "optim.grad_dtype=weights")
    states = model_states(recipe, Count(dense=64 * 10**6))
    copy = 4 if zero == 0 else 4 / 64

    assert expected + copy == states.model_states / (64 * 10**6)


def test_the_published_sizes_of_zero() -> None:
    """Table 1 of arXiv 1910.02054: 7.5 B parameters on 64 ranks take 120, 31.4, 16.6, 1.88 GB.

    The fp32 copy of 16-bit gradients, which the paper's 16 bytes have not, is taken off.
    """
    layout = ["parallel={tp: 1, pp: 1, sequence: false}", "gpus=64", "recompute.kind=none"]
    count = Count(dense=7_500_000_000)
    found = []
    for zero in range(4):
        recipe = recipe_with(*layout, f"optim.zero={zero}", "optim.grad_dtype=weights")
        copy = 4 * count.dense / (64 if zero else 1)
        found.append((model_states(recipe, count).model_states - copy) / 1e9)

    assert found == pytest.approx([120, 31.4, 16.6, 1.88], rel=0.005)


def test_context_parallel_ranks_share_the_states() -> None:
    """They hold the same weights, so Megatron shards over dp x cp."""
    with_cp = recipe_with("optim.zero=1", "parallel.cp=2")

    assert bytes_each(recipe_with("optim.zero=1")) == bytes_each(with_cp)


def test_experts_are_shared_by_their_own_replicas() -> None:
    """Mixtral on 64 GPUs: pp 4 and ep 8 leave 2 expert replicas, where dense weights have 16."""
    recipe = compose(["recipe=mixtral-8x7b", "optim.zero=1", "optim.grad_dtype=fp32"])
    dense, expert = Count(dense=160), Count(expert=160)

    assert model_states(recipe, dense).model_states == (6 * 160 + 12 * 160 // 16)
    assert model_states(recipe, expert).model_states == (6 * 160 + 12 * 160 // 2)


def test_a_shard_is_rounded_up() -> None:
    """The largest shard must fit: 204 bytes over 16 ranks take 13."""
    states = model_states(recipe_with("optim.zero=1"), Count(dense=17))

    assert states.optimizer == 13


@pytest.mark.parametrize(
    ("override", "optimizer"),
    [("optim.master=false", 8), ("optim.offload=true", 0), ("precision=fp8", 12)],
)
def test_what_the_optimizer_keeps_on_the_gpu(override: str, optimizer: int) -> None:
    """Two fp32 moments and a master copy; OPT had no copy, offloading leaves nothing."""
    states = model_states(recipe_with("cluster=dgx-h100", override), MANY)

    assert optimizer * MANY.dense == states.optimizer


def test_the_total_is_the_sum_of_its_parts() -> None:
    """What a rank needs at its peak."""
    known: dict[str, Any] = {"weights": 1, "gradients": 2, "optimizer": 3}

    assert Memory(**known, activations=4, workspace=5).total == 15

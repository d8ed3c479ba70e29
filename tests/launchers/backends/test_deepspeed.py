"""DeepSpeed's JSON, read by DeepSpeed itself, and the arguments that go with it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from llmtrain.launchers.backends import program
from llmtrain.launchers.backends.flag_table import read_flags
from llmtrain.launchers.backends.megatron_deepspeed import arguments
from llmtrain.planner.limits import VERSIONS
from llmtrain.planner.plan import Plan

if TYPE_CHECKING:
    from tests.launchers.backends.conftest import Rendering

MEGATRON = (
    ("recipe=mt-nlg-530b", "optim.zero=1"),
    ("recipe=gpt3-530b", "backend=megatron-deepspeed", "parallel.vpp=1", "optim.zero=1"),
    ("recipe=llama-65b", "backend=megatron-deepspeed", "parallel.vpp=1"),
    ("recipe=llama2-7b", "backend=megatron-deepspeed", "optim.zero=3", "optim.offload=true"),
    ("recipe=gpt3-20b", "backend=megatron-deepspeed", "recompute.kind=full"),
)
PLAIN = (
    ("recipe=llama2-7b", "backend=deepspeed", "optim.zero=2"),
    ("recipe=gpt3-126m", "backend=deepspeed", "precision=fp16", "precision.loss_scale=128"),
    ("recipe=gpt3-126m", "backend=deepspeed", "precision=fp32"),
)

Read = Callable[[dict[str, Any], int], Any]


@pytest.fixture(scope="module")
def read_config() -> Iterator[Read]:
    """DeepSpeed's own check of a configuration for so many data parallel ranks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepspeed.runtime import config as deepspeed_config

    class Ranks:
        """What DeepSpeed asks of a model-parallel unit."""

        def __init__(self, dp: int) -> None:
            self.dp = dp

        def get_data_parallel_world_size(self) -> int:
            return self.dp

    # It asks torch.distributed for the rank only to log from one of them.
    with patch.object(deepspeed_config.dist, "get_rank", lambda *_: 0):
        yield lambda config, dp: deepspeed_config.DeepSpeedConfig(config, mpu=Ranks(dp))


def _json(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(program(plan).files["ds_config.json"])
    return found


@pytest.mark.parametrize("asked", [*MEGATRON, *PLAIN])
def test_deepspeed_accepts_the_json_at_the_full_world_size(
    rendering: Rendering, read_config: Read, asked: tuple[str, ...]
) -> None:
    """Its batch arithmetic is the plan's, and it read stage, numbers and clipping as meant."""
    plan = rendering.plan(*asked)
    recipe = plan.recipe
    config = read_config(_json(plan), plan.dp)

    assert config.train_batch_size == recipe.batch.global_
    assert config.train_micro_batch_size_per_gpu == recipe.batch.micro
    assert config.gradient_accumulation_steps == plan.microbatches
    assert config.zero_optimization_stage == recipe.optim.zero
    assert config.gradient_clipping == recipe.optim.clip
    assert config.float16_config.enabled == (recipe.precision.kind == "fp16")
    assert config.bfloat16_config.enabled == (recipe.precision.kind == "bf16")


@pytest.mark.parametrize("asked", MEGATRON)
def test_json_and_arguments_agree(rendering: Rendering, asked: tuple[str, ...]) -> None:
    """The parser of Megatron-DeepSpeed gives every value back, and both say the same batch."""
    plan = rendering.plan(*asked)
    table = read_flags("megatron-deepspeed", VERSIONS["megatron-deepspeed"][0])
    found = vars(rendering.parsed(table, program(plan).arguments))
    config = _json(plan)
    meant = rendering.expected(table, arguments(plan.recipe, table))

    assert {dest: found[dest] for dest in meant} == meant
    assert found["global_batch_size"] == config["train_batch_size"]
    assert found["micro_batch_size"] == config["train_micro_batch_size_per_gpu"]
    assert found["zero_stage"] == config["zero_optimization"]["stage"]
    assert found["clip_grad"] == config["gradient_clipping"]
    assert found["bf16"] == ("bf16" in config)
    assert found["fp16"] == ("fp16" in config)
    assert found["no_pipeline_parallel"] == (plan.recipe.parallel.pp == 1)


def test_megatron_deepspeed_has_no_made_up_data(rendering: Rendering) -> None:
    """The paths are asked for, not forgotten."""
    plan = rendering.plan("recipe=mt-nlg-530b", "optim.zero=1", "data=mock")

    assert program(plan).missing == ("data.paths",)


def test_a_users_script_gets_the_json_and_its_optimizer(rendering: Rendering) -> None:
    """Model and schedule are the script's; the optimizer is the recipe's."""
    plan = rendering.plan("recipe=llama2-7b", "backend=deepspeed", "backend.path=/x/train.py")
    rendered = program(plan)
    optimizer = _json(plan)["optimizer"]

    assert (rendered.script, rendered.arguments) == (
        "/x/train.py",
        ("--deepspeed_config", "ds_config.json"),
    )
    assert optimizer["type"] == "AdamW"
    assert optimizer["params"]["lr"] == plan.recipe.optim.lr

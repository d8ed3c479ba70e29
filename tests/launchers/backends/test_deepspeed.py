"""DeepSpeed's JSON, read by DeepSpeed itself, and the arguments that go with it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import yaml

from llmtrain.launchers import backends
from llmtrain.launchers.backends import program
from llmtrain.launchers.backends.deepspeed_checks import oversights
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
    ("recipe=llama2-7b", "backend=megatron-deepspeed", "kernels.attention=flash"),
)
SHIPPED = {
    "megatron-deepspeed": (*("gpt3-126m", "gpt3-175b", "gpt3-20b", "gpt3-40b", "mt-nlg-530b"),),
    "deepspeed": ("gpt3-126m", "gpt3-5b", "llama2-7b"),
}
"""Recipes that each backend renders as they ship, and that fit: docs/backends.md."""
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


WHOLE = [
    (f"recipe={name}", f"backend={backend}") for backend, names in SHIPPED.items() for name in names
]


@pytest.mark.parametrize("asked", [*MEGATRON, *PLAIN, *WHOLE])
def test_deepspeed_accepts_the_json_at_the_full_world_size(
    rendering: Rendering, read_config: Read, asked: tuple[str, ...]
) -> None:
    """Its batch arithmetic is the plan's, and it read stage, numbers and clipping as meant."""
    plan = rendering.plan(*asked)
    recipe = plan.recipe
    config = read_config(_json(plan), plan.dp)

    assert oversights(_json(plan), pp=recipe.parallel.pp) == ()
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


GOOD = {
    "train_batch_size": 8,
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 4,
    "zero_optimization": {"stage": 1},
    "bf16": {"enabled": True},
    "optimizer": {"type": "AdamW", "params": {"lr": 0.1}},
}

PASSED_OVER: list[tuple[dict[str, Any], str]] = [
    ({"gradient_cliping": 1.0}, "did you mean `gradient_clipping`"),
    ({"zero_optimisation": {"stage": 3}}, "did you mean `zero_optimization`"),
    ({"gradient_clipping": "1.0"}, "not a number"),
    ({"optimizer": {"type": "AdamWW", "params": {}}}, "neither DeepSpeed's nor a class"),
    ({"zero_optimization": {"stage": 1, "offload_param": {"device": "cpu"}}}, "it needs 3"),
    ({"zero_optimization": {"stage": 0, "offload_optimizer": {"device": "cpu"}}}, "it needs 1"),
]


@pytest.mark.parametrize(("change", "says"), PASSED_OVER)
def test_what_deepspeed_lets_pass_is_found(
    read_config: Read, change: dict[str, Any], says: str
) -> None:
    """DeepSpeed reads each of these without a word."""
    config = GOOD | change
    assert read_config(config, 2) is not None

    (found,) = oversights(config)
    assert says in found


def test_stages_and_sums_that_a_pipeline_refuses() -> None:
    """Found before the engine is built."""
    wrong = GOOD | {"zero_optimization": {"stage": 2}, "data_types": {"grad_accum_dtype": "bf16"}}

    assert oversights(GOOD, pp=4) == ()
    assert [text.split()[0] for text in oversights(wrong, pp=4)] == ["ZeRO", "micro-batches"]
    assert oversights(GOOD | {"fp16": {"enabled": True}}) == ("`fp16` and `bf16` are both on",)


class Asked(dict[str, Any]):
    """A JSON that remembers for which keys it was asked."""

    names: set[str]

    def __contains__(self, key: object) -> bool:
        self.names.add(str(key))
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.names.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)

    def keys(self) -> Asked:  # type: ignore[override]
        return self


def test_the_known_keys_are_those_that_deepspeed_asks_for(read_config: Read) -> None:
    """None is missing from the list, and none is in it that DeepSpeed does not read."""
    # The older name of bf16 is asked for where there is no bf16.
    config = Asked({key: value for key, value in GOOD.items() if key != "bf16"})
    config.names = set()
    read_config(config, 2)

    assert [text for text in oversights(dict.fromkeys(config.names)) if "no such key" in text] == []
    known = yaml.safe_load((files(backends) / "deepspeed_keys.yaml").read_text(encoding="utf-8"))
    assert set(known["keys"]) == config.names

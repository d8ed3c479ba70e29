"""What each concern checks of its own fields."""

from typing import Any

import pytest

from llmtrain.config.batch import Batch, Ramp
from llmtrain.config.build import build, key_of
from llmtrain.config.data import Data
from llmtrain.config.errors import RecipeError
from llmtrain.config.model import Mla, Model
from llmtrain.config.numerics import Fp8, Kernels, Precision, Recompute
from llmtrain.config.parallel import Parallel
from llmtrain.config.place import Cluster, Gpu, Network, Nodes, Price
from llmtrain.config.preflight import Preflight
from llmtrain.config.recipe import Recipe
from llmtrain.config.site import Site
from llmtrain.config.training import Checkpoint, Optim, Run, Schedule

MODEL = {"layers": 2, "hidden": 8, "heads": 4, "vocab": 10, "seq": 4}
CLUSTER = {"name": "a", "gpu": {"name": "b", "arch": "c"}, "gpus_per_node": 8}
MOE = {**MODEL, "experts": 4, "topk": 2}


@pytest.mark.parametrize(
    ("cls", "data", "expected"),
    [
        (Ramp, {"start": 0, "step": 0, "samples": 0}, ["start", "step", "samples"]),
        (Batch, {"micro": 0, "global": 0}, ["micro", "global"]),
        (Batch, {"global": 8, "ramp": {"start": 9, "step": 1, "samples": 1}}, ["ramp.start"]),
        (Batch, {"global": 8, "ramp": {"start": 2, "step": 4, "samples": 1}}, ["ramp.step"]),
        (Mla, {"q_rank": 0, "kv_rank": 0, "nope_dim": 0}, ["q_rank", "kv_rank", "nope_dim"]),
        (Mla, {"rope_dim": 0, "v_dim": 0}, ["rope_dim", "v_dim"]),
        (Model, MODEL | {"layers": 0, "seq": 0, "vocab": 0}, ["layers", "vocab", "seq"]),
        (Model, MODEL | {"heads": 3}, ["heads"]),
        (Model, MODEL | {"kv_heads": 3}, ["kv_heads"]),
        (Model, MODEL | {"dropout": 1.5, "rope_fraction": -1}, ["dropout", "rope_fraction"]),
        (Model, MODEL | {"norm_eps": 0, "rope_base": 0}, ["norm_eps", "rope_base"]),
        (Model, MODEL | {"init_std": 0, "mtp": -1}, ["mtp", "init_std"]),
        (Model, MODEL | {"topk": 2, "dense_layers": 1}, ["topk", "dense_layers"]),
        (Model, MODEL | {"moe_ffn": 2, "shared_experts": 1}, ["moe_ffn", "shared_experts"]),
        (Model, MODEL | {"experts": 4}, ["topk"]),
        (Model, MOE | {"topk": 5}, ["topk"]),
        (Model, MOE | {"dense_layers": 3}, ["dense_layers"]),
        (Model, MOE | {"shared_experts": 1}, ["shared_experts"]),
        (Parallel, {"tp": 0, "pp": -1, "cp": 0}, ["tp", "pp", "cp"]),
        (Parallel, {"vpp": 0, "ep": 0, "etp": 0}, ["vpp", "ep", "etp"]),
        (Parallel, {"pp": 2, "layers_per_stage": [1, 2, 3]}, ["layers_per_stage"]),
        (Parallel, {"pp": 2, "layers_per_stage": [-1, 5]}, ["layers_per_stage"]),
        (
            Parallel,
            {"pp": 2, "layers_per_stage": [1, 2], "account_for_loss": True},
            ["layers_per_stage"],
        ),
        (
            Precision,
            {"loss_scale": 0, "initial_loss_scale": 0},
            ["loss_scale", "initial_loss_scale"],
        ),
        (Precision, {"loss_scale_window": 0}, ["loss_scale_window"]),
        (Precision, {"kind": "int8"}, ["kind"]),
        (Fp8, {"recipe": "slow", "format": "e5m2"}, ["recipe", "format"]),
        (Recompute, {"kind": "some", "method": "other", "layers": 0}, ["kind", "method"]),
        (Recompute, {"layers": 0}, ["layers"]),
        (Recompute, {"kind": "selective", "modules": []}, ["modules"]),
        (Recompute, {"modules": ["core_attn", "attention"]}, ["modules"]),
        (Kernels, {"attention": "slow"}, ["attention"]),
        (Optim, {"zero": 4}, ["zero"]),
        (Optim, {"lr": 0, "beta1": 2, "beta2": -1, "eps": 0}, ["lr", "beta1", "beta2", "eps"]),
        (Optim, {"weight_decay": -1, "clip": -1}, ["weight_decay", "clip"]),
        (Optim, {"lr": 1e-4, "min_lr": 1e-3}, ["min_lr"]),
        (Optim, {"overlap_param_gather": True}, ["overlap_param_gather"]),
        (Schedule, {"warmup": -1, "decay": 0, "anneal": 0}, ["warmup", "decay", "anneal"]),
        (Data, {"split": [-1, 1, 1]}, ["split"]),
        (Data, {"split": [0, 0, 0]}, ["split"]),
        (Data, {"kind": "indexed"}, ["paths"]),
        (Data, {"kind": "indexed", "paths": ["a"], "weights": [1, 2]}, ["weights"]),
        (Data, {"kind": "indexed", "paths": ["a"], "weights": [0]}, ["weights"]),
        (
            Data,
            {"validation": {"interval": 0, "batches": 0}},
            ["validation.interval", "validation.batches"],
        ),
        (Data, {"validation": {"weights": [1]}}, ["validation.weights"]),
        (Data, {"validation": {"paths": ["a"]}}, ["validation.paths"]),
        (
            Data,
            {"kind": "stdlib", "split": [1, 0, 0], "validation": {"interval": 5}},
            ["validation.interval"],
        ),
        (Checkpoint, {"interval": 0, "keep": 0}, ["interval", "keep"]),
        (Run, {"steps": 0, "seed": -1, "name": "a/b"}, ["steps", "seed", "name"]),
        (Run, {"name": ""}, ["name"]),
        (Gpu, {"name": "a", "arch": "b", "memory_bytes": 0}, ["memory_bytes"]),
        (Network, {"nics_per_node": -1, "nic_gb_per_s": 0}, ["nics_per_node", "nic_gb_per_s"]),
        (Cluster, CLUSTER | {"gpus_per_node": 0, "nodes": 0}, ["gpus_per_node", "nodes"]),
        (Site, {"node_days_per_failure": 0, "gpu_hour_price": -1}, None),
        (Nodes, {"spare": -1}, ["spare"]),
        (Preflight, {"seconds": 1, "exclude_days": 1e9}, None),
        (Price, {"gpu_hour": -1}, ["gpu_hour"]),
    ],
)
def test_a_value_out_of_range_is_said(cls: type, data: dict[str, Any], expected: Any) -> None:
    """All of a concern's own mistakes at once, each with its key."""
    with pytest.raises(RecipeError) as caught:
        build(cls, data)
    found = [problem.key for problem in caught.value.problems]

    assert (expected or list(data)) == found


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"gpus": 0, "tokens": 0}, "`gpus` must be at least 1, not 0"),
        ({"gpus": -8}, "`gpus` must be at least 1, not -8"),
        ({"tokens": -1}, "`tokens` must be at least 1, not -1"),
    ],
)
def test_a_run_needs_gpus_and_tokens(small_data: Any, data: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        build(Recipe, small_data | data)


def test_numbers_stand_in_the_sentence() -> None:
    with pytest.raises(RecipeError) as caught:
        build(Model, MODEL | {"hidden": 30, "heads": 4, "kv_heads": 3})

    assert [problem.message for problem in caught.value.problems] == [
        "`heads` = 4 does not divide model.hidden = 30",
        "`kv_heads` = 3 does not divide model.heads = 4",
    ]


def test_a_head_of_its_own_width_need_not_divide() -> None:
    assert build(Model, MODEL | {"heads": 3, "head_dim": 5}).head_size == 5


def test_defaults_that_depend_on_others() -> None:
    """ffn is 4 x hidden, kv_heads are heads, an expert is as wide as a dense layer."""
    model = build(Model, MOE)

    assert (*(model.kv_head_count, model.ffn_size, model.expert_ffn_size, model.head_size),) == (
        4,
        32,
        32,
        2,
    )
    assert (
        *(build(Model, MOE | {"kv_heads": 2}).kv_head_count,),
        build(Model, MOE | {"ffn": 16}).expert_ffn_size,
        build(Model, MOE | {"moe_ffn": 6}).expert_ffn_size,
    ) == (2, 16, 6)


def test_dense_layers_come_first() -> None:
    model = build(Model, MOE | {"layers": 4, "dense_layers": 3})

    assert [model.is_moe_layer(layer) for layer in range(4)] == [False, False, False, True]


def test_a_key_that_python_reserves() -> None:
    assert key_of("global_") == "global"
    assert build(Batch, {"global": 3}).global_ == 3


def test_the_run_is_called_as_the_recipe() -> None:
    data = {
        "name": "a",
        "gpus": 1,
        "model": MODEL,
        "cluster": CLUSTER,
        "backend": {"name": "megatron-lm"},
        "batch": {"global": 1},
    }

    assert build(Recipe, data).run_name == "a"
    assert build(Recipe, data | {"run": {"name": "b-1_2.3"}}).run_name == "b-1_2.3"

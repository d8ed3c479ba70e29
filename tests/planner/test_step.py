"""The step: published points, the sum of its parts, and one model for numbers and arrays."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy
import pytest

from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.planner.candidate import Candidate, Stages, candidate_of
from llmtrain.planner.costs import layer_kernels
from llmtrain.planner.curves import curves_of
from llmtrain.planner.plan import make_plan, plan_json
from llmtrain.planner.stacks import FOLDER, chosen_stack, stack_of
from llmtrain.planner.step import case_of, recipe_step, step_time


def seconds(*arguments: str, stack: str | None = None) -> float:
    """Step time of a recipe."""
    step = recipe_step(compose(arguments), stack)
    assert step is not None
    return float(step.seconds)


@pytest.mark.parametrize(
    ("arguments", "published", "within"),
    [
        (["recipe=gpt3-530b", "gpus=280", "batch.global=280"], 37.83, 0.04),
        (["recipe=gpt3-530b"], 39.15, 0.04),
        (["recipe=gpt3-1t"], 71.49, 0.09),
        (["recipe=mt-nlg-530b"], 60.1, 0.03),
        (["recipe=bloom-176b"], 105.0, 0.10),
        (["recipe=glm-130b"], 88.5, 0.08),
        (["recipe=llama3-70b"], 14.92, 0.05),
        (["recipe=llama3-8b", "gpus=128", "batch.global=2048"], 13.10, 0.05),
        (["recipe=mlperf-gpt3-175b"], 2.60, 0.06),
    ],
)
def test_published_steps(arguments: list[str], published: float, within: float) -> None:
    """Step times of data/published_points.csv and recipe facts; BLOOM's ran on slower links."""
    assert seconds(*arguments) == pytest.approx(published, rel=within)


def test_the_breakdown_adds_up() -> None:
    """Exposed seconds, none negative, summing to the step."""
    for name in ("gpt3-530b", "deepseek-v3", "llama3-405b", "opt-175b", "mixtral-8x7b"):
        plan = plan_json(make_plan(compose([f"recipe={name}"])))

        assert sum(plan["breakdown"].values()) == pytest.approx(plan["step_seconds"])
        assert min(plan["breakdown"].values()) >= 0
        low, high = plan["step_seconds_range"]
        assert low < plan["step_seconds"] < high
        assert 0 < plan["mfu"] <= plan["hfu"] < 1


def test_throughput_and_step_agree() -> None:
    """Tokens a second, TFLOP/s and MFU are the same statement."""
    recipe = compose(["recipe=llama3-70b"])
    plan = plan_json(make_plan(recipe))
    tokens = recipe.batch.global_ * recipe.model.seq

    each = tokens / recipe.gpus / plan["step_seconds"]
    assert plan["tokens_per_second_per_gpu"] == pytest.approx(each)
    peak = plan["mfu_convention"]["peak_tflops"]
    assert plan["model_tflops_per_gpu"] / peak == pytest.approx(plan["mfu"])
    assert plan["mfu_convention"]["attention"] == "full"


def test_nothing_is_said_of_a_cpu() -> None:
    """No curves, no step time."""
    plan = plan_json(make_plan(compose(["recipe=gpt-tiny"])))

    assert plan["step_seconds"] is plan["breakdown"] is plan["mfu_convention"] is None


def test_more_work_takes_longer() -> None:
    """Recompute, a larger batch and a slower fabric cost time."""
    base = seconds("recipe=gpt3-530b")

    assert seconds("recipe=gpt3-530b", "recompute.kind=full") > 1.2 * base
    assert seconds("recipe=gpt3-530b", "batch.global=4480") > 1.8 * base
    assert seconds("recipe=gpt3-530b", "cluster.network.nic_gb_per_s=6.25") > base
    assert seconds("recipe=gpt3-530b", "parallel.vpp=1") > base


def breakdown(*arguments: str, stack: str | None = None) -> dict[str, float]:
    """Where a recipe's step goes."""
    step = recipe_step(compose(arguments), stack)
    assert step is not None
    return {key: float(value) for key, value in step.breakdown.items()}


def test_warm_up_waits_for_its_messages() -> None:
    """Interleaved, few micro-batches overlap less of the pipeline's messages than many."""
    few = breakdown("recipe=mlperf-gpt3-175b", "batch.global=896")["pipeline"]
    many = breakdown("recipe=mlperf-gpt3-175b", "batch.global=14336")["pipeline"]

    assert 16 * few > 1.5 * many > 0


def test_narrow_gradients_cost_less() -> None:
    """16-bit gradients are summed and reduced in half the bytes; DeepSpeed's like anyway."""
    wide = breakdown("recipe=llama3-70b")
    narrow = breakdown("recipe=llama3-70b", "optim.grad_dtype=weights")

    assert narrow["gemm"] < wide["gemm"]
    assert narrow["data_parallel"] < wide["data_parallel"]


def test_a_stack_may_reduce_to_all() -> None:
    """Sharded states or not, Aleph Alpha's library reduces every gradient to every replica."""
    recipe = compose(["recipe=llama3-8b", "optim.overlap_grad_reduce=false"])
    curves = curves_of("hopper")
    assert curves is not None
    stack = stack_of("aleph-alpha-flash2")
    told = [
        step_time(case_of(recipe, curves, replace(stack, reduce_all=flag, gather_overlap=1.0)))
        for flag in (0, 1)
    ]

    assert told[1].breakdown["data_parallel"] > 1.4 * told[0].breakdown["data_parallel"]


def test_deepep_sends_a_token_once_a_node() -> None:
    """Its exchange takes less, where a token has several experts on a node."""
    asked = ("recipe=deepseek-v3",)
    plain = breakdown(*asked, "kernels.dispatcher=alltoall")
    once = breakdown(*asked)

    assert once["expert_parallel"] < 0.8 * plain["expert_parallel"]
    assert once["elementwise"] < plain["elementwise"]


def test_boards_reach_what_was_measured() -> None:
    """GB200's data sheet has 11 % more products than B200's; a search over shapes found 5 %."""
    recipe, curves = compose(["recipe=llama3-8b"]), curves_of("blackwell")
    assert curves is not None
    rates = []
    for name, tflops in (("B200-HGX", 2250.0), ("GB200", 2500.0), ("another", 2250.0)):
        gpu = replace(recipe.cluster.gpu, name=name, arch="blackwell", bf16_tflops=tflops)
        on_it = replace(recipe, cluster=replace(recipe.cluster, gpu=gpu))
        rates.append(tflops * case_of(on_it, curves, stack_of("nemo-2024")).machine.clock)

    assert rates == pytest.approx([2250.0, 1.05 * 2250.0, 2250.0])


def test_every_expert_has_its_kernels() -> None:
    """A rank with more experts launches more, and more still where their inputs are cast."""
    curves, stack = curves_of("hopper"), stack_of("nemo-2024")
    assert curves is not None
    counts = []
    for ep, kind in ((64, "bf16"), (32, "bf16"), (32, "fp8")):
        recipe = compose(["recipe=deepseek-v3", f"parallel.ep={ep}", f"precision={kind}"])
        counts.append(layer_kernels(case_of(recipe, curves, stack), moe=True))

    assert [count - counts[0] for count in counts] == [0, 4 * 2, 4 * 2 + 8 * 4]


def test_weights_gathered_in_fp8_take_a_byte() -> None:
    """Those of products, with one scale a tensor; blocks are gathered in 16 bits."""
    asked = ("recipe=llama3-70b", "precision=fp8", "optim.overlap_param_gather=false")
    wide, narrow, blocks = (
        breakdown(*asked, f"precision.fp8.param_gather={flag}", f"precision.fp8.recipe={kind}")
        for flag, kind in (("false", "tensorwise"), ("true", "tensorwise"), ("true", "mxfp8"))
    )

    assert narrow["data_parallel"] < 0.9 * wide["data_parallel"]
    assert blocks["data_parallel"] == pytest.approx(wide["data_parallel"], rel=0.01)


def test_biases_of_experts_take_time() -> None:
    """They are weighted and added expert by expert."""
    asked = ("recipe=mixtral-8x7b", "backend.approximate=true")
    plain, biased = (breakdown(*asked, f"model.bias={flag}") for flag in ("false", "true"))

    assert biased["elementwise"] > 1.2 * plain["elementwise"]


def test_dropout_takes_time() -> None:
    """Masks are written and read, fused attention draws a number for every element."""
    without = breakdown("recipe=llama3-70b")
    dropping = breakdown("recipe=llama3-70b", "model.dropout=0.1")

    assert dropping["attention"] == pytest.approx(without["attention"] / 0.8)
    assert dropping["elementwise"] > without["elementwise"]


def test_norms_write_fp8_themselves() -> None:
    """What follows a norm is cast for less, and gathered in half the bytes."""
    recipe = compose(["recipe=mlperf-gpt3-175b"])
    curves, stack = curves_of("hopper"), stack_of(chosen_stack(recipe))
    assert curves is not None
    fused = step_time(case_of(recipe, curves, stack)).breakdown
    apart = step_time(case_of(recipe, curves, replace(stack, cast_normed=1.0, gather_fp8=0.0)))

    assert fused["gemm"] < apart.breakdown["gemm"]
    assert fused["tensor_parallel"] < apart.breakdown["tensor_parallel"]


def test_recompute_leaves_out_what_is_kept() -> None:
    """PyTorch ends before the last product, JAX saves what its policy names."""
    recipe = ["recipe=llama3-8b", "recompute.kind=full"]
    again = {
        stack: breakdown(*recipe, stack=stack)["recompute"]
        for stack in ("fsdp-compiled", "maxtext-2025", "paxml-2024-dots")
    }
    curves = curves_of("hopper")
    assert curves is not None
    whole = replace(stack_of("fsdp-compiled"), kept=())

    everything = step_time(case_of(compose(recipe), curves, whole)).breakdown["recompute"]

    assert again["paxml-2024-dots"] < again["maxtext-2025"] < again["fsdp-compiled"]
    assert again["fsdp-compiled"] < 0.9 * everything


def test_the_rank_order_decides_what_crosses_nodes() -> None:
    """With pp before dp, replicas of a small model lie further apart."""
    recipe = compose(["recipe=gpt3-40b"])
    other = changed(recipe, {"parallel.order": "tp-cp-ep-pp-dp"})
    first, second = candidate_of(recipe), candidate_of(other)

    assert (first.data_stride, first.pipeline_stride) == (4, 4 * 128)
    assert (second.data_stride, second.pipeline_stride) == (8, 4)
    one, two = recipe_step(recipe), recipe_step(other)
    assert one is not None and two is not None
    assert one.breakdown["pipeline"] > two.breakdown["pipeline"]


def test_scalar_path_needs_no_numpy() -> None:
    """A plan imports neither NumPy nor torch."""
    code = (
        "import sys\n"
        "from llmtrain.config.compose import compose\n"
        "from llmtrain.planner.step import recipe_step\n"
        "assert recipe_step(compose(['recipe=deepseek-v3'])) is not None\n"
        "sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))\n"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LAYOUTS = [
    {"parallel.tp": tp, "parallel.pp": pp, "parallel.vpp": vpp, "batch.micro": micro}
    for tp in (1, 2, 4, 8)
    for pp, vpp in ((1, 1), (2, 1), (4, 5), (8, 2), (16, 1))
    for micro in (1, 2)
]


@pytest.mark.parametrize("name", ["llama3-70b", "gpt3-175b", "mixtral-8x7b", "bloom-176b"])
def test_arrays_are_the_same_model(name: str) -> None:
    """Many layouts at once give what each gives alone."""
    base = compose([f"recipe={name}"])
    plain = {"parallel.layers_per_stage": None, "parallel.account_for_embedding": False}
    plain |= {"parallel.account_for_loss": False}
    layouts = [
        x for x in LAYOUTS if base.model.layers % (x["parallel.pp"] * x["parallel.vpp"]) == 0
    ]
    recipes = [changed(base, plain | layout) for layout in layouts]

    alone = [float(_step(recipe)) for recipe in recipes]
    together = _step_arrays(recipes)

    assert together == pytest.approx(alone, rel=1e-9)


def _step(recipe: Recipe) -> float:
    step = recipe_step(recipe)
    assert step is not None
    return step.seconds


def _step_arrays(recipes: list[Recipe]) -> list[float]:
    base = recipes[0]
    curves = curves_of(base.cluster.gpu.arch)
    assert curves is not None
    case = case_of(base, curves, stack_of(chosen_stack(base)))
    each = [candidate_of(recipe) for recipe in recipes]
    columns = _columns(each, [f.name for f in fields(Candidate) if f.name != "modules"])
    stages = Stages(**_columns(columns.pop("stages"), [field.name for field in fields(Stages)]))
    layout = Candidate(stages=stages, modules=each[0].modules, **columns)
    found = step_time(replace(case, layout=layout)).seconds
    return [float(value) for value in numpy.asarray(found)]


def _columns(rows: Sequence[object], names: Sequence[str]) -> dict[str, Any]:
    return {name: numpy.array([getattr(row, name) for row in rows]) for name in names}


def test_every_stack_can_be_read() -> None:
    """Each data file makes a stack, whatever it is like."""
    names = [file.stem for file in FOLDER.glob("*.yaml") if file.stem != "choice"]

    assert len(names) > 10
    for name in names:
        assert stack_of(name).name == name

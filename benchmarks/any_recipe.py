"""Random recipes: always a plan or errors, and every repair gives a valid plan.

``python -m benchmarks.any_recipe [--composed N] [--built N]``: as many through the command line's
composition, and as many made of dataclasses. The tests run a few of each.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from llmtrain.config.change import as_overrides, changed
from llmtrain.config.compose import compose
from llmtrain.config.errors import Problem, RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.planner.mending import LAUNCH, read
from llmtrain.planner.plan import Plan, make_plan, plan_json

NAMES = (
    *("gpt-tiny", "gpt3-126m", "gpt3-530b", "gpt3-175b", "bloom-176b", "mt-nlg-530b"),
    *("llama3-8b", "llama3-405b", "mixtral-8x7b", "deepseek-v3", "nemotron4-340b", "glm-130b"),
)
"""Recipes of every kind of model, machine and backend."""

degree = st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 35, 64, 0, -1])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "gpus": st.sampled_from([1, 2, 7, 8, 12, 64, 100, 384, 1000, 2048, 2240, 16384, 0]),
    "tokens": st.sampled_from([None, 1, 10**9, 15 * 10**12]),
    "run.steps": st.sampled_from([None, 1, 1000]),
    "nodes.spare": st.sampled_from([0, 3]),
    "parallel.tp": degree,
    "parallel.pp": degree,
    "parallel.vpp": st.sampled_from([1, 2, 3, 7]),
    "parallel.cp": st.sampled_from([1, 2, 3, 8]),
    "parallel.ep": degree,
    "parallel.etp": st.none() | degree,
    "parallel.sequence": st.booleans(),
    "parallel.order": st.sampled_from(["tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp"]),
    "parallel.account_for_embedding": st.booleans(),
    "parallel.account_for_loss": st.booleans(),
    "batch.micro": st.sampled_from([1, 2, 3, 4, 16]),
    "batch.global": st.sampled_from([1, 7, 64, 100, 1000, 1921, 2048, 2240]),
    "optim.zero": st.integers(0, 4),
    "optim.offload": st.booleans(),
    "optim.grad_dtype": st.sampled_from(["fp32", "weights"]),
    "optim.overlap_grad_reduce": st.booleans(),
    "precision.kind": st.sampled_from(["fp32", "fp16", "bf16", "fp8"]),
    "precision.fp8.recipe": st.sampled_from(["delayed", "tensorwise", "blockwise", "mxfp8"]),
    "precision.fp8.param_gather": st.booleans(),
    "recompute.kind": st.sampled_from(["none", "selective", "full"]),
    "recompute.method": st.sampled_from(["uniform", "block"]),
    "recompute.layers": st.integers(1, 9),
    "kernels.attention": st.sampled_from(["auto", "unfused", "flash", "fused"]),
    "kernels.tp_overlap": st.booleans(),
    "backend.name": st.sampled_from(
        [
            "megatron-lm",
            "megatron-core",
            "megatron-core+deepspeed",
            "megatron-deepspeed",
            "deepspeed",
        ]
    ),
    "backend.approximate": st.booleans(),
    "data.split": st.sampled_from([(0.98, 0.02, 0.0), (1.0, 0.0, 0.0), (969, 30, 1), (0, 1, 0)]),
    "data.validation.interval": st.sampled_from([None, 1, 100]),
    "checkpoint.interval": st.sampled_from([None, 1, 500]),
    "model.layers": st.sampled_from([1, 12, 61, 96, 105]),
    "model.hidden": st.sampled_from([64, 1000, 4096, 12288]),
    "model.heads": st.sampled_from([1, 7, 32, 96]),
    "model.kv_heads": st.sampled_from([None, 1, 8]),
    "model.vocab": st.sampled_from([1, 256, 50257, 200_000]),
    "model.seq": st.sampled_from([1, 128, 2048, 131072]),
    "model.positions": st.sampled_from(["learned", "rope", "alibi", "none"]),
    "model.activation": st.sampled_from(["gelu", "swiglu", "relu2"]),
    "model.tied": st.booleans(),
    "model.bias": st.booleans(),
    "model.mtp": st.sampled_from([0, 1]),
}
"""Keys with values, wrong ones among them."""

TOGETHER: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "ramp": st.fixed_dictionaries(
        {
            "batch.ramp.start": st.sampled_from([1, 16, 32, 64, 7, 0]),
            "batch.ramp.step": st.sampled_from([1, 16, 32, 64, 3]),
            "batch.ramp.samples": st.sampled_from([1, 1000, 10**6, 10**9, -1]),
        }
    ),
    "experts": st.fixed_dictionaries(
        {
            "model.experts": st.sampled_from([1, 4, 8, 60, 256]),
            "model.topk": st.sampled_from([1, 2, 8]),
            "model.moe_ffn": st.sampled_from([None, 64, 2048]),
        },
        optional={
            "model.shared_experts": st.sampled_from([0, 1, 2]),
            "model.dense_layers": st.sampled_from([0, 1, 12]),
        },
    ),
}
"""Keys that make sense together, as they are typed."""

CLUSTERS = st.sampled_from(
    ["dgx-a100-40g", "dgx-a100-80g", "dgx-h100", "dgx-h200", "h800", "aws-p4d", "local-cpu"]
)


def changes(most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Up to ``most`` keys."""
    keys = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=most, unique=True)
    return keys.flatmap(lambda some: st.fixed_dictionaries({key: VALUES[key] for key in some}))


def typed(most: int) -> st.SearchStrategy[dict[str, Any]]:
    """The same, and now and then keys that belong together."""
    beside: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.one_of(*TOGETHER.values())
    return st.builds(lambda some, more: {**some, **more}, changes(most), beside)


@cache
def shipped(name: str, cluster: str | None = None) -> Recipe:
    """A shipped recipe, on its own or on another cluster."""
    return compose([f"recipe={name}", *([f"cluster={cluster}"] if cluster else [])])


def check_composed(name: str, change: dict[str, Any]) -> str:
    """Through composition, as typed: a plan or errors, and repairs that can be pasted."""
    given_keys = [f"recipe={name}", *as_overrides(change)]
    try:
        plan = make_plan(compose(given_keys, (), LAUNCH))
    except RecipeError as error:
        problems = error.problems
        said = "errors"
    else:
        problems = plan.errors
        said = answered(plan)
    for repair in _offered(problems):
        keys = {text.partition("=")[0] for text in repair}
        rest = [text for text in given_keys if text.partition("=")[0] not in keys]
        mended = make_plan(compose([*rest, *repair], (), LAUNCH))
        assert mended.errors == (), (given_keys, repair, mended.errors)
    return said


def check_built(recipe: Recipe, change: dict[str, Any]) -> str:
    """On the dataclasses: the same."""
    try:
        broken = changed(recipe, change)
    except RecipeError:
        return "refused"
    try:
        plan = make_plan(broken)
    except RecipeError as error:
        problems = error.problems
        said = "errors"
    else:
        problems = plan.errors
        said = answered(plan)
    for repair in _offered(problems):
        mended = make_plan(changed(broken, read(repair)))
        assert mended.errors == (), (recipe.name, change, repair, mended.errors)
    return said


def answered(plan: Plan) -> str:
    """A plan says what it must, and its sums add up."""
    said = plan_json(plan)
    assert said["errors"] or said["fits"] is not False
    if said["step_seconds"] is not None:
        total = sum(said["breakdown"].values())
        assert abs(total / said["step_seconds"] - 1.0) < 1e-9
        assert all(value >= 0 for value in said["breakdown"].values()), said["breakdown"]
        low, high = said["step_seconds_range"]
        assert low <= said["step_seconds"] <= high
    for stage in said["stages"]:
        parts = dict(stage["memory"])
        assert parts.pop("total") == sum(parts.values())
        assert all(part >= 0 for part in parts.values())
    assert said["peak_memory_bytes"] == max(s["memory"]["total"] for s in said["stages"])
    return "errors in the plan" if plan.errors else "plan"


def _offered(problems: Sequence[Problem]) -> list[tuple[str, ...]]:
    return [repair.overrides for problem in problems for repair in problem.repairs]


def _settings(count: int, *, derandomize: bool) -> settings:
    """No shrinking: a failure names its recipe."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def run_composed(count: int, *, derandomize: bool = False) -> Counter[str]:
    """``count`` recipes through composition."""
    answers = Counter[str]()

    @given(name=st.sampled_from(NAMES), change=typed(5))
    @_settings(count, derandomize=derandomize)
    def run(name: str, change: dict[str, Any]) -> None:
        answers[check_composed(name, change)] += 1

    run()
    return answers


def run_built(count: int, *, derandomize: bool = False) -> Counter[str]:
    """``count`` recipes on the dataclasses."""
    answers = Counter[str]()

    @given(name=st.sampled_from(NAMES), cluster=st.none() | CLUSTERS, change=changes(9))
    @_settings(count, derandomize=derandomize)
    def run(name: str, cluster: str | None, change: dict[str, Any]) -> None:
        try:
            recipe = shipped(name, cluster)
        except RecipeError:
            recipe = shipped(name)
        answers[check_built(recipe, change)] += 1

    run()
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both and say how the recipes were answered."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.any_recipe", description=__doc__)
    parser.add_argument("--composed", type=int, default=300, help="through composition")
    parser.add_argument("--built", type=int, default=10_000, help="on the dataclasses")
    asked = parser.parse_args(arguments)
    for name, run, count in (
        ("composed", run_composed, asked.composed),
        ("built", run_built, asked.built),
    ):
        start = time.perf_counter()
        answers = run(count) if count else Counter()
        took = time.perf_counter() - start
        said = ", ".join(f"{number} {answer}" for answer, number in answers.most_common())
        print(f"{name}: {sum(answers.values())} recipes, no traceback, in {took:.0f} s: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

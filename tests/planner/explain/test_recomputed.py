"""``plan --explain``: from the numbers of a field its formula gives the field."""

from collections.abc import Callable
from math import exp, expm1, log2
from typing import Any

import pytest

from llmtrain.config.compose import compose
from llmtrain.planner.explain.explanation import explanation
from llmtrain.planner.plan import Plan, make_plan

Numbers = dict[str, Any]

RECIPES = {
    "pipeline": ["recipe=gpt3-530b", "price.gpu_hour=2", "nodes.spare=4"],
    "ramp, ends": ["recipe=mt-nlg-530b", "price.gpu_hour=2"],
    "experts, fp8": ["recipe=deepseek-v3", "price.gpu_hour=2"],
    "experts, etp": ["recipe=mixtral-8x7b", "price.gpu_hour=2"],
    "context": ["recipe=llama3-405b", "price.gpu_hour=2"],
    "full recompute": ["recipe=gpt3-175b", "recompute.kind=full", "price.gpu_hour=2"],
    "zero 3": [
        "recipe=llama2-7b", "backend=deepspeed", "optim.zero=3", "parallel.tp=1",
        "parallel.sequence=false", "price.gpu_hour=2",
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=RECIPES)
def plan(request: pytest.FixtureRequest) -> Plan:
    """Plans that differ in what their steps spend time on."""
    return make_plan(compose(RECIPES[request.param]))


def pieces(n: Numbers) -> float:
    """A micro-batch on the slowest stage."""
    layers = sum(
        n.get(f"{kind} layers of the slowest stage", 0) * n.get(f"{kind} layer, s", 0.0)
        for kind in ("dense", "MoE")
    )
    return float(layers + n.get("embedding, s", 0.0) + n.get("head, s", 0.0))


def each(n: Numbers) -> float:
    """All micro-batches."""
    whole = pieces(n) + n.get("the host's time a micro-batch, s", 0.0)
    return float(n["micro-batches"] * whole * n["factor measured here"])


def shown(seconds: float, hidden: float, window: float) -> float:
    """What is left of a message beside a pass."""
    return seconds - min(hidden * seconds, window)


def replicas(n: Numbers) -> float:
    """Gradients and weights between replicas."""
    gradients, gathered = n["gradients scattered, s"], n["weights gathered, s"]
    if n["ZeRO stage"] == 3:
        wait, hidden = n["latency of its rings, s"], n["share that can hide"]
        there = shown(gathered + wait, hidden, n["forward pass, s"])
        back = shown(gathered + gradients + 2 * wait, hidden, n["backward pass, s"])
        return float(n["micro-batches"] * (there + back))
    time = shown(
        gradients * n["collectives of the gradients"],
        n["share of gradients that can hide"],
        n["backward passes beside them, s"],
    )
    if n["ZeRO stage"]:
        hidden = n["share of weights that can hide"]
        time += shown(gathered, hidden, n["forward passes beside them, s"])
    return float(time + n["the tied embedding's gradient, s"])


def optimizer(n: Numbers) -> float:
    """The optimizer."""
    shards = (n["dp × cp"], n["edp"]) if n["ZeRO stage"] else (1, 1)
    dense = n["parameters of a rank's layers"] + n["of an embedding"]
    own = dense / shards[0] + n["of its experts"] / shards[1]
    return float(own * n["bytes a parameter"] / n["bytes a second"])


def pipeline(n: Numbers) -> float:
    """Messages between stages."""
    if n["pp"] == 1:
        return 0.0
    return float(n["micro-batches"] * 2 * n["vpp"] * n["one message, s"] * (1 - n["share hidden"]))


def daly(n: Numbers, steps: str, blocked: str) -> float:
    """Goodput, by Daly's equation 20."""
    mean, interval = n["between failures, s"], n[steps] * n["mean step, s"]
    lost = n["restart_seconds"] + n.get("until it is safe, s", 0.0)
    whole = mean * exp(lost / mean) * expm1((interval + n[blocked]) / mean)
    return float(interval / whole)


TRANSIENT = (
    *("its transients", "buffers", "buckets and the optimizer's step"),
    *("layers gathered by ZeRO-3", "copies of gradients", "the engine's buckets"),
)


def sharded(n: Numbers, size: float, start: int) -> float:
    """Bytes of a rank's parameters."""
    shards = (n["dp × cp"], n["edp"]) if n["ZeRO stage"] >= start else (1, 1)
    return float(size * (n["parameters of a rank"] / shards[0] + n["of its experts"] / shards[1]))


def activations(n: Numbers) -> float:
    """What all chunks have in flight."""
    total, embedded = 0.0, 0
    for name, value in n.items():
        if name.startswith("chunk "):
            count, size = value.split(" in flight × ")
            total += float(count) * (float(size) + n["outputs that the pipeline keeps"])
            embedded = embedded or int(float(count))
    return float(n["memory factor"] * (total + embedded * n["the embedding keeps"]))


BY_HAND: dict[str, Callable[[Numbers], float]] = {
    **dict.fromkeys(
        (
            *("breakdown.gemm", "breakdown.attention", "breakdown.elementwise"),
            *("breakdown.recompute", "breakdown.launch", "breakdown.tensor_parallel"),
            *("breakdown.context_parallel", "breakdown.expert_parallel"),
        ),
        each,
    ),
    "breakdown.pipeline": pipeline,
    "breakdown.bubble": lambda n: (
        (n["on all stages together, s"] - n["a micro-batch on the slowest stage, s"]) / n["vpp"]
    ),
    "breakdown.data_parallel": replicas,
    "breakdown.optimizer": optimizer,
    "breakdown.host": lambda n: n["the host's time a step, s"],
    "breakdown.stragglers": lambda n: (
        n["the rest, s"] * n["drift"] * log2(n["gpus"] / n["ranks of a node"])
    ),
    "step_seconds": lambda n: sum(value for value in n.values() if isinstance(value, float)),
    "mfu": lambda n: (
        n["model operations of a step"] / n["step_seconds"] / n["gpus"] / n["peak TFLOP/s"] / 1e12
    ),
    "days": lambda n: n["steps"] * n["mean step, s"] / 86400,
    "goodput.fraction": lambda n: daly(n, "interval_steps", "a checkpoint blocks, s"),
    "goodput.best_fraction": lambda n: daly(n, "best_interval_steps", "a checkpoint blocks, s"),
    "goodput.asynchronous_fraction": lambda n: daly(
        n, "asynchronous_interval_steps", "a snapshot blocks, s"
    ),
    "goodput.days": lambda n: n["net days"] / n["fraction"],
    "goodput.gpu_hours": lambda n: n["days"] * 24 * n["gpus, those of spare nodes too"],
    "goodput.failures": lambda n: n["days"] * 86400 / n["between failures, s"],
    "goodput.hours_between_failures": lambda n: n["node-days a failure"] * 24 / n["nodes"],
    "goodput.restart_seconds": lambda n: sum(
        value for name, value in n.items() if name.endswith(", s")
    ),
    "goodput.restart_parts.load": lambda n: n["checkpoint_bytes"] / n["storage, bytes a second"],
    "goodput.checkpoint_seconds": lambda n: n["checkpoint_bytes"] / n["storage, bytes a second"],
    "goodput.snapshot_seconds": lambda n: (
        n["checkpoint_bytes"] / n["bytes a second of a GPU"] / n["gpus"]
    ),
    "goodput.waiting_days": lambda n: n["failures"] * n["a failure waits, s"] / 86400,
    "goodput.spare_worth_days": lambda n: (
        n["failures"] * (n["a failure waits, s"] - n["with one spare more, s"]) / 86400
    ),
    "goodput.checkpoints_kept_bytes": lambda n: n["checkpoint_bytes"] * (n["checkpoint.keep"] + 1),
    "goodput.checkpoint_bytes_per_day": lambda n: (
        n["checkpoint_bytes"] * 86400 / n["interval_steps"] / n["mean step, s"]
    ),
    "goodput.energy_mwh": lambda n: n["goodput.gpu_hours"] * n["gpu.tdp_watts"] / 1e6,
    "goodput.price": lambda n: n["goodput.gpu_hours"] * n["price of a GPU-hour"],
    "checkpoint_bytes": lambda n: (
        n["parameters stored"] * (n["bytes of a weight"] + n["bytes of its optimizer states"])
    ),
    "params.total": lambda n: (
        sum(
            n.get(f"{kind} layers", 0) * n.get(f"parameters of a {kind} layer", 0)
            for kind in ("dense", "MoE")
        )
        + sum(
            n[name]
            for name in ("embedding", "final norm", "output layer", "multi-token prediction")
        )
    ),
    "params.per_stage.0": lambda n: (
        n["parameters of a rank"] * n["tp"] + n["of its experts"] * n["ep"] * n["etp"]
    ),
    "stages.memory.weights": lambda n: (
        sharded(n, n["bytes of a weight"], 3)
        + n["its copies in FP8"]
        * (n["parameters of a rank"] + n["of its experts"] - n["of embedding and output layer"])
    ),
    "stages.memory.gradients": lambda n: sharded(n, n["bytes of a gradient"], 2),
    "stages.memory.optimizer": lambda n: sharded(n, n["bytes of its optimizer states"], 1),
    "stages.memory.workspace": lambda n: (
        n["memory factor"] * sum(n[name] for name in TRANSIENT)
        + sum(n[name] for name in ("CUDA context", "NCCL", "the allocator's slack"))
    ),
    "stages.memory.activations": activations,
}
"""The formula of each field, of its numbers alone."""


@pytest.mark.parametrize("field", BY_HAND)
def test_the_formula_gives_the_field(plan: Plan, field: str) -> None:
    """Of its numbers alone, as a reader has them."""
    told = explanation(plan, field)

    assert BY_HAND[field](told.numbers) == pytest.approx(told.value, rel=1e-6)


def test_the_products_give_the_layer(plan: Plan) -> None:
    """Forward and backward times of the products shown add up to the layer's, and the head's."""
    numbers = explanation(plan, "breakdown.gemm").numbers
    for label in ("dense layer", "MoE layer", "head"):
        if f"{label}, s" not in numbers or (plan.recipe.model.mtp and label == "head"):
            continue
        whole = numbers["factor of the stack"] * sum(
            milliseconds(value) for name, value in numbers.items() if name.startswith(f"{label}: ")
        )
        assert whole / 1e3 == pytest.approx(numbers[f"{label}, s"], rel=1e-5)


def milliseconds(product: str) -> float:
    """Of ``m × k × n: forward + backward ms``."""
    times = product.partition(": ")[2].removesuffix(" ms")
    return sum(float(part) for part in times.split(" + "))

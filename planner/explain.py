"""What a field of the plan means here: formula, source, and the numbers that went in."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from llmtrain.config.errors import Problem, UsageError
from llmtrain.planner.plan import Plan, plan_json
from llmtrain.planner.sets import name_of
from llmtrain.planner.speed import ATTENTION, speed_of
from llmtrain.planner.stacks import chosen_stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """One field of a plan."""

    field: str
    """As in ``plan --json``."""
    value: Any
    """What the plan says."""
    formula: str
    """How it is found."""
    source: str
    """Where the formula was read."""
    numbers: dict[str, Any]
    """What went in."""


def explanation(plan: Plan, field: str) -> Explanation:
    """Explain ``field``, a dotted key of ``plan --json``.

    Raises:
        UsageError: if the plan has no such field, or none that needs explaining.
    """
    name = field if field in FIELDS else field.partition(".")[0]
    if name not in FIELDS:
        close = get_close_matches(field, FIELDS, n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        hint = f"{meant}fields: {', '.join(FIELDS)}"
        raise UsageError(Problem(code="unknown_field", says=f"no field {field!r}", hint=hint))
    formula, source, numbers = FIELDS[name]
    return Explanation(
        field=field,
        value=_value(plan, field),
        formula=formula,
        source=source,
        numbers=numbers(plan),
    )


def _value(plan: Plan, field: str) -> Any:
    value: Any = plan_json(plan)
    for part in field.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UsageError(Problem(code="unknown_field", says=f"no field {field!r}"))
        value = value[part]
    return value


def _layout(plan: Plan) -> dict[str, Any]:
    parallel = plan.recipe.parallel
    return {"gpus": plan.recipe.gpus, "tp": parallel.tp, "pp": parallel.pp, "cp": parallel.cp}


def _experts(plan: Plan) -> dict[str, Any]:
    parallel = plan.recipe.parallel
    sizes = {"etp": parallel.expert_tp, "ep": parallel.ep, "pp": parallel.pp}
    return {"gpus": plan.recipe.gpus, **sizes}


def _batch(plan: Plan) -> dict[str, Any]:
    batch = plan.recipe.batch
    return {"batch.global": batch.global_, "batch.micro": batch.micro, "dp": plan.dp}


def _shape(plan: Plan) -> dict[str, Any]:
    model, tp = plan.recipe.model, plan.recipe.parallel.tp
    names = ("layers", "hidden", "heads", "vocab", "seq", "positions", "tied", "bias", "norm")
    shape = {name: getattr(model, name) for name in names}
    more = {"kv_heads": model.kv_head_count, "ffn": model.ffn_size}
    return {**shape, **more, "padded vocabulary": model.padded_vocab(tp)}


def _memory(plan: Plan) -> dict[str, Any]:
    stage = max(plan.stages, key=lambda each: each.memory.total)
    memory, moment = stage.memory, stage.peak.fullest
    return {
        "worst stage": stage.number,
        "parameters of a rank": stage.parameters,
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations": memory.activations,
        "workspace": memory.workspace,
        "fullest moment": moment.phase,
        "micro-batches in flight": int(moment.microbatches),
    }


def _verdict(plan: Plan) -> dict[str, Any]:
    needed = max(stage.peak.needed for stage in plan.stages)
    return {"needed": needed, "capacity": plan.recipe.cluster.gpu.memory_bytes}


def _step(plan: Plan) -> dict[str, Any]:
    speed = speed_of(plan.recipe)
    if speed is None:
        return {}
    stack = {"software stack": chosen_stack(plan.recipe), "microbatches": plan.microbatches}
    seconds = {name: f"{value:.3f} s" for name, value in speed.breakdown.items() if value}
    return {**stack, **seconds}


def _data(plan: Plan) -> dict[str, Any]:
    seq = plan.recipe.model.seq
    return {"data.kind": plan.recipe.data.kind} | {
        f"{name_of(each)} ({each.use})": f"{each.samples or '?'} × {seq} / {each.tokens or '?'}"
        for each in plan.sets
    }


def _rate(plan: Plan) -> dict[str, Any]:
    speed = plan.speed
    if speed is None:
        return {}
    return {
        "step_seconds": speed.step_seconds,
        "tokens of a step": plan.recipe.batch.global_ * plan.recipe.model.seq,
        "gpus": plan.recipe.gpus,
        "peak TFLOP/s": speed.peak_tflops,
        "attention": ATTENTION,
    }


Numbers = Callable[[Plan], dict[str, Any]]

_COUNT = "one rank's matrices, counted as megatron-core builds them"
_BUILT = "megatron-core 0.16 models/gpt, transformer; held against its modules on the meta device"
_STATES = "bytes a parameter by precision and ZeRO stage; activations in flight at the peak"
_STEP = "slowest stage × micro-batches + bubble + exposed data parallel + optimizer + host"

FIELDS: dict[str, tuple[str, str, Numbers]] = {
    "parallel.dp": ("gpus / (tp × pp × cp)", "Megatron-LM, parallel_state", _layout),
    "parallel.edp": ("gpus / (etp × ep × pp)", "Megatron-LM, parallel_state", _experts),
    "batch.microbatches": ("batch.global / (batch.micro × dp)", "arXiv 2104.04473, 2.2", _batch),
    "params": (_COUNT, _BUILT, _shape),
    "peak_memory_bytes": (
        f"weights + gradients + optimizer + activations + workspace of the worst rank: {_STATES}",
        "Megatron-LM docs/dist_optimizer; arXiv 1910.02054, 5; arXiv 2205.05198, 4",
        _memory,
    ),
    "verdict": (
        "no: needed > capacity; tight: needed × (1 + the model's error) > capacity; else fits",
        "planner/data/memory.yaml, error_band",
        _verdict,
    ),
    "data": (
        "epochs of a set: its samples × model.seq / tokens of its part of the split",
        "megatron-core 0.16 datasets/gpt_dataset.py; sizes from the .idx files on this machine",
        _data,
    ),
    "step_seconds": (
        f"{_STEP}; operators by shape, messages by size and place",
        "planner/step.py; constants with sources in planner/data/gpus and planner/data/stacks",
        _step,
    ),
    "breakdown": ("exposed seconds; they add up to step_seconds", "planner/step.py", _step),
    "tokens_per_second_per_gpu": ("tokens of a step / (step_seconds × gpus)", "definition", _rate),
    "model_tflops_per_gpu": (
        "operations of forward and backward pass / (step_seconds × gpus)",
        "arXiv 2205.05198, appendix A",
        _rate,
    ),
    "mfu": ("model TFLOP/s a GPU / its peak, recompute not counted", "arXiv 2204.02311", _rate),
    "hfu": ("as mfu, with what is computed again", "arXiv 2205.05198, appendix A", _rate),
}
"""By key of ``plan --json``: formula, source, and what went in."""

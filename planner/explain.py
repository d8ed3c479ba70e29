"""What a field of the plan means here: formula, source, and the numbers that went in."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from llmtrain.config.errors import Problem, UsageError
from llmtrain.planner.checkpoints import state_bytes, stored_parameters
from llmtrain.planner.failures import data
from llmtrain.planner.length import steps_by_size
from llmtrain.planner.plan import Plan, plan_json
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


def _cost(plan: Plan) -> dict[str, Any]:
    outlook, recipe = plan.outlook, plan.recipe
    if outlook is None:
        return {}
    good, steps = outlook.goodput, steps_by_size(recipe) or ()
    return {
        "steps": outlook.length.steps,
        "global batches": f"{steps[0][0]} to {steps[-1][0]}" if len(steps) > 1 else steps[-1][0],
        "gpus": recipe.gpus,
        "node-days per failure": good.node_days_per_failure,
        "from": _source(good.failure_rate_source),
        "restart": " + ".join(f"{name} {each:.0f} s" for name, each in good.restart_parts.items()),
        "checkpoint blocks": f"{good.checkpoint_seconds:.1f} s",
        "interval": f"{good.interval_steps} steps",
    }


def _source(name: str) -> str:
    prior = data()["node_days_per_failure"].get(name)
    return name if prior is None else str(prior["source"])


def _checkpoint(plan: Plan) -> dict[str, Any]:
    recipe = plan.recipe
    return {
        "parameters stored": stored_parameters(recipe),
        "bytes of a weight": recipe.precision.weight_bytes,
        "bytes of its optimizer states": state_bytes(recipe),
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
    "days": (
        "every global batch's steps × their step time, failures left out",
        "planner/length.py",
        _cost,
    ),
    "gpu_hours": ("days × 24 × gpus, failures left out", "planner/length.py", _cost),
    "goodput": (
        "interval / (mean × e^(restart / mean) × (e^((interval + checkpoint) / mean) - 1)); best "
        "interval √(2 × checkpoint × mean), to higher order",
        "Daly 2006, FGCS 22, equations 20 and 37; priors in planner/data/failures.yaml",
        _cost,
    ),
    "checkpoint_bytes": (
        "parameters × (weight + two fp32 moments + fp32 copy of 16-bit weights)",
        "planner/checkpoints.py; BLOOM's 2.3 TB",
        _checkpoint,
    ),
    "hfu": ("as mfu, with what is computed again", "arXiv 2205.05198, appendix A", _rate),
}
"""By key of ``plan --json``: formula, source, and what went in."""

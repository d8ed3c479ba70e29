"""What went into a field of the plan: the numbers behind ``plan --explain``."""

from collections.abc import Iterator
from typing import Any

from llmtrain.planner.calibration import (
    calibrated_stack,
    calibration_json,
    measured_on,
    memory_error,
)
from llmtrain.planner.checkpoints import state_bytes, stored_parameters
from llmtrain.planner.costs import Case
from llmtrain.planner.curves import curves_of
from llmtrain.planner.efficiency import gemm_backward, gemm_forward, peak_flops
from llmtrain.planner.failures import node_days, rate_source, restart_parts, storage_rate
from llmtrain.planner.flops import step_flops
from llmtrain.planner.length import steps_by_size
from llmtrain.planner.model_states import bytes_each, fp8_weight
from llmtrain.planner.operators import Part, dense_layer, head, moe_layer, tokens
from llmtrain.planner.plan import Plan, Stage
from llmtrain.planner.sets import name_of
from llmtrain.planner.simulated import simulated_bubble
from llmtrain.planner.speed import ATTENTION
from llmtrain.planner.stacks import Stack, chosen_stack, stack_of
from llmtrain.planner.step import case_of, numbers_of

Numbers = dict[str, Any]


def layout(plan: Plan, _: str) -> Numbers:
    """The degrees."""
    parallel = plan.recipe.parallel
    return {"gpus": plan.recipe.gpus, "tp": parallel.tp, "pp": parallel.pp, "cp": parallel.cp}


def experts(plan: Plan, _: str) -> Numbers:
    """The degrees of the experts."""
    parallel = plan.recipe.parallel
    sizes = {"etp": parallel.expert_tp, "ep": parallel.ep, "pp": parallel.pp}
    return {"gpus": plan.recipe.gpus, **sizes}


def nodes(plan: Plan, _: str) -> Numbers:
    """GPUs and what a node has."""
    return {"gpus": plan.recipe.gpus, "ranks a node": plan.ranks_per_node}


def batch(plan: Plan, _: str) -> Numbers:
    """The batch."""
    sizes = plan.recipe.batch
    return {"batch.global": sizes.global_, "batch.micro": sizes.micro, "dp": plan.dp}


def steps(plan: Plan, _: str) -> Numbers:
    """Length of the run, the batch ramp's steps by size."""
    recipe = plan.recipe
    given: Numbers = {"run.steps": recipe.run.steps, "tokens": recipe.tokens}
    by_size = steps_by_size(recipe) or ()
    sizes = {f"steps with {size} sequences": count for size, count in by_size[-3:]}
    return {**given, "seq": recipe.model.seq, **sizes}


def shape(plan: Plan, _: str) -> Numbers:
    """The model's shape."""
    model, tp = plan.recipe.model, plan.recipe.parallel.tp
    names = ["layers", "hidden", "heads", "vocab", "seq", "positions", "tied", "bias", "norm"]
    if model.experts:
        names += ["experts", "topk", "moe_ffn", "shared_experts", "dense_layers"]
    found = {name: getattr(model, name) for name in names}
    more = {"kv_heads": model.kv_head_count, "ffn": model.ffn_size}
    return {**found, **more, "padded vocabulary": model.padded_vocab(tp)}


def _stage(plan: Plan, field: str) -> Stage:
    """The stage that a field names, else the worst."""
    parts = field.split(".")
    if parts[0] == "stages" and len(parts) > 1 and parts[1].isdigit():
        return plan.stages[int(parts[1])]
    return max(plan.stages, key=lambda each: each.memory.total)


def memory(plan: Plan, field: str) -> Numbers:
    """A rank's memory, and how a parameter and an activation weigh."""
    stage, recipe = _stage(plan, field), plan.recipe
    held, moment, each = stage.memory, stage.peak.fullest, bytes_each(recipe)
    return {
        "stage": stage.number,
        "layers": stage.layers,
        "parameters of a rank": stage.parameters,
        "bytes of a weight": each.weight + fp8_weight(recipe),
        "bytes of a gradient": each.gradient,
        "bytes of its optimizer states": each.optimizer,
        "ZeRO stage": recipe.optim.zero,
        "dp × cp": plan.dp * recipe.parallel.cp,
        "weights": held.weights,
        "gradients": held.gradients,
        "optimizer": held.optimizer,
        "activations": held.activations,
        "workspace": held.workspace,
        "of which context, NCCL, allocator": stage.peak.constant,
        "fullest moment": moment.phase,
        "micro-batches in flight": int(moment.microbatches),
        "its activations": round(moment.saved),
        "its transients": round(moment.transient),
    }


def verdict(plan: Plan, _: str) -> Numbers:
    """What is needed against what there is."""
    needed = max(stage.peak.needed for stage in plan.stages)
    capacity = plan.recipe.cluster.gpu.memory_bytes
    return {"needed": needed, "capacity": capacity, "the model's error": memory_error(plan.recipe)}


def processor(plan: Plan, _: str) -> Numbers:
    """The GPU's data sheet."""
    gpu = plan.recipe.cluster.gpu
    return {"gpu": gpu.name, "its data": gpu.source or "the recipe"}


def breakdown(plan: Plan, _: str) -> Numbers:
    """Every part of the step."""
    if plan.speed is None:
        return {}
    stack = {"software stack": chosen_stack(plan.recipe), "microbatches": plan.microbatches}
    return {**stack, **{name: f"{value:.3f} s" for name, value in plan.speed.breakdown.items()}}


def bubble(plan: Plan, field: str) -> Numbers:
    """Every part of the step, and the bubble when the schedule is simulated."""
    case = _case(plan)
    if case is None or plan.recipe.parallel.pp == 1:
        return breakdown(plan, field)
    return {
        **breakdown(plan, field),
        "bubble, simulated": f"{simulated_bubble(plan.recipe, case):.3f} s",
    }


def _case(plan: Plan) -> Case | None:
    curves = curves_of(plan.recipe.cluster.gpu.arch)
    stack = stack_of(chosen_stack(plan.recipe))
    return None if curves is None else case_of(plan.recipe, curves, stack)


def products(plan: Plan, _: str) -> Numbers:
    """The matrix products of a layer and of the head: shapes, and milliseconds of a micro-batch."""
    case = _case(plan)
    if case is None:
        return {}
    machine, model = case.machine, case.model
    curves, numbers = machine.curves, machine.numbers
    found: Numbers = {
        "numbers": numbers,
        "peak TFLOP/s": peak_flops(machine.gpu, numbers) / 1e12,
        "share of it that large products reach": curves.gemm[numbers],
        "depth of a tile's ends": curves.depth[numbers],
        "multiprocessors": curves.sms,
        "factor of the stack": machine.stack.slowdown,
    }
    layer = moe_layer(model, case.layout) if model.experts else dense_layer(model, case.layout)
    return {**found, **dict(_shapes(case, layer)), **dict(_shapes(case, head(model, case.layout)))}


def _shapes(case: Case, part: Part) -> Iterator[tuple[str, str]]:
    for gemm in part.gemms:
        forward = 1e3 * gemm_forward(case.machine, gemm)
        backward = 1e3 * gemm_backward(case.machine, gemm)
        times = f"{gemm.count:g} × " if gemm.count != 1 else ""
        size = f"{times}{gemm.m:g} × {gemm.k:g} × {gemm.n:g}"
        yield gemm.name, f"{size}: {forward:.3f} + {backward:.3f} ms"


def attention(plan: Plan, _: str) -> Numbers:
    """The attention core."""
    case = _case(plan)
    if case is None:
        return {}
    model, kernel = case.model, case.machine.attention
    found: Numbers = {
        "kernel": kernel,
        "seq": model.seq,
        "heads a rank": model.heads / case.layout.tp,
    }
    if kernel in case.machine.curves.attention:
        rates = case.machine.curves.attention[kernel]
        found["most TFLOP/s, forward"] = rates.forward.top
        found["most TFLOP/s, backward"] = rates.backward.top
    return found | {"width of a head": model.head_size, "causal": "half of the square"}


def passes(plan: Plan, _: str) -> Numbers:
    """Memory-bound passes: bytes an element."""
    case = _case(plan)
    if case is None:
        return {}
    found = {
        f"bytes an element, {kind}": f"{cost.forward:g} + {cost.backward:g}"
        for kind, cost in case.machine.stack.passes.items()
    }
    return {"bytes a second": case.machine.memory_rate, **found}


def messages(plan: Plan, _: str) -> Numbers:
    """Messages of a layer, and the links they cross."""
    case = _case(plan)
    if case is None:
        return {}
    network, stack, where = case.links.network, case.machine.stack, case.layout
    return {
        "bytes of a layer's tensor": tokens(case.model, where) * case.model.hidden * 2.0,
        "tp": where.tp, "pp": where.pp, "cp": where.cp, "ep": where.ep, "dp": where.dp,
        "vpp": where.vpp, "ranks of a node": case.links.per_node,
        "NVLink, GB/s": network.nvlink_gb_per_s, "NICs a node": network.nics_per_node,
        "a NIC, GB/s": network.nic_gb_per_s, **_hidden(stack),
    }  # fmt: skip


def _hidden(stack: Stack) -> Numbers:
    names = ["backward_overlap", "tp_overlap", "expert_overlap", "pipeline_overlap"]
    names += ["reduce_overlap", "gather_overlap", "reduce_bytes"]
    return {name.replace("_", " "): getattr(stack, name) for name in names}


def stack_values(plan: Plan, _: str) -> Numbers:
    """Constants of the software stack."""
    stack = calibrated_stack(plan.recipe, stack_of(chosen_stack(plan.recipe)))
    names = ["launch_seconds", "kernels", "microbatch_seconds", "step_seconds", "drift"]
    names += ["optimizer_bytes", "measured", "error"]
    values = {name.replace("_", " "): getattr(stack, name) for name in names}
    return {"software stack": stack.name, **values, "nodes": plan.nodes}


def rate(plan: Plan, _: str) -> Numbers:
    """Operations and tokens of a step."""
    speed, recipe = plan.speed, plan.recipe
    if speed is None:
        return {}
    flops = step_flops(recipe, ATTENTION)
    return {
        "step_seconds": speed.step_seconds,
        "tokens of a step": recipe.batch.global_ * recipe.model.seq,
        "gpus": recipe.gpus,
        "model operations of a step": float(flops.model),
        "with recompute": float(flops.hardware),
        "peak TFLOP/s": speed.peak_tflops,
        "numbers": numbers_of(recipe),
        "attention": ATTENTION,
    }


def length(plan: Plan, field: str) -> Numbers:
    """Steps and their time."""
    found = steps(plan, field)
    if plan.speed is not None:
        found |= {"step_seconds": plan.speed.step_seconds, "gpus": plan.recipe.gpus}
    return found


def failures(plan: Plan, _: str) -> Numbers:
    """How often nodes fail and what that costs."""
    recipe, outlook = plan.recipe, plan.outlook
    few, typical, many = node_days(recipe)
    found: Numbers = {
        "node-days a failure": typical, "fewest": few, "most": many, "nodes": plan.nodes,
        "rate from": rate_source(recipe), "spare nodes": recipe.nodes.spare,
        "storage, bytes a second": storage_rate(recipe),
    }  # fmt: skip
    found |= {f"restart: {name}, s": each for name, each in restart_parts(recipe).items()}
    if outlook is not None:
        found |= {"net days": outlook.length.days, "steps": outlook.length.steps}
        found["checkpoint every, steps"] = outlook.goodput.interval_steps
        found["a checkpoint blocks, seconds"] = outlook.goodput.checkpoint_seconds
    return found


def checkpoint(plan: Plan, _: str) -> Numbers:
    """Bytes of a parameter in a checkpoint."""
    recipe = plan.recipe
    return {
        "backend": recipe.backend.name,
        "parameters stored": stored_parameters(recipe),
        "bytes of a weight": recipe.precision.weight_bytes,
        "bytes of its optimizer states": state_bytes(recipe),
        "master": recipe.optim.master,
    }


def data(plan: Plan, _: str) -> Numbers:
    """Samples and tokens of each set."""
    seq = plan.recipe.model.seq
    return {"data.kind": plan.recipe.data.kind} | {
        f"{name_of(each)} ({each.use})": f"{each.samples or '?'} × {seq} / {each.tokens or '?'}"
        for each in plan.sets
    }


def calibration(plan: Plan, _: str) -> Numbers:
    """What is corrected, and what it would have to be measured on."""
    return calibration_json(plan.recipe) or {"none for": measured_on(plan.recipe)}

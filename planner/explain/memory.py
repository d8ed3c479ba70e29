"""``plan --explain``: what went into the memory of a rank."""

from llmtrain.config.layout import stage_layers
from llmtrain.planner.activations import chunk, embedding, layer
from llmtrain.planner.calibration import memory_error, memory_factor
from llmtrain.planner.checkpoints import state_bytes, stored_parameters
from llmtrain.planner.deepspeed_memory import engine_bytes
from llmtrain.planner.explain.entry import Numbers
from llmtrain.planner.inflight import held_of_chunk, in_flight
from llmtrain.planner.memory import chunks_of, ends_of, gathered_layers, gradient_copies
from llmtrain.planner.model_states import bytes_each, fp8_weight, optimizer_bytes
from llmtrain.planner.numeric import choose
from llmtrain.planner.parameters import (
    cut_of,
    rank_parameters,
)
from llmtrain.planner.parameters import embedding as embedding_parameters
from llmtrain.planner.parameters import layer as layer_parameters
from llmtrain.planner.plan import Plan, Stage, worst_stage
from llmtrain.planner.programs import constant
from llmtrain.planner.setting import setting_of
from llmtrain.planner.workspace import buffers, communicators, context, reduction


def _stage(plan: Plan, field: str) -> Stage:
    """The stage that a field names, else the worst."""
    parts = field.split(".")
    if parts[0] == "stages" and len(parts) > 1 and parts[1].isdigit():
        return plan.stages[int(parts[1])]
    return worst_stage(plan)


def stage(plan: Plan, field: str) -> Numbers:
    """Which layers lie on it."""
    found = _stage(plan, field)
    layers = [number for chunk in found.chunks for number in chunk]
    return {"stage": found.number, "pp": plan.recipe.parallel.pp, "layers": _spans(layers)}


def _spans(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers) or "none"


def parameters(plan: Plan, field: str) -> Numbers:
    """A rank's parameters, piece by piece."""
    recipe, found = plan.recipe, _stage(plan, field)
    model, cut = recipe.model, cut_of(recipe)
    numbers: Numbers = {"stage": found.number, "tp": cut.tp, "ep": cut.ep, "etp": cut.etp}
    inside = [number for chunk in found.chunks for number in chunk]
    moe = sum(model.is_moe_layer(number) for number in inside)
    for kind, count, at in (("dense", len(inside) - moe, 0), ("MoE", moe, model.layers - 1)):
        if count:
            numbers[f"{kind} layers"] = count
            numbers[f"parameters of a {kind} layer"] = layer_parameters(model, at, cut).total
    layers = sum(layer_parameters(model, number, cut).total for number in inside)
    first = embedding_parameters(recipe, cut.tp) if found.number == 0 else 0
    numbers["embedding"] = first
    return numbers | {"final norm, output layer, MTP": found.parameters - layers - first}


def states(plan: Plan, field: str) -> Numbers:
    """Parameters, their bytes, and over how many ranks ZeRO shards them."""
    recipe, found = plan.recipe, _stage(plan, field)
    each, held = bytes_each(recipe), rank_parameters(recipe, found.number)
    return {
        "stage": found.number,
        "parameters of a rank": held.dense,
        "of its experts": held.expert,
        "of embedding and output layer": ends_of(recipe, found.number),
        "bytes of a weight": each.weight,
        "its copies in FP8": fp8_weight(recipe),
        "bytes of a gradient": each.gradient,
        "bytes of its optimizer states": each.optimizer,
        "ZeRO stage": recipe.optim.zero,
        "dp × cp": plan.dp * recipe.parallel.cp,
        "edp": plan.edp,
    }


def activations(plan: Plan, field: str) -> Numbers:
    """What a chunk keeps, and how many micro-batches of it are in flight."""
    recipe, found = plan.recipe, _stage(plan, field)
    setting, moment = setting_of(recipe), found.peak.fullest
    shape, model = setting.layout, recipe.model
    numbers: Numbers = {
        "stage": found.number,
        "recompute": recipe.recompute.kind,
        "fullest moment": moment.phase,
        "micro-batches in flight": int(moment.microbatches),
    }
    kinds = [("dense", False)] * (not model.experts or model.dense_layers > 0)
    for kind, moe in kinds + [("MoE", True)] * bool(model.experts):
        numbers[f"a {kind} layer keeps without full recompute"] = layer(setting, moe=moe)
    passes = in_flight(shape.pp, shape.vpp, found.number, shape.microbatches)
    for number, held in enumerate(chunks_of(recipe, stage_layers(recipe)[found.number])):
        count = held_of_chunk(*passes, shape.pp, shape.vpp, number)
        label = f"chunk {number}, {held.layers} layers"
        numbers[label] = f"{count} in flight × {chunk(setting, held):.0f}"
    numbers["outputs that the pipeline keeps"] = setting.program.stage_outputs * choose(
        shape.pp > 1, setting.hidden, 0
    )
    numbers["the embedding keeps"] = embedding(setting) if found.number == 0 else 0
    return {**numbers, "all of it": moment.saved, "memory factor": memory_factor(recipe)}


def workspace(plan: Plan, field: str) -> Numbers:
    """Its parts."""
    recipe, found = plan.recipe, _stage(plan, field)
    setting, held = setting_of(recipe), rank_parameters(recipe, found.number)
    copies = gradient_copies(recipe, setting, held)
    on_gpu = setting.program.name != "cpu"
    most = max(moment.total for moment in found.peak.moments)
    return {
        "stage": found.number,
        "fullest moment": found.peak.fullest.phase,
        "its transients": most - max(moment.saved for moment in found.peak.moments),
        "buffers": buffers(setting),
        "buckets and the optimizer's step": reduction(setting, held),
        "layers gathered by ZeRO-3": gathered_layers(recipe, setting),
        "copies of gradients": copies - engine_bytes(recipe, setting, held),
        "the engine's buckets": engine_bytes(recipe, setting, held),
        "memory factor": memory_factor(recipe),
        "CUDA context": context(setting.program) if on_gpu else 0,
        "NCCL": communicators(setting) if on_gpu else 0,
        "the allocator's slack": constant("slack_bytes") if on_gpu else 0,
    }


def memory(plan: Plan, field: str) -> Numbers:
    """A rank's memory, and how it comes about."""
    found = _stage(plan, field)
    held, moment = found.memory, found.peak.fullest
    return {
        "stage": found.number,
        "layers": found.layers,
        "weights": held.weights,
        "gradients": held.gradients,
        "optimizer": held.optimizer,
        "activations": held.activations,
        "workspace": held.workspace,
        "of which context, NCCL, allocator": found.peak.constant,
        "fullest moment": moment.phase,
        "micro-batches in flight": int(moment.microbatches),
    }


def host(plan: Plan, _: str) -> Numbers:
    """What the host's memory holds of a rank."""
    recipe = plan.recipe
    most = max(range(len(plan.stages)), key=lambda at: rank_parameters(recipe, at).total)
    held = rank_parameters(recipe, most)
    return {
        "optim.offload": recipe.optim.offload,
        "ranks a node": plan.ranks_per_node,
        "parameters of a rank": held.dense,
        "of its experts": held.expert,
        "bytes of its optimizer states": optimizer_bytes(recipe),
        "bytes of a gradient": 4,
        "bytes of a weight": recipe.precision.weight_bytes,
        "dp × cp": plan.dp * recipe.parallel.cp,
        "edp": plan.edp,
    }


def verdict(plan: Plan, _: str) -> Numbers:
    """What is needed against what there is."""
    most = max(plan.stages, key=lambda each: each.peak.needed).peak
    return {
        "peak": most.memory.total,
        "of which the allocator can give back": most.releasable,
        "needed": most.needed,
        "capacity": plan.recipe.cluster.gpu.memory_bytes,
        "the model's error": memory_error(plan.recipe),
    }


def processor(plan: Plan, _: str) -> Numbers:
    """The GPU's data sheet."""
    gpu = plan.recipe.cluster.gpu
    return {
        "gpu": gpu.name,
        "gpu.memory_bytes": gpu.memory_bytes,
        "its data": gpu.source or "the recipe",
    }


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

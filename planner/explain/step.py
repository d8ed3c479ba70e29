"""``plan --explain``: the step as a whole, and what comes once in it."""

from llmtrain.planner.costs import Case
from llmtrain.planner.curves import curves_of
from llmtrain.planner.explain.entry import Numbers
from llmtrain.planner.flops import step_flops
from llmtrain.planner.loads import Load, Pieces, pieces_of, slowest_load, whole_model
from llmtrain.planner.operators import Part, dense_layer, head, moe_layer, prediction
from llmtrain.planner.plan import Plan
from llmtrain.planner.replicas import (
    owned_parameters,
    update_seconds,
    weights,
)
from llmtrain.planner.simulated import simulated_bubble
from llmtrain.planner.speed import ATTENTION
from llmtrain.planner.stacks import chosen_stack, stack_of
from llmtrain.planner.step import case_of, hops_of, numbers_of


def case_in(plan: Plan) -> Case | None:
    """What the plan's layers were timed in; None where nothing is known of the processor."""
    curves = curves_of(plan.recipe.cluster.gpu.arch)
    stack = stack_of(chosen_stack(plan.recipe))
    return None if curves is None else case_of(plan.recipe, curves, stack)


def shares(case: Case, cost: str) -> Numbers:
    """Seconds of one micro-batch in each piece of the slowest stage."""
    pieces = pieces_of(case)
    load = slowest_load(case, pieces)
    found: Numbers = {"micro-batches": case.layout.microbatches}
    for label, count, piece in _pieces(load, pieces):
        seconds = getattr(piece, cost)
        if count and (seconds or "layer" in label):
            found |= {f"{label}s of the slowest stage": count} if "layer" in label else {}
            found[f"{label}, s"] = seconds
    stack = case.machine.stack
    return {**found, "software stack": stack.name, "factor measured here": stack.measured}


def _pieces(load: Load, pieces: Pieces) -> list[tuple[str, float, object]]:
    return [
        ("dense layer", load.dense, pieces.dense),
        ("MoE layer", load.moe, pieces.moe),
        ("embedding", load.start, pieces.start),
        ("head", load.end, pieces.end),
    ]


def parts_of(case: Case) -> list[tuple[str, Part, bool]]:
    """The kinds of layers that the slowest stage has, each with its operators; True: MoE."""
    load = slowest_load(case, pieces_of(case))
    found: list[tuple[str, Part, bool]] = []
    if load.dense:
        found.append(("dense layer", dense_layer(case.model, case.layout), False))
    if load.moe:
        found.append(("MoE layer", moe_layer(case.model, case.layout), True))
    return found


def ends_of(case: Case) -> list[tuple[str, Part]]:
    """What the slowest stage computes behind the layers."""
    if not slowest_load(case, pieces_of(case)).end:
        return []
    found = [("head", head(case.model, case.layout))]
    depth = [("MTP depth", prediction(case.model, case.layout))]
    return found + (depth if case.model.mtp else [])


def breakdown(plan: Plan, _: str) -> Numbers:
    """Every part of the step, in seconds."""
    if plan.speed is None:
        return {}
    stack = {"software stack": chosen_stack(plan.recipe), "micro-batches": plan.microbatches}
    return {**stack, **plan.speed.breakdown}


def step_range(plan: Plan, _: str) -> Numbers:
    """The step, and the error of its stack."""
    case = case_in(plan)
    if case is None or plan.speed is None:
        return {}
    stack = case.machine.stack
    shown = {"step_seconds": plan.speed.step_seconds, "software stack": stack.name}
    return {**shown, "its error": stack.error}


def bubble(plan: Plan, _: str) -> Numbers:
    """The slowest stage and all of them, and the bubble when the schedule is simulated."""
    case = case_in(plan)
    if case is None:
        return {}
    pieces, layout, stack = pieces_of(case), case.layout, case.machine.stack
    waits = hops_of(case) + stack.microbatch_seconds
    slowest = pieces.of(slowest_load(case, pieces)).total + waits
    found: Numbers = {
        "a micro-batch on the slowest stage, s": slowest,
        "on all stages together, s": pieces.of(whole_model(case)).total + waits * layout.pp,
        "pp": layout.pp,
        "vpp": layout.vpp,
        "factor measured here": stack.measured,
    }
    if layout.pp > 1:
        found["simulated, s"] = simulated_bubble(plan.recipe, case)
    return found


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


def optimizer(plan: Plan, _: str) -> Numbers:
    """Parameters that a rank updates, and what one takes."""
    case = case_in(plan)
    if case is None:
        return {}
    layout, machine = case.layout, case.machine
    held = weights(case, case.model.layers / layout.pp)
    found: Numbers = {
        "ZeRO stage": layout.zero,
        "parameters of a rank's layers": held.dense,
        "of its experts": held.expert,
        "of an embedding": held.ends,
        "dp × cp": layout.dp * layout.cp,
        "edp": plan.edp,
        "parameters that it updates": owned_parameters(case, held),
        "software stack": machine.stack.name,
        "factor measured here": machine.stack.measured,
    }
    if machine.offload:
        host = machine.curves.host
        found |= {"host memory, GB/s": host.memory_gb_per_s, "copy, GB/s": host.copy_gb_per_s}
        return found | {"seconds a parameter": update_seconds(case)}
    found["bytes a parameter"] = machine.stack.optimizer_bytes
    return found | {"bytes a second": machine.memory_rate}


def host(plan: Plan, _: str) -> Numbers:
    """The stack's constant."""
    case = case_in(plan)
    if case is None:
        return {}
    stack = case.machine.stack
    return {
        "software stack": stack.name,
        "the host's time a step, s": stack.step_seconds,
        "factor measured here": stack.measured,
    }


def stragglers(plan: Plan, field: str) -> Numbers:
    """The rest of the step, and the nodes."""
    case = case_in(plan)
    if case is None or plan.speed is None:
        return {}
    rest = {name: each for name, each in plan.speed.breakdown.items() if name != "stragglers"}
    return {
        "software stack": case.machine.stack.name,
        "the rest, s": sum(rest.values()),
        "drift": case.machine.stack.drift,
        "gpus": plan.recipe.gpus,
        "ranks of a node": case.links.per_node,
    }

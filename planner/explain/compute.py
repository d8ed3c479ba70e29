"""``plan --explain``: what a rank computes in a step."""

from collections.abc import Iterator

from llmtrain.planner.costs import (
    Case,
    context_traffic,
    expert_traffic,
    kept_seconds,
    layer_cost,
    layer_kernels,
    passes_seconds,
    selective_seconds,
    tensor_traffic,
)
from llmtrain.planner.efficiency import (
    core_backward,
    core_forward,
    gemm_backward,
    gemm_forward,
    peak_flops,
)
from llmtrain.planner.explain.entry import Numbers
from llmtrain.planner.explain.step import case_in, ends_of, parts_of, shares
from llmtrain.planner.operators import Part, attention_core
from llmtrain.planner.plan import Plan


def products(plan: Plan, _: str) -> Numbers:
    """The matrix products of a layer and of the head: shapes, and milliseconds of a micro-batch."""
    case = case_in(plan)
    if case is None:
        return {}
    machine = case.machine
    curves, numbers, stack = machine.curves, machine.numbers, machine.stack
    found = shares(case, "gemm") | {
        "factor of the stack": stack.slowdown,
        "numbers": numbers,
        "peak TFLOP/s": peak_flops(machine.gpu, numbers) / 1e12,
        "share of it that large products reach": curves.gemm[numbers],
        "factor of the board": machine.clock,
        "depth of a tile's ends": curves.depth[numbers],
        "multiprocessors": curves.sms,
        "tiles": ", ".join(f"{t.rows} × {t.columns} at {t.relative:g}" for t in curves.tiles),
        "share of the last wave that is not waited for": curves.smooth,
        "factor of rows off 128 bytes": curves.misaligned,
        "bytes a parameter to sum its gradient": machine.accumulate,
        "bytes a second": machine.memory_rate,
    }
    if numbers == "fp8":
        found["bytes an element of a cast"] = (
            stack.cast_blocks if machine.block_scales else stack.cast
        )
        found["share of it behind a norm"] = stack.cast_normed
    for label, part in [*(kind[:2] for kind in parts_of(case)), *ends_of(case)]:
        found |= dict(_shapes(case, label, part))
    return found


def _shapes(case: Case, label: str, part: Part) -> Iterator[tuple[str, str]]:
    for gemm in part.gemms:
        forward = 1e3 * gemm_forward(case.machine, gemm)
        backward = 1e3 * gemm_backward(case.machine, gemm)
        times = f"{gemm.count:g} × " if gemm.count != 1 else ""
        size = f"{times}{gemm.m:g} × {gemm.k:g} × {gemm.n:g}"
        yield f"{label}: {gemm.name}", f"{size}: {forward:.6g} + {backward:.6g} ms"


def attention(plan: Plan, _: str) -> Numbers:
    """The attention core."""
    case = case_in(plan)
    if case is None:
        return {}
    model, machine = case.model, case.machine
    kernel, core = machine.attention, attention_core(model, case.layout)
    forward, backward = core_forward(machine, core), core_backward(machine, core)
    found = shares(case, "attention") | {
        "factor of the stack": machine.stack.slowdown,
        "kernel": kernel,
        "seq": model.seq,
        "queries a rank": core.queries,
        "sequences × heads a rank": core.batch,
        "width of a key": core.key_dim,
        "width of a value": core.value_dim,
        "operations forward, whole square": core.flops,
        "forward, s": forward,
        "backward, s": backward,
    }
    if kernel not in machine.curves.attention:
        return found
    rates = machine.curves.attention[kernel]
    return found | {
        "causal": "half of the square",
        "TFLOP/s reached, forward": core.flops / 2e12 / forward,
        "TFLOP/s reached, backward": 2.5 * core.flops / 2e12 / backward,
        "most TFLOP/s, forward": rates.forward.top,
        "most TFLOP/s, backward": rates.backward.top,
        "queries at half of it, forward": rates.forward.half,
        "queries at half of it, backward": rates.backward.half,
        "rate at a width of 64 against 128": rates.narrow,
        "factor of the board": machine.clock,
        "factor of dropout": machine.stack.dropped if core.dropout else 1.0,
    }


def passes(plan: Plan, _: str) -> Numbers:
    """Memory-bound passes: elements, and bytes an element."""
    case = case_in(plan)
    if case is None:
        return {}
    machine = case.machine
    found = shares(case, "elementwise") | {
        "factor of the stack": machine.stack.slowdown,
        "share of the bandwidth": machine.stack.pass_rate,
        "bytes a second": machine.memory_rate,
        "bytes that a pass's start is worth": machine.curves.memory.half,
    }
    for label, part in [*(kind[:2] for kind in parts_of(case)), *ends_of(case)]:
        for one in part.passes:
            cost = machine.stack.passes[one.kind]
            each = f"{one.elements:.0f} × ({cost.forward:g} + {cost.backward:g}) bytes"
            found[f"{label}: {one.kind}"] = each
    return found


def recompute(plan: Plan, _: str) -> Numbers:
    """What is computed again, and what its parts take."""
    case = case_in(plan)
    if case is None:
        return {}
    layout, machine, asked = case.layout, case.machine, plan.recipe.recompute
    found: Numbers = {"recompute.kind": asked.kind, "share of layers that is whole": layout.full}
    if asked.kind == "selective":
        found["recompute.modules"] = ", ".join(asked.modules)
    found |= shares(case, "recompute")
    for label, part, moe in parts_of(case):
        cost = layer_cost(case, part, moe=moe)
        traffic = [tensor_traffic(case, moe=moe), context_traffic(case, part)]
        traffic += [expert_traffic(case)] if moe else []
        computed = cost.gemm + cost.attention + cost.elementwise
        found |= {
            f"{label}: its modules forward, s": selective_seconds(machine, part, layout),
            f"{label}: computed forward, s": computed - _backward(case, part),
            f"{label}: of that kept, s": kept_seconds(machine, part),
            f"{label}: communication forward, s": sum(each.forward for each in traffic),
        }
    return found


def _backward(case: Case, part: Part) -> float:
    machine = case.machine
    seconds = sum(gemm_backward(machine, gemm) for gemm in part.gemms)
    seconds += passes_seconds(machine, part.passes)[1]
    seconds += core_backward(machine, part.core) if part.core is not None else 0.0
    return machine.stack.slowdown * seconds


def launch(plan: Plan, _: str) -> Numbers:
    """Kernels of a layer against what they compute."""
    case = case_in(plan)
    if case is None:
        return {}
    stack = case.machine.stack
    found = shares(case, "launch")
    found["the host's time a micro-batch, s"] = stack.microbatch_seconds
    found["the host's time a kernel, s"] = stack.launch_seconds
    for label, part, moe in parts_of(case):
        cost, back = layer_cost(case, part, moe=moe), _backward(case, part)
        found[f"{label}: kernels forward"] = layer_kernels(case, moe=moe)
        computed = cost.gemm + cost.attention + cost.elementwise
        found |= {f"{label}: forward, s": computed - back, f"{label}: backward, s": back}
    return found

"""``plan --explain``: what ranks say to each other in a step."""

from llmtrain.planner.collectives import Group, bus_rate, gather_seconds, send_seconds
from llmtrain.planner.costs import Case, dispatch_seconds, dispatched_bytes, ring_message
from llmtrain.planner.efficiency import core_backward, core_forward
from llmtrain.planner.explain.entry import Numbers
from llmtrain.planner.explain.step import case_in, shares
from llmtrain.planner.loads import pieces_of, slowest_load
from llmtrain.planner.operators import attention_core, routed_tokens, tokens
from llmtrain.planner.plan import Plan
from llmtrain.planner.replicas import (
    collective_seconds,
    gathered,
    reduced_bytes,
    ring_wait,
    tied_seconds,
    weights,
)
from llmtrain.planner.step import stage_message, warm_up


def _links(case: Case) -> Numbers:
    network = case.links.network
    return {
        "ranks of a node": case.links.per_node,
        "NVLink, GB/s": network.nvlink_gb_per_s,
        "NICs a node": network.nics_per_node,
        "a NIC, GB/s": network.nic_gb_per_s,
    }


def tensor(plan: Plan, _: str) -> Numbers:
    """Gathers and scatters of a layer's blocks."""
    case = case_in(plan)
    if case is None:
        return {}
    layout, stack, model = case.layout, case.machine.stack, case.model
    message, group = tokens(model, layout) * model.hidden * 2.0, Group(size=layout.tp, stride=1)
    narrow = stack.gather_fp8 and case.machine.numbers == "fp8"
    found = shares(case, "tensor") | {
        "tp": layout.tp,
        "sequence parallel": plan.recipe.parallel.sequence,
        "bytes of a tensor": message,
        "bytes a second of the ring": bus_rate(case.links, group, message),
        "one gather or scatter, s": gather_seconds(case.links, group, message),
        "share of a gather's bytes": 0.5 if narrow and layout.sequence else 1.0,
        "share hidden in the backward pass": stack.backward_overlap,
        "share hidden by kernels.tp_overlap": stack.tp_overlap * layout.tp_overlap,
        "blocks of a dense layer": 2,
    }
    if model.experts:
        routed = routed_tokens(model, layout) * model.hidden * 2.0
        experts = Group(size=layout.etp, stride=1)
        found["blocks of a MoE layer"] = 2 if model.shared_experts else 1
        found["one gather of routed tokens over etp, s"] = gather_seconds(
            case.links, experts, routed
        )
    return found | _links(case)


def context(plan: Plan, _: str) -> Numbers:
    """Keys and values round the ring."""
    case = case_in(plan)
    if case is None:
        return {}
    layout, machine = case.layout, case.machine
    core, message = attention_core(case.model, layout), ring_message(case.model, layout)
    hop = send_seconds(case.links, layout.tp * layout.cp / 2.0, message) if layout.cp > 1 else 0.0
    return shares(case, "context") | {
        "cp": layout.cp,
        "bytes of keys and values": message,
        "one hop, s": hop,
        "attention beside it forward, s": core_forward(machine, core) / layout.cp,
        "attention beside it backward, s": core_backward(machine, core) / layout.cp,
        **_links(case),
    }


def expert(plan: Plan, _: str) -> Numbers:
    """Dispatch and combine."""
    case = case_in(plan)
    if case is None:
        return {}
    return shares(case, "expert") | {
        "ep": case.layout.ep,
        "topk": case.model.topk or 0,
        "bytes that a rank holds": dispatched_bytes(case) if case.model.experts else 0.0,
        "one exchange, s": dispatch_seconds(case) if case.model.experts else 0.0,
        "share hidden": case.machine.stack.expert_overlap,
        "a token once a node": bool(case.machine.stack.expert_once),
        "rate of an exchange against a ring's": case.links.curves.all_to_all,
        **_links(case),
    }


def pipeline(plan: Plan, _: str) -> Numbers:
    """Messages between stages."""
    case = case_in(plan)
    if case is None:
        return {}
    layout, stack = case.layout, case.machine.stack
    message = stage_message(case.model, layout, stack)
    hidden = stack.pipeline_overlap * (1.0 - warm_up(layout)) if layout.vpp > 1 else 0.0
    return {
        "micro-batches": layout.microbatches,
        "pp": layout.pp,
        "vpp": layout.vpp,
        "bytes of a message": message,
        "one message, s": send_seconds(case.links, layout.pipeline_stride, message),
        "share of passes in warm-up and flush": warm_up(layout),
        "share hidden": hidden,
        "factor measured here": stack.measured,
        **_links(case),
    }


def data_parallel(plan: Plan, _: str) -> Numbers:
    """Gradients and weights between replicas, and the passes that hide them."""
    case = case_in(plan)
    if case is None:
        return {}
    layout, stack, pieces = case.layout, case.machine.stack, pieces_of(case)
    slowest, layers = pieces.of(slowest_load(case, pieces)), case.model.layers / layout.pp
    held = weights(case, layers)
    group = Group(size=layout.dp * layout.cp, stride=layout.data_stride)
    message = (held.dense + held.ends) * reduced_bytes(case)
    times = 1.0 if layout.zero > 0 and not stack.reduce_all else 2.0
    found: Numbers = {
        "ZeRO stage": layout.zero,
        "dp × cp": layout.dp * layout.cp,
        "parameters of a rank's layers": held.dense,
        "of its experts": held.expert,
        "of an embedding": held.ends,
        "bytes of a gradient on the wire": reduced_bytes(case),
        "bytes of a weight on the wire": case.machine.gathered_bytes,
        "bytes a second of the ring": bus_rate(case.links, group, message) * stack.data_rate,
        "gradients scattered, s": collective_seconds(case, held, reduced_bytes(case)),
        "weights gathered, s": collective_seconds(case, gathered(case, held), 2.0),
    }
    if layout.zero >= 3:
        return found | {
            "micro-batches": layout.microbatches,
            "latency of its rings, s": ring_wait(case, layers),
            "share that can hide": stack.shard_overlap,
            "forward pass, s": slowest.total - slowest.backward,
            "backward pass, s": slowest.backward,
            "factor measured here": stack.measured,
        }
    passes = min(layout.pp, layout.microbatches) if layout.vpp > 1 else 1
    return found | {
        "collectives of the gradients": times,
        "share of gradients that can hide": stack.reduce_overlap * layout.overlap_reduce,
        "share of weights that can hide": stack.gather_overlap * layout.overlap_gather,
        "backward passes beside them, s": passes * slowest.backward,
        "forward passes beside them, s": passes * (slowest.total - slowest.backward),
        "the tied embedding's gradient, s": tied_seconds(case),
        "factor measured here": stack.measured,
        **_links(case),
    }

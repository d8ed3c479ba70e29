"""Seconds of one part of the model on one rank for one micro-batch, by what they go to."""

from dataclasses import dataclass, fields

from llmtrain.config.model import Model
from llmtrain.planner.candidate import Candidate
from llmtrain.planner.collectives import (
    Group,
    Links,
    exchange_seconds,
    gather_seconds,
    send_seconds,
)
from llmtrain.planner.efficiency import (
    Machine,
    core_backward,
    core_forward,
    gemm_backward,
    gemm_forward,
    pass_seconds,
)
from llmtrain.planner.numeric import Quantity, choose, largest
from llmtrain.planner.operators import Gemm, Part, Pass, routed_tokens, tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Exposed seconds of a micro-batch, forward and backward."""

    gemm: Quantity = 0.0
    """Products with weights."""
    attention: Quantity = 0.0
    """Attention cores."""
    elementwise: Quantity = 0.0
    """Memory-bound passes."""
    recompute: Quantity = 0.0
    """What is computed again."""
    launch: Quantity = 0.0
    """Waiting for the host to launch kernels."""
    tensor: Quantity = 0.0
    """Tensor and sequence parallel communication."""
    context: Quantity = 0.0
    """Context parallel communication."""
    expert: Quantity = 0.0
    """Expert parallel communication."""
    backward: Quantity = 0.0
    """Of all that: the backward pass's part (not counted twice)."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in _NAMES})

    def __mul__(self, times: Quantity) -> "Cost":
        return Cost(**{name: getattr(self, name) * times for name in _NAMES})

    @property
    def total(self) -> Quantity:
        """Forward and backward."""
        return sum((getattr(self, name) for name in _NAMES if name != "backward"), 0.0)


_NAMES = tuple(field.name for field in fields(Cost))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A model in a layout on a machine: what a part is timed in."""

    model: Model
    """Its shape."""
    layout: Candidate
    """How it is cut."""
    machine: Machine
    """What computes."""
    links: Links
    """What communicates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Exposed communication of a layer."""

    forward: Quantity = 0.0
    """Forward pass."""
    backward: Quantity = 0.0
    """Backward pass."""


def layer_cost(case: Case, part: Part, *, moe: bool) -> Cost:
    """A transformer layer."""
    machine, layout = case.machine, case.layout
    compute = part_cost(case, part)
    forward = (compute.total - compute.backward) * 1.0 - kept_seconds(machine, part)
    again = selective_seconds(machine, part, layout)
    tensor = tensor_traffic(case, moe=moe)
    context = context_traffic(case, part)
    expert = expert_traffic(case) if moe else Traffic()
    launch = _launch(case, compute, moe=moe)
    redone = layout.full * (forward + tensor.forward + context.forward + expert.forward)
    idle = layout.full * launch.forward
    return Cost(
        gemm=compute.gemm,
        attention=compute.attention,
        elementwise=compute.elementwise,
        recompute=redone + (1.0 - layout.full) * again + idle,
        launch=launch.forward + launch.backward,
        tensor=tensor.forward + tensor.backward,
        context=context.forward + context.backward,
        expert=expert.forward + expert.backward,
        backward=compute.backward + redone + again + idle + launch.backward
        + tensor.backward + context.backward + expert.backward,
    )  # fmt: skip


def _launch(case: Case, compute: Cost, *, moe: bool) -> Traffic:
    stack = case.machine.stack
    floor = layer_kernels(case, moe=moe) * stack.launch_seconds
    forward = compute.total - compute.backward
    return Traffic(
        forward=largest(floor - forward, 0.0),
        backward=largest(2.0 * floor - compute.backward, 0.0),
    )


def layer_kernels(case: Case, *, moe: bool) -> Quantity:
    """What the host launches in a layer's forward pass; every expert of the rank adds its own."""
    stack = case.machine.stack
    if not moe:
        return stack.kernels
    each = stack.expert_casts if case.machine.numbers == "fp8" else 0.0
    experts = (case.model.experts or 1) / case.layout.ep
    return stack.moe_kernels + experts * (stack.expert_kernels + each)


def part_cost(case: Case, part: Part) -> Cost:
    """What a part computes, without recompute and communication."""
    machine = case.machine
    slow = machine.stack.slowdown
    gemm_f = sum((gemm_forward(machine, gemm) for gemm in part.gemms), 0.0)
    gemm_b = sum((gemm_backward(machine, gemm) for gemm in part.gemms), 0.0)
    core = part.core
    core_f = core_forward(machine, core) if core is not None else 0.0
    core_b = core_backward(machine, core) if core is not None else 0.0
    pass_f, pass_b = passes_seconds(machine, part.passes)
    return Cost(
        gemm=slow * (gemm_f + gemm_b),
        attention=slow * (core_f + core_b),
        elementwise=slow * (pass_f + pass_b),
        backward=slow * (gemm_b + core_b + pass_b),
    )


def passes_seconds(machine: Machine, passes: tuple[Pass, ...]) -> tuple[Quantity, Quantity]:
    """Forward and backward seconds of memory-bound passes."""
    forward: Quantity = 0.0
    backward: Quantity = 0.0
    for one in passes:
        cost = machine.stack.passes[one.kind]
        forward += pass_seconds(machine, one.elements * cost.forward)
        backward += pass_seconds(machine, one.elements * cost.backward)
    rate = machine.stack.pass_rate
    return forward / rate, backward / rate


def selective_seconds(machine: Machine, part: Part, layout: Candidate) -> Quantity:
    """What selective recompute computes again."""
    modules = layout.modules
    if not modules:
        return 0.0
    named: list[Gemm] = [gemm for gemm in part.gemms if gemm.module in modules]
    again = sum((gemm_forward(machine, gemm) for gemm in named), 0.0)
    passes = tuple(one for one in part.passes if one.module in modules)
    again += passes_seconds(machine, passes)[0]
    if "core_attn" in modules and part.core is not None:
        again += core_forward(machine, part.core)
    return machine.stack.slowdown * again


def kept_seconds(machine: Machine, part: Part) -> Quantity:
    """The forward products that full recompute leaves out."""
    kept = [gemm for gemm in part.gemms if gemm.name in machine.stack.kept]
    return machine.stack.slowdown * sum((gemm_forward(machine, gemm) for gemm in kept), 0.0)


def tensor_traffic(case: Case, *, moe: bool) -> Traffic:
    """Tensor parallel communication of a layer: two blocks, or one where experts take the other.

    Without sequence parallelism an all-reduce a block and direction; with it a gather and a
    scatter, and in the backward pass a second gather for the weights' gradients, which is hidden
    like the scatter (arXiv 2205.05198, section 4.2.2).
    """
    layout, stack = case.layout, case.machine.stack
    model = case.model
    group = Group(size=layout.tp, stride=1)
    message = tokens(model, layout) * model.hidden * 2.0
    one = gather_seconds(case.links, group, message)
    shown = 1.0 - stack.backward_overlap
    blocks = 2.0 if not moe or model.shared_experts else 1.0
    plain = Traffic(forward=2.0 * one, backward=2.0 * one * shown)
    gather = one * (0.5 if stack.gather_fp8 and case.machine.numbers == "fp8" else 1.0)
    cut = Traffic(forward=gather + one, backward=gather + (gather + one) * shown)
    hidden = 1.0 - stack.tp_overlap * layout.tp_overlap
    sequence = layout.sequence > 0
    forward = blocks * hidden * choose(sequence, cut.forward, plain.forward)
    backward = blocks * hidden * choose(sequence, cut.backward, plain.backward)
    extra = _expert_tensor(case) if moe else 0.0
    return Traffic(forward=forward + extra, backward=backward + extra)


def _expert_tensor(case: Case) -> Quantity:
    """Gather and scatter of routed tokens over the ranks that share an expert."""
    layout, model = case.layout, case.model
    group = Group(size=layout.etp, stride=1)
    message = routed_tokens(model, layout) * model.hidden * 2.0
    return 2.0 * gather_seconds(case.links, group, message)


def context_traffic(case: Case, part: Part) -> Traffic:
    """Keys and values go round the context parallel ring behind the attention core.

    Source: megatron-core's p2p kind (Transformer Engine ``AttnFuncWithCPAndKVP2P``): a step is
    hidden by the core over the chunk at hand, the longer of both counts; backward sends keys,
    values and their gradients.
    """
    layout, machine = case.layout, case.machine
    if part.core is None:
        return Traffic()
    message, away = ring_message(case.model, layout), layout.tp * layout.cp / 2.0
    hop = choose(layout.cp > 1, send_seconds(case.links, away, message), 0.0)
    core_f = core_forward(machine, part.core) / layout.cp
    core_b = core_backward(machine, part.core) / layout.cp
    hops = layout.cp - 1.0
    return Traffic(
        forward=hops * largest(hop - core_f, 0.0),
        backward=hops * largest(2.0 * hop - core_b, 0.0),
    )


def ring_message(model: Model, layout: Candidate) -> Quantity:
    """Bytes of the keys and values that a rank sends round the context parallel ring at once."""
    width = model.kv_head_count * model.head_size if model.mla is None else model.hidden
    return tokens(model, layout) * 2.0 * width / layout.tp * 2.0


def expert_traffic(case: Case) -> Traffic:
    """Dispatch and combine: two exchanges forward, two backward."""
    one = dispatch_seconds(case) * (1.0 - case.machine.stack.expert_overlap)
    return Traffic(forward=2.0 * one, backward=2.0 * one)


def dispatch_seconds(case: Case) -> Quantity:
    """One exchange of a layer's routed tokens."""
    layout, model = case.layout, case.model
    group = Group(size=layout.ep, stride=layout.etp)
    copies = choose(case.machine.stack.expert_once > 0, 1.0 * (model.topk or 1), 1.0)
    return exchange_seconds(case.links, group, dispatched_bytes(case), copies)


def dispatched_bytes(case: Case) -> Quantity:
    """What a rank holds of the routed tokens, all copies counted."""
    model, layout = case.model, case.layout
    return tokens(model, layout) / layout.tp * (model.topk or 1) * model.hidden * 2.0

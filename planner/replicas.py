"""What replicas say to each other once a step, and the optimizer: ZeRO 0 to 3."""

from dataclasses import dataclass

from llmtrain.planner.collectives import Group, gather_seconds, reduce_seconds, ring_latency
from llmtrain.planner.costs import Case, Cost
from llmtrain.planner.curves import Host
from llmtrain.planner.numeric import Quantity, choose, largest, smallest
from llmtrain.planner.operators import Part, dense_layer, moe_layer, padded_vocab


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Parameters of one rank of the slowest stage."""

    dense: Quantity
    """Shared by all replicas."""
    expert: Quantity
    """Shared by the replicas of an expert."""
    ends: Quantity
    """Input or output embedding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """Seconds of a step (ZeRO-3: of a micro-batch)."""

    exposed: Quantity
    """Communication that nothing hides."""
    optimizer: Quantity
    """The optimizer's step."""


def replicas(case: Case, slowest: Cost, layers: Quantity) -> Replicas:
    """Reduction of gradients, gathering of weights, optimizer.

    ZeRO-0 reduces gradients to all; ZeRO-1 and 2 scatter them and gather weights (arXiv
    1910.02054, section 7); ZeRO-3 gathers weights for both passes of every micro-batch.
    """
    layout, stack = case.layout, case.machine.stack
    held = weights(case, layers)
    backward, forward = slowest.backward, slowest.total - slowest.backward
    scatter = collective_seconds(case, held, reduced_bytes(case))
    gather = collective_seconds(case, gathered(case, held), 2.0)
    passes = choose(layout.vpp > 1, smallest(layout.pp, layout.microbatches), 1.0)
    reduced = scatter * choose((layout.zero > 0) & (stack.reduce_all == 0), 1.0, 2.0)
    hidden = stack.reduce_overlap * layout.overlap_reduce
    reduce_shown = shown(reduced, hidden, passes * backward)
    hidden = stack.gather_overlap * layout.overlap_gather
    gather_shown = choose(layout.zero > 0, shown(gather, hidden, passes * forward), 0.0)
    wait = ring_wait(case, layers)
    sharded = shown(gather + wait, stack.shard_overlap, forward)
    sharded = sharded + shown(gather + scatter + 2.0 * wait, stack.shard_overlap, backward)
    once = reduce_shown + gather_shown + tied_seconds(case)
    return Replicas(
        exposed=choose(layout.zero >= 3, sharded, once),
        optimizer=_optimizer(case, held),
    )


def reduced_bytes(case: Case) -> float:
    """Bytes of a gradient on the wire."""
    return case.machine.stack.reduce_bytes or case.machine.grad_bytes


def shown(time: Quantity, hidden: Quantity, window: Quantity) -> Quantity:
    """Communication of ``time`` seconds of which a share runs beside ``window`` of computing.

    Interleaved, a chunk's gradients are whole when its last group of pp micro-batches is through,
    so the window is pp passes long (megatron-core ``schedules.py``).
    """
    return time - smallest(hidden * time, window)


def weights(case: Case, layers: Quantity) -> Weights:
    """Parameters of a rank with ``layers`` layers and one embedding."""
    model, layout = case.model, case.layout
    part = moe_layer(model, layout) if model.experts else dense_layer(model, layout)
    expert = _sum(part, experts=True)
    ends = padded_vocab(model, layout.tp) * model.hidden / layout.tp
    both = choose(layout.pp == 1, 1.0 if model.tied else 2.0, 1.0)
    return Weights(
        dense=_sum(part, experts=False) * layers, expert=expert * layers, ends=ends * both
    )


def gathered(case: Case, held: Weights) -> Weights:
    """The weights that are gathered, counted in 16 bits: those of products may go in FP8."""
    share = case.machine.gathered_bytes / 2.0
    return Weights(dense=held.dense * share, expert=held.expert * share, ends=held.ends)


def _sum(part: Part, *, experts: bool) -> Quantity:
    chosen = (gemm for gemm in part.gemms if gemm.name.startswith("expert") is experts)
    return sum((gemm.weights for gemm in chosen), 0.0)


def collective_seconds(case: Case, held: Weights, each: float) -> Quantity:
    """A gather or scatter of ``each`` bytes a parameter over the replicas."""
    layout, rate = case.layout, case.machine.stack.data_rate
    shared = Group(size=layout.dp * layout.cp, stride=layout.data_stride)
    time = gather_seconds(case.links, shared, (held.dense + held.ends) * each) / rate
    if case.model.experts is None:
        return time
    size = largest(layout.gpus / (layout.etp * layout.ep * layout.pp), 1.0)
    few = Group(size=size, stride=layout.etp * layout.ep)
    return time + gather_seconds(case.links, few, held.expert * each) / rate


def ring_wait(case: Case, layers: Quantity) -> Quantity:
    """What the rings' latency adds where every layer is gathered on its own."""
    layout = case.layout
    group = Group(size=layout.dp * layout.cp, stride=layout.data_stride)
    return layers * case.machine.stack.shard_messages * ring_latency(case.links, group)


def tied_seconds(case: Case) -> Quantity:
    """First and last stage reduce the gradient of the embedding they share."""
    model, layout, links = case.model, case.layout, case.links
    if not model.tied:
        return 0.0
    message = padded_vocab(model, layout.tp) * model.hidden / layout.tp
    message = message * reduced_bytes(case)
    pair = Group(size=2, stride=layout.pipeline_stride * (layout.pp - 1))
    return choose(layout.pp > 1, reduce_seconds(links, pair, message), 0.0)


def _optimizer(case: Case, held: Weights) -> Quantity:
    return owned_parameters(case, held) * update_seconds(case)


def owned_parameters(case: Case, held: Weights) -> Quantity:
    """Parameters that the optimizer of one rank updates."""
    layout = case.layout
    total = held.dense + held.ends
    shards = choose(layout.zero >= 1, layout.dp * layout.cp, 1.0)
    size = largest(layout.gpus / (layout.etp * layout.ep * layout.pp), 1.0)
    few = choose(layout.zero >= 1, size, 1.0)
    return total / shards + held.expert / few


def update_seconds(case: Case) -> float:
    """The optimizer's time for one parameter."""
    machine = case.machine
    if machine.offload:
        return offloaded_seconds(machine.curves.host)
    return machine.stack.optimizer_bytes / machine.memory_rate


def offloaded_seconds(host: Host) -> float:
    """Of one parameter: the host's Adam, then the 16-bit weight's way back to the GPU.

    Gradients are copied during the backward pass (arXiv 2101.06840, section 4.1). Adam is bound by
    memory: it reads master weight, two moments and gradient in fp32, and writes the first three and
    a 16-bit weight.
    """
    adam, back = 4 * 4 + 3 * 4 + 2, 2
    return (adam / host.memory_gb_per_s + back / host.copy_gb_per_s) / 1e9

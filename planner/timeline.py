"""When a stage holds how much: the phases of a step and the most that each needs."""

from dataclasses import dataclass

from llmtrain.planner.activations import (
    Chunk,
    chunk,
    embedding,
    gradients,
    head,
    layer,
    logits,
    recomputed_peak,
)
from llmtrain.planner.inflight import held, held_of_chunk, in_flight
from llmtrain.planner.numeric import Quantity, choose, largest
from llmtrain.planner.setting import Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What one stage holds."""

    stage: Quantity
    """Its number, from 0."""
    chunks: tuple[Chunk, ...]
    """Its layers, chunk by chunk."""
    moments: tuple[int, ...] = (0,)
    """Pairs of passes after the warm-up at which it can hold most; 0 suffices for even chunks."""

    @property
    def moe(self) -> bool:
        """Whether any layer may have experts."""
        return any(not isinstance(each.moe, int) or each.moe > 0 for each in self.chunks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One phase at its fullest. Bytes on one rank, model states left out."""

    phase: str
    """backward: of a layer, what it recomputes included; loss: logits and their gradient."""
    microbatches: Quantity
    """Micro-batches of which at least one chunk is in flight."""
    saved: Quantity
    """What forward passes have left."""
    transient: Quantity
    """What comes on top for a moment."""

    @property
    def total(self) -> Quantity:
        """Both."""
        return self.saved + self.transient


def timeline(setting: Setting, part: Held) -> tuple[Moment, ...]:
    """The phases of ``part``; the loss only counts on the last stage."""
    kept = in_flight_bytes(setting, part)
    count = microbatches(setting, part)
    back = _backward(setting, part)
    last = choose(part.stage == setting.layout.pp - 1, 1, 0)
    return (
        Moment(phase="backward", microbatches=count, saved=kept, transient=back),
        Moment(
            phase="loss",
            microbatches=count,
            saved=kept,
            transient=last * loss(setting),
        ),
    )


def in_flight_bytes(setting: Setting, part: Held) -> Quantity:
    """What the forward passes of all micro-batches in flight have left."""
    layout = setting.layout
    outputs = setting.program.stage_outputs * choose(layout.pp > 1, setting.hidden, 0)
    sizes = tuple(chunk(setting, each) + outputs for each in part.chunks)
    schedule = (layout.pp, layout.vpp, part.stage, layout.microbatches)
    first = choose(part.stage == 0, embedding(setting), 0)
    passes = in_flight(*schedule)
    starts = held_of_chunk(*passes, layout.pp, layout.vpp, 0)
    return held(*schedule, sizes, part.moments) + starts * first


def microbatches(setting: Setting, part: Held) -> Quantity:
    """Micro-batches in flight, counted at the chunk that holds most of them."""
    layout = setting.layout
    passes = in_flight(layout.pp, layout.vpp, part.stage, layout.microbatches)
    counts = [
        held_of_chunk(*passes, layout.pp, layout.vpp, number) for number in range(len(part.chunks))
    ]
    return largest(*counts)


def _backward(setting: Setting, part: Held) -> Quantity:
    """The layer whose backward pass needs most, with what it computes again."""
    kinds = [False, True] if part.moe and setting.model.experts else [False]
    if setting.model.experts and not setting.model.dense_layers:
        kinds = [True]
    needs = [gradients(setting, moe=moe) + recomputed_peak(setting, moe=moe) for moe in kinds]
    return largest(*needs)


def loss(setting: Setting) -> Quantity:
    """The last norm, logits and their gradients, multi-token prediction."""
    program, model = setting.program, setting.model
    # In fp32 the loss works on the logits in place.
    copies = program.logit_extra if setting.width < 4 else 0
    weight = logits(setting) / setting.tokens * model.hidden * setting.width
    gradient = 0 if program.fused_gradients else weight
    extra = logits(setting) * setting.width * copies
    return head(setting) + largest(extra, gradient) + prediction(setting)


def prediction(setting: Setting) -> Quantity:
    """Multi-token prediction: for each depth two norms, a layer and its own loss."""
    model = setting.model
    if not model.mtp:
        return 0
    one = layer(setting, moe=model.experts is not None) + 4 * setting.hidden + head(setting)
    return model.mtp * one

"""What a row leaves blank: filled from its family, or by what its stack does; each fill is said."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.frameworks import stated_zero, year_of
from benchmarks.points import Point
from benchmarks.shapes import NotExpressible
from llmtrain.config.model import Model


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """A row's layout without blanks."""

    tp: int
    """Tensor parallel."""
    pp: int
    """Pipeline parallel."""
    vpp: int
    """Chunks of a stage."""
    cp: int
    """Context parallel."""
    ep: int
    """Expert parallel."""
    micro: int
    """Sequences of a micro-batch."""
    global_batch: int
    """Sequences of a step."""
    gpus: int
    """GPUs."""
    sequence: bool
    """Sequence parallel."""
    zero: int
    """ZeRO stage."""
    open_micro: bool
    """No row told the micro-batch."""
    notes: tuple[str, ...]
    """What was filled, and by which rule."""

    @property
    def dp(self) -> int:
        """Data parallel."""
        return max(1, self.gpus // (self.tp * self.pp * self.cp))


def filled(point: Point, model: Model, others: Sequence[Point]) -> Filled:
    """The row's layout.

    Raises:
        NotExpressible: if GPUs, batch or layout are unknown and nothing in its family tells them.
    """
    said: list[str] = []
    tp, pp = _degrees(point, others, said)
    gpus = _gpus(point, tp * pp, said)
    batch = _batch(point, others, said)
    cp, ep = _context(point, gpus, batch, tp * pp, said), point.whole("ep") or 1
    if model.experts and not point.text("ep"):
        said.append("ep: 1")
    if gpus % (tp * pp * cp):
        raise NotExpressible(f"{gpus} GPUs are no multiple of tp {tp} x pp {pp} x cp {cp}")
    dp = gpus // (tp * pp * cp)
    if batch < dp:
        raise NotExpressible(f"{batch} sequences for {dp} replicas")
    micro = _micro(point, others, batch, dp, pp, said)
    _consistent(point, model, (tp, pp, cp, ep), micro, batch, dp)
    return Filled(
        tp=tp, pp=pp, cp=cp, ep=ep, micro=micro, gpus=gpus, global_batch=batch,
        vpp=_chunks(point, model, pp, batch // max(1, dp * micro), others, said),
        sequence=_sequence(point, tp, said),
        zero=_zero(point, said),
        open_micro=any(note.startswith("micro_batch: ") and " as " not in note for note in said),
        notes=tuple(said),
    )  # fmt: skip


def _consistent(
    point: Point, model: Model, cut: tuple[int, int, int, int], micro: int, batch: int, dp: int
) -> None:
    """A row that contradicts itself is not expressed as something else."""
    tp, pp, cp, ep = cut
    stated, vpp, experts = point.whole("dp"), point.whole("vpp") or 1, model.experts or 1
    rules = (
        (stated in (None, dp), f"dp {stated}, but gpus, tp, pp and cp make {dp}"),
        (batch % (micro * dp) == 0, f"{batch} sequences are no multiple of {micro} x dp {dp}"),
        (model.heads % tp == 0, f"{model.heads} heads for tp {tp}"),
        (model.seq % cp == 0, f"{model.seq} tokens for cp {cp}"),
        (experts % ep == 0, f"{model.experts or 'no'} experts for ep {ep}"),
        (vpp == 1 or pp > 1, f"vpp {vpp} without stages"),
    )
    wrong = [says for holds, says in rules if not holds]
    if wrong:
        raise NotExpressible("; ".join(wrong))


def _gpus(point: Point, cut: int, said: list[str]) -> int:
    given, dp = point.whole("gpus"), point.whole("dp")
    if given is not None:
        return given
    if dp is None:
        raise NotExpressible("the number of GPUs is not published")
    gpus = cut * (point.whole("cp") or 1) * dp
    said.append(f"gpus: {gpus}, from the layout")
    return gpus


def _batch(point: Point, others: Sequence[Point], said: list[str]) -> int:
    """Sequences of a step, or those of a row with the same shape."""
    given = point.whole("global_batch")
    if given is not None:
        return given
    for other in others:
        found = other.whole("global_batch")
        if found and other.shape == point.shape:
            said.append(f"global_batch: as {other.id}")
            return found
    raise NotExpressible("the global batch is not published")


def _degrees(point: Point, others: Sequence[Point], said: list[str]) -> tuple[int, int]:
    tp, pp = point.whole("tp"), point.whole("pp")
    if tp is not None and pp is not None:
        return tp, pp
    for other in others:
        found = other.whole("tp"), other.whole("pp")
        alike = other.shape == point.shape and (other.whole("cp") or 1) == (point.whole("cp") or 1)
        if alike and found[0] and found[1]:
            said.append(f"tp and pp: as {other.id}")
            return found[0], found[1]
    if stated_zero(point) == 3:
        said.append(f"tp and pp: {tp or 1} and {pp or 1}, all is sharded")
        return tp or 1, pp or 1
    raise NotExpressible("the layout (tp, pp) is not published")


def _context(point: Point, gpus: int, batch: int, cut: int, said: list[str]) -> int:
    """As stated; else more than 1 where there are more replicas than sequences."""
    given = point.whole("cp")
    if given is not None:
        return given
    least = gpus // (cut * batch)
    if least > 1 and gpus % (cut * batch) == 0:
        said.append(f"cp: {least}, a sequence for each replica")
        return least
    said.append("cp: 1")
    return 1


def _micro(
    point: Point, others: Sequence[Point], batch: int, dp: int, pp: int, said: list[str]
) -> int:
    given = point.whole("micro_batch")
    if given is not None:
        return given
    each = batch // dp if batch % dp == 0 else 1
    for other in others:
        size = other.whole("micro_batch")
        alike = other.shape == point.shape and other.text("tp") == point.text("tp")
        if size and alike and each % size == 0:
            said.append(f"micro_batch: as {other.id}")
            return size
    limit = 1 if pp > 1 else 16 if year_of(point) <= 2020 else 4
    size = max(s for s in (1, 2, 4, 8, 16) if s <= limit and each % s == 0)
    said.append(f"micro_batch: {size}")
    return size


def _chunks(
    point: Point, model: Model, pp: int, count: int, others: Sequence[Point], said: list[str]
) -> int:
    """Interleaving where it is not stated: Megatron from 2021 on, not in DeepSpeed's engine."""
    given = point.whole("vpp")
    if given is not None or pp == 1:
        return given or 1
    framework = point.text("framework")
    early = "earlier software" in point.text("notes") or "DeepSpeed" in framework
    if early or ("egatron" not in framework and "NeMo" not in framework):
        said.append("vpp: 1")
        return 1
    for other in others:
        found = other.whole("vpp")
        if found and other.shape == point.shape and other.whole("pp") == pp:
            said.append(f"vpp: as {other.id}")
            return found
    chunks = model.layers // pp if model.layers % pp == 0 and count % pp == 0 else 1
    said.append(f"vpp: {chunks}, one layer a chunk" if chunks > 1 else "vpp: 1")
    return chunks


def _sequence(point: Point, tp: int, said: list[str]) -> bool:
    """Where there are tensor parallel ranks: Megatron's from 2023 on."""
    given = point.text("sequence_parallel")
    if given or tp == 1:
        return given == "1"
    late = year_of(point) >= 2023
    said.append(f"sequence_parallel: {late:d}, on from 2023")
    return late


def _zero(point: Point, said: list[str]) -> int:
    given = stated_zero(point)
    if given is not None:
        return given
    stage = 1 if year_of(point) >= 2023 else 0
    said.append(f"zero_stage: {stage}, 1 from 2023")
    return stage

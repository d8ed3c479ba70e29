"""Published rows beside what the memory model says: peaks that were measured, and verdicts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.express import Expressed, express
from benchmarks.points import Point, families_of
from benchmarks.shapes import NotExpressible
from llmtrain.config.errors import LlmtrainError
from llmtrain.planner.memory import Peak, peak_memory
from llmtrain.planner.programs import constant, program

SHIPPED_OOM = Path(__file__).parent / "data" / "published_oom.csv"

COUNTS = {"bloom_176b": "total", "kempnerforge_h200": "reserved"}
"""What a family measured: all that nvidia-smi shows, or reserved; the others allocated."""

ANALYTIC = "_mem"
"""Families of this ending are formulas or single figures: no runs."""

LAYOUT = ("layers", "hidden", "heads", "gpus", "tp", "pp", "micro_batch", "global_batch")
"""What a full layout says, beside recompute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One row that has a published peak."""

    id: str
    """Of the row."""
    family: str
    """Its source."""
    measured: float
    """Bytes."""
    predicted: float
    """Bytes of the same kind."""

    @property
    def error(self) -> float:
        """Relative; below 0: predicted too little."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One row that is known to have run or to have run out of memory."""

    id: str
    """Of the row."""
    family: str
    """Its source."""
    ran: bool
    """What was published."""
    fits: bool
    """What the model says."""
    share: float
    """What is needed, as a share of what there is."""


def scores(points: Sequence[Point]) -> tuple[list[Score], dict[str, str]]:
    """Every row with a published peak; the others by the reason."""
    found, left_out = [], {}
    families = families_of(points)
    for point in points:
        measured = point.number("peak_mem_gb_per_gpu")
        if not measured:
            continue
        try:
            expressed = express(with_gpus(point), families[point.family])
            predicted = counted(point, _peaks(expressed))
        except (NotExpressible, LlmtrainError, ValueError, ArithmeticError) as error:
            left_out[point.id] = str(error)
            continue
        found.append(
            Score(id=point.id, family=point.family, measured=measured * 1e9, predicted=predicted)
        )
    return found, left_out


def judged(points: Sequence[Point], *, ran: bool) -> Iterator[Judged]:
    """Rows with a full layout, against the memory of their GPU."""
    families = families_of(points)
    for point in points:
        if not _is_full(point) or point.family.endswith(ANALYTIC):
            continue
        if not ran and "OOM" not in point.text("notes"):
            continue
        try:
            expressed = express(point, families[point.family])
            needed = max(peak.needed for peak in _peaks(expressed))
        except (NotExpressible, LlmtrainError, ValueError, ArithmeticError):
            continue
        capacity = expressed.recipe.cluster.gpu.memory_bytes or 1
        share = needed / capacity
        yield Judged(id=point.id, family=point.family, ran=ran, fits=share <= 1, share=share)


def counted(point: Point, peaks: tuple[Peak, ...]) -> float:
    """What the source measured, of the stage that it measured."""
    kind = COUNTS.get(point.family, "allocated")
    if point.family == "megatron_ci_release":
        return peaks[-1].allocated
    if point.family == "korthikanti2022_mem":
        return peaks[0].memory.model_states + peaks[0].memory.activations
    if kind == "total":
        return max(peak.memory.total for peak in peaks)
    slack = constant("slack_bytes") if kind == "reserved" else 0
    return max(peak.allocated for peak in peaks) + slack


def _peaks(expressed: Expressed) -> tuple[Peak, ...]:
    return peak_memory(expressed.recipe, program(expressed.program))


def _is_full(point: Point) -> bool:
    said = all(point.whole(name) for name in LAYOUT)
    return said and bool(point.text("recompute"))


def with_gpus(point: Point) -> Point:
    """A row without a GPU count: as many as make the model states what its notes call steady."""
    steady = re.search(r"steady\) (\d+) B", point.text("notes"))
    if point.whole("gpus") or not steady:
        return point
    degrees = [point.whole(name) or 1 for name in ("tp", "pp", "cp")]
    fixed = degrees[0] * degrees[1] * degrees[2]
    least = max(1, (point.whole("ep") or 1) // (degrees[0] * degrees[2]))

    def sized(dp: int) -> Point:
        micro = point.whole("micro_batch") or 1
        # Memory asks only for whole micro-batches, whatever the count of replicas.
        batch = -(-(point.whole("global_batch") or 1) // (micro * dp)) * micro * dp
        return Point({**point.cells, "gpus": str(fixed * dp), "global_batch": str(batch)})

    def distance(one: Point) -> float:
        states = _peaks(express(one, [one]))[-1].memory.model_states
        return abs(states - int(steady[1]))

    return min((sized(least * 2**power) for power in range(8)), key=distance)

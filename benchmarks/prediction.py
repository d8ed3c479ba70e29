"""The planner's answer to a published row."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from benchmarks.express import Expressed, express
from benchmarks.measured import measured_seconds
from benchmarks.peaks import Peak, peak_of
from benchmarks.points import Point, families_of
from benchmarks.scores import Pair
from benchmarks.shapes import NotExpressible
from llmtrain.config.errors import LlmtrainError
from llmtrain.planner.step import StepTime, recipe_step

Model = Callable[[str, Expressed], StepTime | None]
"""Family and row -> step time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A row with what the planner says of it."""

    point: Point
    """The row."""
    seconds: float | None = None
    """Predicted step time."""
    tokens_per_second: float | None = None
    """Predicted, of one GPU."""
    measured: float | None = None
    """Published step time."""
    peak: Peak = Peak()  # noqa: RUF009
    """Predicted memory."""
    reason: str | None = None
    """Why no recipe can say the row."""
    fills: tuple[str, ...] = ()
    """Blank cells and how they were filled."""

    @property
    def pair(self) -> Pair | None:
        """Prediction and measurement, where both are known."""
        if self.seconds is None or self.measured is None:
            return None
        return Pair(id=self.point.id, predicted=self.seconds, measured=self.measured)

    def as_json(self) -> dict[str, object]:
        """The row of ``--json``."""
        return {
            "id": self.point.id,
            "family": self.point.family,
            "step_seconds": self.seconds,
            "tokens_per_second_per_gpu": self.tokens_per_second,
            "peak_memory_bytes": self.peak.bytes,
            "fits": self.peak.fits,
            "verdict": self.peak.verdict,
            "not_expressible": self.reason,
            "filled": list(self.fills),
        }


def predictions(points: Sequence[Point], model: Model) -> Iterator[Prediction]:
    """One prediction for every row, in their order."""
    families = families_of(points)
    for point in points:
        yield predict(point, families[point.family], model)


def predict(point: Point, family: Sequence[Point], model: Model) -> Prediction:
    """The prediction for one row."""
    try:
        expressed = express(point, family)
        step = model(point.family, expressed)
        measured = measured_seconds(expressed)
    except NotExpressible as refused:
        return Prediction(point=point, reason=str(refused))
    except (ArithmeticError, LookupError, LlmtrainError, TypeError, ValueError) as broken:
        return Prediction(point=point, reason=f"cells that make no run: {broken!r}")
    if step is None:
        return Prediction(point=point, reason="nothing is known of this processor's speed")
    if not isfinite(step.seconds) or step.seconds <= 0:
        return Prediction(point=point, reason="cells that make no run: no finite time")
    recipe = expressed.recipe
    tokens = recipe.batch.global_ * recipe.model.seq
    return Prediction(
        point=point,
        seconds=step.seconds,
        tokens_per_second=tokens / step.seconds / recipe.gpus,
        measured=measured,
        peak=_peak(expressed),
        fills=expressed.fills,
    )


def _peak(expressed: Expressed) -> Peak:
    """The memory model asks for layouts that break no rule; a published one may break some."""
    try:
        return peak_of(expressed)
    except (ArithmeticError, LookupError, LlmtrainError, ValueError):
        return Peak()


def shipped(family: str, expressed: Expressed) -> StepTime | None:
    """The planner with the constants it ships."""
    return recipe_step(expressed.recipe, expressed.stack)

"""Errors of predictions by family."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A prediction beside its measurement."""

    id: str
    """Of the row."""
    predicted: float
    """Seconds a step."""
    measured: float
    """Seconds a step."""

    @property
    def error(self) -> float:
        """Relative; positive: predicted too long."""
        return self.predicted / self.measured - 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Errors of a family, in percent."""

    count: int
    """Rows."""
    mape: float
    """Mean of the absolute errors."""
    median: float
    """Median of the absolute errors."""
    bias: float
    """Mean of the errors."""
    worst: Pair
    """The row furthest off."""


def score(pairs: Sequence[Pair]) -> Score:
    """The score of one family or more."""
    errors = [100.0 * pair.error for pair in pairs]
    return Score(
        count=len(pairs),
        mape=mean(abs(error) for error in errors),
        median=median(abs(error) for error in errors),
        bias=mean(errors),
        worst=max(pairs, key=lambda pair: abs(pair.error)),
    )


def scaled(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs after one factor for all: the median of measured over predicted."""
    factor = median(pair.measured / pair.predicted for pair in pairs)
    return [
        Pair(id=pair.id, predicted=pair.predicted * factor, measured=pair.measured)
        for pair in pairs
    ]

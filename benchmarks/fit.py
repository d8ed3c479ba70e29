"""Fit the constants that no source gives: ``python -m benchmarks.fit``.

Few constants, each with a prior that a source gives or that we chose before fitting; the errors'
logarithms, robustly weighted (Huber), families weighted alike. With every family left out in turn
the values go to ``data/held_out.yaml``, by which that family is scored; the values with all
families are printed, for the data files under ``planner/data``.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, sqrt
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy
import yaml

from benchmarks.constants import HELD_OUT, Variant
from benchmarks.express import Expressed, express
from benchmarks.measured import measured_seconds
from benchmarks.points import SHIPPED, Point, families_of, read_points
from benchmarks.shapes import NotExpressible

Array: TypeAlias = "numpy.ndarray[Any, numpy.dtype[numpy.float64]]"

PLAN = Path(__file__).parent / "data" / "fit.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """What is fitted."""

    paths: tuple[str, ...]
    """Where it lies; the same factor goes to all."""
    priors: tuple[float, ...]
    """The values of the prior."""
    width: float
    """Standard deviation of the prior, of the logarithm."""
    limits: tuple[float, float]
    """Smallest and largest factor on the prior."""

    def values(self, factor: float) -> dict[str, float]:
        """Path -> value for a factor on the prior."""
        low, high = self.limits
        clipped = min(high, max(low, factor))
        return {
            path: round(prior * clipped, 5)
            for path, prior in zip(self.paths, self.priors, strict=True)
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A measurement that is fitted."""

    family: str
    """Its source."""
    expressed: Expressed
    """As a recipe."""
    measured: float
    """Seconds a step."""
    weight: float
    """Of its error."""


def main() -> int:
    """Fit, write the held-out values, print the rest."""
    plan = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    constants = [_constant(entry) for entry in plan["constants"]]
    rows = list(_rows(read_points(SHIPPED), plan["families"], plan["leave_out_rows"]))
    best = numpy.zeros(len(constants))
    for _ in range(ROUNDS):
        line = linear(rows, constants, best)
        best = solve(line, rows, constants)
    line = linear(rows, constants, best)
    print(yaml.safe_dump(_named(constants, best), sort_keys=True))
    left_out = {family: {family} for family in sorted({row.family for row in rows})}
    left_out |= {family: {family, *more} for family, more in plan["scored_without"].items()}
    families = {
        family: _named(constants, solve(line, rows, constants, without=without))
        for family, without in left_out.items()
    }
    text = yaml.safe_dump({"families": families}, sort_keys=True)
    HELD_OUT.write_text(f"# Made by `python -m benchmarks.fit`: do not edit.\n{text}", "utf-8")
    return 0


def _constant(entry: Mapping[str, Any]) -> Constant:
    paths = entry["paths"]
    low, high = entry.get("limits", (0.5, 2.0))
    return Constant(
        paths=tuple(paths),
        priors=tuple(float(value) for value in paths.values()),
        width=float(entry["width"]),
        limits=(float(low), float(high)),
    )


def _rows(
    points: Sequence[Point], families: Sequence[str], excluded: Mapping[str, str]
) -> Iterable[Row]:
    """Rows of the families; one configuration that a family repeats counts once."""
    grouped = families_of(points)
    for family in families:
        found = []
        for point in grouped[family]:
            try:
                expressed = express(point, grouped[family])
            except NotExpressible:
                continue
            seconds = measured_seconds(expressed)
            if seconds and point.id not in excluded:
                found.append((expressed, seconds))
        alike = defaultdict[tuple[object, ...], list[tuple[Expressed, float]]](list)
        for expressed, seconds in found:
            alike[_configuration(expressed)].append((expressed, seconds))
        for same in alike.values():
            middle = median(seconds for _, seconds in same)
            weight = ALONE / sqrt(1.0 + len(alike) / TOGETHER)
            yield Row(family=family, expressed=same[0][0], measured=middle, weight=weight)


def _configuration(expressed: Expressed) -> tuple[object, ...]:
    recipe = expressed.recipe
    shape = (recipe.model.layers, recipe.model.hidden, recipe.model.seq, recipe.precision.kind)
    return (*shape, recipe.parallel, recipe.batch, recipe.gpus, recipe.recompute, expressed.stack)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The errors' logarithms as a linear function of the constants' logarithms."""

    at: Array
    """Where it was taken."""
    errors: Array
    """There."""
    slopes: Array
    """Of every row by every constant."""


def linear(rows: Sequence[Row], constants: Sequence[Constant], at: Array) -> Line:
    """Errors and slopes at a place."""
    errors = residuals(rows, constants, at)
    columns = []
    for place, constant in enumerate(constants):
        # A step beyond a limit would change nothing.
        step = STEP if at[place] + STEP <= log(constant.limits[1]) else -STEP
        moved = at + step * (numpy.arange(len(at)) == place)
        columns.append((residuals(rows, constants, moved) - errors) / step)
    return Line(at=at, errors=errors, slopes=numpy.stack(columns, axis=1))


def solve(
    line: Line,
    rows: Sequence[Row],
    constants: Sequence[Constant],
    without: Collection[str] = (),
) -> Array:
    """The constants that fit best, by priors and Huber's weights; families can be left out."""
    kept = numpy.array([row.weight * (row.family not in without) for row in rows])
    widths = numpy.array([constant.width for constant in constants])
    low = numpy.log([constant.limits[0] for constant in constants])
    high = numpy.log([constant.limits[1] for constant in constants])
    theta = line.at
    for _ in range(20):
        errors = line.errors + line.slopes @ (theta - line.at)
        weights = kept * numpy.minimum(1.0, HUBER / numpy.maximum(numpy.abs(errors), 1e-9))
        weights = weights / SPREAD**2
        normal = line.slopes.T @ (weights[:, None] * line.slopes) + numpy.diag(widths**-2.0)
        pull = line.slopes.T @ (weights * errors) + theta / widths**2
        theta = numpy.clip(theta - numpy.linalg.solve(normal, pull), low, high)
    return theta


ROUNDS = 2
"""How often the slopes are taken anew."""
ALONE = 0.5
"""Weight of a family's only configuration."""
TOGETHER = 20.0
"""Configurations of a family from which more of them count less: their errors are alike."""
STEP = 0.02
"""Of a logarithm, for slopes."""
HUBER = 0.06
"""Relative error from which a row counts less."""
SPREAD = 0.04
"""Relative error that a good model leaves."""


def residuals(rows: Sequence[Row], constants: Sequence[Constant], theta: Iterable[float]) -> Array:
    """Logarithms of predicted over measured."""
    variant = Variant(_named(constants, theta))
    found = []
    for row in rows:
        step = variant.step(row.family, row.expressed)
        seconds = step.seconds if step is not None else row.measured
        error = log(seconds / row.measured)
        found.append(error if isfinite(error) else 0.0)
    return numpy.array(found)


def _named(constants: Sequence[Constant], theta: Iterable[float]) -> dict[str, float]:
    named: dict[str, float] = {}
    for constant, value in zip(constants, theta, strict=True):
        named |= constant.values(exp(value))
    return named


if __name__ == "__main__":
    sys.exit(main())

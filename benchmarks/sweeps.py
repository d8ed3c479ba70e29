"""Published sweeps: would the model have picked the layout that was measured best?

``python -m benchmarks.sweeps [--json]``. A sweep is one model on one number of GPUs with one
kernel, measured in several layouts (Aleph Alpha, BLOOM's search). Regret says how much slower the
layout that the model ranks first was measured to be than the best measured one. Families are
predicted by constants that were fitted without them. Of nanotron's playbook only the best layout of
each size was published, so there the model's own ranks are all that can be said.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import correlation, mean, median

from benchmarks.constants import held_out_model
from benchmarks.express import express
from benchmarks.points import SHIPPED, Point, read_points
from benchmarks.prediction import Model, Prediction, predictions
from benchmarks.shapes import NotExpressible
from benchmarks.winners import Winner, winners

FAMILIES = ("alephalpha_layouts", "bloom_176b")
LEAST = 3
"""Layouts that make a sweep."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """One sweep, measured against ranked."""

    name: str
    """Model, GPUs, and what was held."""
    family: str
    """Its source."""
    layouts: int
    """How many were measured."""
    best: str
    """The one measured best."""
    chosen: str
    """The one that the model ranks first."""
    rank_of_best: int
    """Where the model ranks the measured best, from 1."""
    spearman: float
    """Rank correlation of prediction and measurement."""
    regret_percent: float
    """How much slower the chosen one was measured than the best."""


def sweeps(points: Sequence[Point], model: Model) -> Iterator[Sweep]:
    """Every sweep of the families."""
    rows = defaultdict[tuple[str, ...], list[Prediction]](list)
    for one in predictions([p for p in points if p.family in FAMILIES], model):
        if one.seconds is not None and one.measured is not None:
            rows[_held(one.point)].append(one)
    for key, found in rows.items():
        if len({_layout(one.point) for one in found}) >= LEAST:
            yield _sweep(key, found)


def _held(point: Point) -> tuple[str, ...]:
    """What is the same in a sweep: shape, GPUs, kernel or table."""
    told = point.text("notes").split(";")[0].removeprefix("kernel ")
    table = "" if re.match(r"\d|logged", told) else told
    return (point.family, f"{point.text('params_b')}B", point.text("gpus"), table, *point.shape)


def _layout(point: Point) -> str:
    names = {"tp": "tp", "pp": "pp", "micro_batch": "micro", "sequence_parallel": "sp"}
    cells = [f"{short} {point.text(column) or '?'}" for column, short in names.items()]
    return f"{' '.join(cells)} {point.text('recompute')}".strip()


def _sweep(key: tuple[str, ...], found: Sequence[Prediction]) -> Sweep:
    """By seconds a sequence: some tables vary the global batch too."""
    batches = [one.point.number("global_batch") or 1.0 for one in found]
    measured = [(one.measured or 0.0) / size for one, size in zip(found, batches, strict=True)]
    predicted = [(one.seconds or 0.0) / size for one, size in zip(found, batches, strict=True)]
    best, chosen = measured.index(min(measured)), predicted.index(min(predicted))
    return Sweep(
        name=f"{key[1]} on {key[2]}, seq {found[0].point.text('seq')}: {key[3]}",
        family=key[0],
        layouts=len(found),
        best=_layout(found[best].point),
        chosen=_layout(found[chosen].point),
        rank_of_best=sorted(predicted).index(predicted[best]) + 1,
        spearman=correlation(_ranks(measured), _ranks(predicted)),
        regret_percent=100.0 * (measured[chosen] / measured[best] - 1.0),
    )


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--json", action="store_true", help="every sweep as JSON")
    points = read_points(SHIPPED)
    found = list(sweeps(points, held_out_model()))
    best = list(_playbook(points))
    if parser.parse_args(arguments).json:
        whole = {"sweeps": [asdict(one) for one in found], "winners": [asdict(one) for one in best]}
        print(json.dumps({**whole, "median_regret_percent": _regret(found)}, indent=2))
        return 0
    print("\n".join(_report(found, best)))
    return 0


def _regret(found: Sequence[Sweep]) -> float:
    return median(one.regret_percent for one in found)


def _report(found: Sequence[Sweep], best: Sequence[Winner]) -> Iterator[str]:
    yield f"{'sweep':52}{'n':>3}{'rank':>5}{'rho':>7}{'regret %':>9}  measured best -> chosen"
    for one in found:
        same = "the same" if one.best == one.chosen else one.chosen
        yield (
            f"{one.name[:51]:52}{one.layouts:3}{one.rank_of_best:5}{one.spearman:7.2f}"
            f"{one.regret_percent:9.1f}  {one.best} -> {same}"
        )
    for family in (*FAMILIES, None):
        some = [one for one in found if family in (None, one.family)]
        rho = median(one.spearman for one in some)
        first = sum(one.regret_percent == 0 for one in some)
        yield (
            f"{family or 'all'}: {len(some)} sweeps, regret: median {_regret(some):.1f} %, mean "
            f"{mean(one.regret_percent for one in some):.1f} %; median rank correlation {rho:.2f}; "
            f"the best measured one chosen in {first}"
        )
    for winner in best:
        yield (
            f"{winner.name}: published best {winner.layout} is predicted {winner.gap_percent:.1f} %"
            f" slower than the model's first, rank {winner.rank} of {winner.layouts} that fit"
        )


def _playbook(points: Sequence[Point]) -> Iterator[Winner]:
    family = [point for point in points if point.family == "nanotron_playbook"]
    for point in family:
        try:
            yield winners(point, express(point, family))
        except NotExpressible:
            continue


if __name__ == "__main__":
    sys.exit(main())

"""Memory against published measurements, and verdicts against layouts that ran out of memory.

``python -m benchmarks.published_memory [--points FILE] [--oom FILE] [--json]``

Rows become recipes as in ``benchmarks.published``: blanks are filled by what the source's program
does (``data/frameworks.yaml``). Verdicts: every row that ran with a full layout, against every
layout that was published as out of memory.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.memory_rows import SHIPPED_OOM, Judged, Score, judged, scores
from benchmarks.points import SHIPPED, read_points


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, default=SHIPPED)
    parser.add_argument("--oom", type=Path, default=SHIPPED_OOM)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        points, failed = read_points(given.points), read_points(given.oom)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 2
    found, left_out = scores(points)
    verdicts = [*judged(points, ran=True), *judged(failed, ran=False)]
    if given.json:
        print(json.dumps(_as_json(found, left_out, verdicts)))
    else:
        print("\n".join([*_peaks(found, left_out), "", *_verdicts(verdicts)]))
    return 0


def balanced_accuracy(found: Iterable[Judged]) -> float | None:
    """The mean of the shares of each kind that are judged rightly; None without rows."""
    found = list(found)
    kinds = [[each for each in found if each.ran is ran] for ran in (True, False)]
    shares = [mean(each.fits == each.ran for each in kind) for kind in kinds if kind]
    return mean(shares) if shares else None


def _as_json(found: list[Score], left_out: dict[str, str], verdicts: list[Judged]) -> Any:
    return {
        "peaks": [asdict(each) | {"error": each.error} for each in found],
        "not_expressible": left_out,
        "verdicts": [asdict(each) for each in verdicts],
        "balanced_accuracy": balanced_accuracy(verdicts),
    }


def _peaks(found: list[Score], left_out: dict[str, str]) -> Iterator[str]:
    yield f"{'peak memory':28}{'n':>5}{'MAPE %':>9}{'median':>9}{'bias':>8}  worst"
    for family in sorted({each.family for each in found}):
        errors = {each.id: each.error for each in found if each.family == family}
        absolute = [abs(error) for error in errors.values()]
        worst = max(errors, key=lambda name: abs(errors[name]))
        yield (
            f"{family:28}{len(errors):5}{100 * mean(absolute):9.1f}{100 * median(absolute):9.1f}"
            f"{100 * mean(errors.values()):+8.1f}  {worst} {100 * errors[worst]:+.1f} %"
        )
    reasons = Counter((name.rsplit("-", 1)[0], reason) for name, reason in left_out.items())
    for (family, reason), count in reasons.items():
        yield f"left out: {family}: {reason} ({count})"


def _verdicts(verdicts: list[Judged]) -> Iterator[str]:
    columns = f"{'ran+fits':>9}{'ran+no':>8}{'oom+no':>8}{'oom+fits':>9}{'balanced':>10}"
    yield f"{'verdict':28}{columns}"
    for family in [*sorted({each.family for each in verdicts}), "all"]:
        part = [each for each in verdicts if family in (each.family, "all")]
        yield _line(family, part)
    failed = {each.family for each in verdicts if not each.ran}
    yield _line("families that have both", [each for each in verdicts if each.family in failed])


def _line(label: str, part: list[Judged]) -> str:
    cells = [
        sum(each.ran is ran and each.fits is fits for each in part)
        for ran, fits in ((True, True), (True, False), (False, False), (False, True))
    ]
    balanced = balanced_accuracy(part)
    share = "-" if balanced is None else f"{100 * balanced:.1f}%"
    return f"{label:28}{cells[0]:9}{cells[1]:8}{cells[2]:8}{cells[3]:9}{share:>10}"


if __name__ == "__main__":
    sys.exit(main())

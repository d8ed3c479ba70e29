"""The planner against published measurements: ``python -m benchmarks.published``.

A family is scored by constants that were fitted without it (``data/held_out.yaml``, made by
``python -m benchmarks.fit``); families that no constant was fitted on are scored by what ships.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.constants import held_out_model
from benchmarks.points import SHIPPED, read_points
from benchmarks.prediction import Prediction, predictions, shipped
from benchmarks.scores import Pair, scaled, score

FIT = Path(__file__).parent / "data" / "fit.yaml"
PEERS = Path(__file__).parent / "data" / "peers.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or with ``--json`` a row for every row of the file."""
    asked = _parser().parse_args(arguments)
    try:
        points = read_points(asked.points)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        print(f"cannot read {asked.points}: {error}", file=sys.stderr)
        return 2
    model = shipped if asked.shipped else held_out_model()
    found = list(predictions(points, model))
    if asked.json:
        print(json.dumps({"rows": [one.as_json() for one in found]}))
    else:
        print("\n".join(report(found)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=__doc__)
    parser.add_argument("--points", type=Path, default=SHIPPED, help="CSV of published points")
    parser.add_argument("--json", action="store_true", help="every row as JSON")
    parser.add_argument(
        "--shipped", action="store_true", help="use the shipped constants for every family"
    )
    return parser


def report(found: Sequence[Prediction]) -> Iterator[str]:
    """The lines of the table."""
    families = by_family(found)
    yield "step time, errors in percent; after one scalar a family: scaled"
    yield HEAD
    for family, pairs in families.items():
        yield line(family, pairs)
    every = [pair for pairs in families.values() for pair in pairs]
    if every:
        yield line("all rows", every)
    before = [one.pair for one in found if one.pair and not is_blackwell(one)]
    if before and len(before) < len(every):
        yield line("all rows before Blackwell", before)
    yield from fitted(families)
    yield from _peers(found)
    yield from _fills(found)
    yield from _refused(found)


def is_blackwell(one: Prediction) -> bool:
    """Whether the GPU is of the youngest architecture, whose software changes by the month."""
    return one.point.text("gpu").upper().startswith(("B", "GB"))


def fitted(families: Iterable[str]) -> Iterator[str]:
    """On what each family's constants were fitted."""
    plan = yaml.safe_load(FIT.read_text(encoding="utf-8"))
    used, besides = plan["families"], plan["scored_without"]
    yield ""
    yield f"constants fitted on {len(used)} families: {', '.join(used)}"
    yield "each of these is scored by a fit without it; the others by a fit on all of these"
    for family in families:
        if family in besides:
            yield f"  {family}: on all of these without {', '.join(besides[family])}"


HEAD = (
    f"{'family':34}{'n':>5}{'MAPE':>7}{'median':>8}{'bias':>7}"
    f"{'scaled':>8}{'median':>8}  worst row (error)"
)


def by_family(found: Sequence[Prediction]) -> dict[str, list[Pair]]:
    """Families with the pairs that can be compared."""
    families = defaultdict[str, list[Pair]](list)
    for one in found:
        if one.pair is not None:
            families[one.point.family].append(one.pair)
    return dict(families)


def line(label: str, pairs: Sequence[Pair]) -> str:
    """One line of the table."""
    raw, after = score(pairs), score(scaled(pairs))
    worst = f"{raw.worst.id} ({100 * raw.worst.error:+.0f})"
    return (
        f"{label:34}{raw.count:5}{raw.mape:7.1f}{raw.median:8.1f}{raw.bias:+7.1f}"
        f"{after.mape:8.1f}{after.median:8.1f}  {worst}"
    )


def _peers(found: Sequence[Prediction]) -> Iterator[str]:
    """Beside what other models say of the same rows."""
    groups = yaml.safe_load(PEERS.read_text(encoding="utf-8"))["groups"]
    lines = []
    for group in groups:
        pairs = [one.pair for one in found if one.pair is not None and _in(group, one)]
        if pairs:
            own = score(pairs)
            figures = [[own.mape, own.median, own.bias]]
            figures += [group[name] for name in ("calculon", "llm_analysis", "roofline")]
            cells = "".join(f"{a:8.1f} /{b:5.1f} /{c:+6.1f}" for a, b, c in figures)
            lines.append(f"{group['label']:30}{own.count:4}{cells}")
    if lines:
        yield ""
        yield "beside others (MAPE / median / bias): llmtrain, Calculon, llm-analysis, roofline"
        yield from lines


def _in(group: Mapping[str, Any], one: Prediction) -> bool:
    point = one.point
    if point.family != group["family"] or not re.search(group.get("rows", ""), point.id):
        return False
    return all(point.text(column) == value for column, value in group.get("where", {}).items())


def _fills(found: Sequence[Prediction]) -> Iterator[str]:
    """A line for each column of a family; ``--json`` has the fills of each row."""
    said = defaultdict[tuple[str, str], Counter[str]](Counter)
    for one in found:
        for fill in one.fills:
            column, _, value = fill.partition(": ")
            also = value.startswith("as ")
            said[one.point.family, column]["as another row of its model" if also else value] += 1
    if said:
        yield ""
        yield "blank cells that were filled (rows); of each row: --json"
        for (family, column), values in sorted(said.items()):
            shown = "; ".join(f"{value} ({count})" for value, count in values.most_common())
            yield f"  {family}: {column}: {shown}"


def _refused(found: Sequence[Prediction]) -> Iterator[str]:
    refused = defaultdict[tuple[str, str], list[str]](list)
    for one in found:
        if one.reason:
            refused[one.point.family, one.reason].append(one.point.id)
    if refused:
        yield ""
        yield "rows that no recipe can say (rows)"
        for (family, reason), rows in sorted(refused.items()):
            numbers = " ".join(row.removeprefix(f"{family}-") for row in rows)
            yield f"  {family}: {reason} ({len(rows)}: {numbers})"


if __name__ == "__main__":
    sys.exit(main())

"""Differences as tables."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from llmtrain.runs.diff import Difference
from llmtrain.runs.verify import Drift

TITLES = {"experiment": "changes the experiment", "map": "only maps it"}


def show_diff(
    first: str,
    second: str,
    found: Sequence[Difference],
    made: Sequence[Drift],
    console: Console,
) -> None:
    """What changes the experiment, then what only maps it, then what two runs were made with."""
    for label, title in TITLES.items():
        rows = [each for each in found if each.label == label]
        if rows:
            table = _table(title, first, second, "decides")
            for each in rows:
                table.add_row(each.key, _shown(each.first), _shown(each.second), each.why)
            console.print(table)
            console.print()
    if made:
        table = _table("made with", first, second)
        for drift in made:
            table.add_row(drift.what, drift.was, drift.now)
        console.print(table)
        console.print()
    console.print(_verdict(found))


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (title, *columns):
        table.add_column(name, overflow="fold")
    return table


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return "null" if value is None else str(value) or "empty"


def _verdict(found: Sequence[Difference]) -> str:
    changing = sum(each.label == "experiment" for each in found)
    if not found:
        return "the same recipe"
    keys = f"{len(found)} key{'' if len(found) == 1 else 's'} differ{'s' * (len(found) == 1)}"
    if not changing:
        return f"{keys}: the same experiment, mapped otherwise"
    return f"{keys}, {changing} of them chang{'es' if changing == 1 else 'e'} the experiment"

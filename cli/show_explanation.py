"""One field of a plan, explained."""

from dataclasses import asdict

from rich.table import Table

from llmtrain.cli.answer import out, print_json
from llmtrain.planner.explain.explanation import Explanation


def show_explanation(explained: Explanation, *, as_json: bool) -> None:
    """Value, formula, source, then the numbers that went in."""
    if as_json:
        print_json(asdict(explained))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(explained.field, _shown(explained.value), style="bold")
    table.add_row("formula", explained.formula)
    table.add_row("source", explained.source)
    for name, value in explained.numbers.items():
        table.add_row(f"  {name}", _shown(value))
    out().print(table)


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "not known")
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

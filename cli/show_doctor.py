"""Findings of a preflight as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from llmtrain.launchers.preflight.finding import Finding


def show_findings(host: str, found: Sequence[Finding], console: Console) -> None:
    """The worst first; what is well is only counted."""
    table = Table(box=None, pad_edge=False)
    for name in (host, "check", "found", "limit from"):
        table.add_column(name, overflow="fold")
    for each in found:
        if each.level != "pass":
            table.add_row(each.level, each.check, each.says, each.source)
    if table.row_count:
        console.print(table)
    passed = sum(each.level == "pass" for each in found)
    console.print(f"{passed} of {len(found)} checks passed")

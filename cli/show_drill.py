"""A drill in words."""

from rich.console import Console
from rich.table import Table

from llmtrain.runs.drill.drill import Drill


def show_drill(drill: Drill, console: Console) -> None:
    """Each fault with what became of it, the lead time, the losses."""
    table = Table(box=None, pad_edge=False)
    for name in ("rehearsed", "outcome", "loaded", "took"):
        table.add_column(name)
    for each in drill.rehearsed:
        outcome = "passed" if each.passed else f"failed: {each.says}"
        loaded = "" if each.loaded is None else f"step {each.loaded}"
        table.add_row(each.name, outcome, loaded, f"{each.seconds:.0f} s")
    console.print(table)
    for each in drill.rehearsed:
        if each.lead_seconds is not None:
            asked = drill.asked_seconds
            beside = f"; the real run's script warns {asked} s before" if asked else ""
            console.print(f"warning to checkpoint: {each.lead_seconds:.1f} s{beside}")
    if drill.comparison is not None:
        found = drill.comparison
        same = "the same" if found.exact else f"apart by {found.difference:.2g} at the most"
        console.print(f"losses of {found.steps} steps with and without the faults: {same}")
        if not found.exact:
            console.print(
                f"before the first fault they are apart by {found.noise:.2g}; "
                f"{found.allowed:.2g} would pass"
            )

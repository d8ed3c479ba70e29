"""The equivalence report as a person reads it."""

from typing import Any

from rich.console import Console
from rich.table import Table

from llmtrain.launchers.equivalence import Equivalent

GIB = 2**30


def show_backends(found: tuple[Equivalent, ...], console: Console) -> None:
    """One row for each backend, then the reasons."""
    table = Table(box=None, pad_edge=False)
    for name in ("backend", "version", "verdict", "memory", "step", "if you set"):
        right = name in ("memory", "step")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for each in found:
        name = f"{each.backend} (the recipe's)" if each.own else each.backend
        table.add_row(
            name,
            each.version or "",
            each.verdict,
            _memory(each),
            _step(each),
            " ".join(each.mended),
        )
    console.print(table)
    for each in found:
        lines = [*(reason.message for reason in each.reasons), *each.differs]
        lines += [reason.hint for reason in each.reasons if reason.hint]
        if lines:
            console.print(f"\n{each.backend} {each.version or ''}".rstrip(), style="bold")
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)


def backends_json(recipe: str, found: tuple[Equivalent, ...]) -> dict[str, Any]:
    """The same for ``--json``."""
    return {"schema": 1, "recipe": recipe, "backends": [each.as_json() for each in found]}


def _memory(each: Equivalent) -> str:
    found = each.numbers["peak_memory_bytes"]
    too_much = ", too much" * (each.numbers["fits"] is False)
    return "" if found is None else f"{found / GIB:.1f} GiB{too_much}"


def _step(each: Equivalent) -> str:
    found = each.numbers["step_seconds"]
    return "" if found is None else f"{found:.2f} s"

"""Environments, findings and explanations as a person reads them."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmtrain.launchers.environment import Environment
from llmtrain.launchers.fabric.explain import STATES, Explanation
from llmtrain.launchers.fabric.findings import Finding
from llmtrain.launchers.fabric.values import in_words

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


WIDE = 150
"""Columns from which on a table reads better than a list."""


def show_environment(found: Environment, console: Console) -> None:
    """Name, value, where it was set, reason, source; then what else is known of the fabric."""
    if console.width < WIDE:
        _list_variables(found, console)
    else:
        _tabulate_variables(found, console)
    for note in found.notes:
        console.print(Text(note), soft_wrap=True)


def _list_variables(found: Environment, console: Console) -> None:
    for each in found.variables:
        console.print(Text.assemble((each.name, "bold"), f"={each.value}"), soft_wrap=True)
        console.print(Text(f"  {each.where}: {each.reason}"), soft_wrap=True)
        if each.read_in:
            console.print(Text(f"  source: {each.read_in}"), soft_wrap=True)


def _tabulate_variables(found: Environment, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("name", "value", "set by", "reason", "source"):
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for each in found.variables:
        table.add_row(each.name, each.value, each.where, each.reason, each.read_in)
    console.print(table)


def environment_json(found: Environment) -> dict[str, Any]:
    """The same for ``--json``."""
    return {
        "variables": [
            {
                "name": each.name,
                "value": each.value,
                "set_by": each.where,
                "reason": each.reason,
                "source": each.read_in or None,
            }
            for each in found.variables
        ],
        "missing": list(found.missing),
        "warnings": list(found.warnings),
        "notes": list(found.notes),
    }


def show_findings(name: str, found: tuple[Finding, ...], console: Console) -> None:
    """One line for each, and its hint; nothing at all where nothing was found."""
    for each in found:
        place = ":".join(part for part in (name, str(each.line or "")) if part)
        head = f"{place}: " if place else ""
        text = Text.assemble(head, (f"{each.severity}: ", COLOURS[each.severity]), each.says)
        console.print(text, soft_wrap=True)
        if each.hint:
            console.print(Text.assemble(("  hint: ", "cyan"), each.hint), soft_wrap=True)


def show_explanation(found: Explanation, console: Console) -> None:
    """What the libraries say, then what clusters say."""
    fact = found.fact
    console.print(f"{fact.name}  {fact.of}", style="bold")
    console.print(fact.says or "not documented", soft_wrap=True)
    rows = {
        "values": in_words(fact.values) if fact.values else "",
        "otherwise": fact.outside,
        "default": fact.default,
        "known since": f"NCCL {fact.first} or before" if fact.first else "",
        "state": _state(found) if fact.status else "",
        "source": fact.source,
    }
    for label, text in rows.items():
        if text:
            console.print(f"  {label}: {text}", soft_wrap=True)
    for use in found.uses:
        console.print(f"{use.cluster} ({use.level}): {use.value}", soft_wrap=True)
        console.print(f"  {use.why}", soft_wrap=True)
        if use.not_when:
            console.print(f"  not when: {use.not_when}", soft_wrap=True)
        console.print(f"  source: {use.source}", soft_wrap=True)


def _state(found: Explanation) -> str:
    fact = found.fact
    since = f" since {fact.of + ' ' if fact.since[:1].isdigit() else ''}{fact.since}"
    instead = f"; use {fact.instead}" if fact.instead else ""
    return f"{STATES[fact.status]}{since if fact.since else ''}{instead}"

"""A cause in words and as JSON."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llmtrain.runs.detail import stragglers
from llmtrain.runs.folder import spoken
from llmtrain.runs.lives import lives
from llmtrain.runs.why.advice import Advice
from llmtrain.runs.why.cause import Cause
from llmtrain.runs.why.hits import Hit

SHOWN_ECHOES = 8


def show_cause(
    cause: Cause, advice: Advice, folder: Path | None, life: int | None, console: Console
) -> None:
    """What failed first, where, who said what of it later, what to do."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("cause", advice.title)
    if cause.hit is not None:
        table.add_row("first", _where(cause))
        table.add_row("says", cause.hit.line.text.strip())
        table.add_row("in", f"{_path(cause.hit, folder)}:{cause.hit.line.number}")
        table.add_row("known from", cause.hit.pattern.source)
    if cause.echoes:
        table.add_row("later", _later(cause))
    for slow in slow_ranks(folder, life):
        table.add_row("slow", f"{slow} as long as its stage")
    if advice.do:
        table.add_row("do", advice.do)
    if advice.exclude:
        table.add_row("exclude", f"--exclude={advice.exclude}")
    if advice.edit:
        table.add_row("edit", f"{shlex.join(advice.edit.overrides)}  ({advice.edit.why})")
    console.print(table)


def slow_ranks(folder: Path | None, life: int | None) -> tuple[str, ...]:
    """Ranks that were found slow in the life that is shown."""
    found = lives(folder) if folder else []
    return stragglers([each for each in found if each.number == life] if life else found[-1:])


def _where(cause: Cause) -> str:
    parts = [
        None if cause.rank is None else f"rank {cause.rank}",
        None if cause.host is None else f"on {cause.host}",
        None if cause.gpu is None else f"GPU {cause.gpu}",
        cause.hit.pci if cause.hit else None,
    ]
    return ", ".join(part for part in parts if part) or "the logs do not say where"


def _later(cause: Cause) -> str:
    ranks = [str(hit.rank) for hit in cause.echoes]
    more = f" and {len(ranks) - SHOWN_ECHOES} more" if len(ranks) > SHOWN_ECHOES else ""
    which = "rank" if len(ranks) == 1 else "ranks"
    return f"{which} {', '.join(ranks[:SHOWN_ECHOES])}{more}: {cause.echoes[0].line.text.strip()}"


def _path(hit: Hit, folder: Path | None) -> Path:
    inside = folder is not None and hit.line.path.is_relative_to(folder)
    return hit.line.path.relative_to(folder) if folder is not None and inside else hit.line.path


def cause_json(
    cause: Cause, advice: Advice, folder: Path | None, life: int | None
) -> dict[str, Any]:
    """For programs; what is not known is null."""
    hit = cause.hit
    return {
        "run": folder.name if folder else None,
        "class": cause.kind,
        "title": advice.title,
        "phase": cause.phase,
        "rank": cause.rank,
        "host": cause.host,
        "gpu": cause.gpu,
        "pci": hit.pci if hit else None,
        "line": hit.line.text.strip() if hit else None,
        "log": str(_path(hit, folder)) if hit else None,
        "number": hit.line.number if hit else None,
        "source": hit.pattern.source if hit else None,
        "echoes": [{"rank": each.rank, "line": each.line.text.strip()} for each in cause.echoes],
        "stragglers": list(slow_ranks(folder, life)),
        "do": advice.do or None,
        "restart": advice.restart,
        "exclude": advice.exclude,
        "edit": list(advice.edit.overrides) if advice.edit else None,
        "logs_read": cause.read,
    }


def print_next(cause: Cause, advice: Advice, folder: Path, console: Console) -> None:
    """What to type next."""
    name = spoken(folder)
    rank = "" if cause.rank is None else f" --rank {cause.rank}"
    console.print(f"log:    llmtrain logs {name}{rank}")
    if advice.restart:
        console.print(f"go on:  llmtrain resume {name}")
    elif advice.edit:
        console.print(
            f"again:  llmtrain run recipe={folder / 'recipe.yaml'} {advice.edit.overrides[0]}"
        )


def print_lives(folder: Path, shown: int | None, console: Console) -> None:
    """Which other lives of the run can be asked for."""
    found = lives(folder)
    others = [str(life.number) for life in found if life.number != (shown or found[-1].number)]
    if others:
        which = "life" if len(others) == 1 else "lives"
        console.print(
            f"before: llmtrain why {spoken(folder)} --life N ({which} {', '.join(others)})"
        )

"""What the ranks of a run say when they get no further, and who or what is missing.

Each writes one file into ``control/hang/LIFE``: a rank that is stopped, or that holds the
interpreter, writes none.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from llmtrain.trainer.reach import View

WAITS = ("waits.py", "agreement.py")
"""Modules of this package in which a rank waits for the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one rank says."""

    rank: int
    """Its number."""
    node: str
    """Its node."""
    doing: str
    """The step that it trains, or what else it does."""
    step: int
    """Steps behind it."""
    waits: bool
    """It is in a collective: it has arrived."""
    where: str
    """Innermost function of ours that it is in."""
    network: View = field(default_factory=View)
    """What its node sees of the others; nothing where it has not looked yet."""


def place_of_report(folder: Path, life: int | None) -> Path:
    """Where the reports of a life lie."""
    return folder / "control" / "hang" / str(life or 0)


def write_report(where: Path, report: Report) -> None:
    """Leave a report for the others; whole, or not there."""
    where.mkdir(parents=True, exist_ok=True)
    draft = where / f".rank-{report.rank}"
    draft.write_text(json.dumps(asdict(report)), encoding="utf-8")
    draft.rename(where / f"rank-{report.rank}.json")


def read_reports(where: Path) -> dict[int, Report]:
    """All reports, by rank."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(where.glob("rank-*.json"))]
    reports = [_report(json.loads(text)) for text in texts]
    return {report.rank: report for report in reports}


def _report(said: dict[str, Any]) -> Report:
    network = {name: tuple(hosts) for name, hosts in said.pop("network").items()}
    return Report(network=View(**network), **said)


def missing(reports: Mapping[int, Report], world: int) -> tuple[int, ...]:
    """The ranks that the others wait for; none where all wait.

    Those that say nothing; else those that are in no collective, of them the furthest behind.
    """
    silent = tuple(rank for rank in range(world) if rank not in reports)
    if silent:
        return silent
    away = [report for report in reports.values() if not report.waits]
    least = min((report.step for report in away), default=0)
    return tuple(report.rank for report in away if report.step == least)


def sentence(ranks: Sequence[int], nodes: Mapping[int, str], doing: str, seconds: float) -> str:
    """What the record says of a hang."""
    stuck = f"{doing} has not ended in {seconds:.0f} s"
    if not ranks:
        return f"{stuck}: all ranks wait for each other, the network or a collective hangs"
    shown = ", ".join(f"rank {rank} on {nodes.get(rank, 'an unknown node')}" for rank in ranks[:8])
    more = f" and {len(ranks) - 8} more" if len(ranks) > 8 else ""
    return f"{stuck}: {shown}{more} did not arrive"


def lost_nodes(nodes: Sequence[str], doing: str, seconds: float) -> str:
    """What the record says of a hang for which the network is to blame."""
    more = f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""
    stuck = f"{doing} has not ended in {seconds:.0f} s"
    return f"{stuck}: the network has lost {', '.join(nodes[:8])}{more}"


def whereabouts(thread: int) -> tuple[bool, str]:
    """Whether a thread waits in a collective, and the innermost function of ours it is in."""
    frame: FrameType | None = sys._current_frames().get(thread)
    waits, where = False, ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "trainer":
            where = where or f"{path.name}:{frame.f_lineno} {frame.f_code.co_name}"
            waits = waits or path.name in WAITS
        frame = frame.f_back
    return waits, where

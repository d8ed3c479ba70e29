"""How far a run is: its life, steps, losses and newest checkpoint, of any program."""

import re
from pathlib import Path

from llmtrain.runs.metrics import rows

# As launchers/backends/tracker.py has them, which `status` has no time to import.
TRACKERS = ("latest_checkpointed_iteration.txt", "latest")
"""Megatron's and DeepSpeed's: they name the newest complete checkpoint."""


def life(folder: Path) -> int:
    """Number of the newest; 0 before the first."""
    try:
        return int((folder / "control" / "life").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def newest_checkpoint(folder: Path) -> int:
    """Its step; 0: there is none."""
    for name in TRACKERS:
        path = folder / "checkpoints" / name
        digits = re.sub(r"\D", "", path.read_text(encoding="utf-8")) if path.is_file() else ""
        if digits:
            return int(digits)
    found = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("checkpoints/step-*"))
    return max((int(each.group(1)) for each in found if each), default=0)


def steps_of(folder: Path) -> list[int]:
    """Every step that was trained, in the order in which they were."""
    return [int(row["step"]) for row in rows(folder)]


def all_losses(folder: Path) -> dict[int, list[float]]:
    """Of each step, as often as it was trained."""
    found: dict[int, list[float]] = {}
    for row in rows(folder):
        if isinstance(row.get("loss"), (int, float)):
            found.setdefault(int(row["step"]), []).append(float(row["loss"]))
    return found


def repeated(folder: Path) -> tuple[int, float | None]:
    """Steps that a later life has trained again, and the largest difference of their losses.

    Nats per token; 0: the resumes were exact, None: nothing was trained again.
    """
    again = [seen for seen in all_losses(folder).values() if len(seen) > 1]
    return len(again), max((max(seen) - min(seen) for seen in again), default=None)


def losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every step; after a resume the last value of a step counts."""
    return sorted((step, seen[-1]) for step, seen in all_losses(folder).items())
